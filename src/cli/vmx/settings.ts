/** What a .vmx file says about its VM: every value that has a meaning, checked. */
import { UsageError } from '../../hypervisor/index.js';
import type { VmxDocument } from './document.js';
import { ignoredReason, knownKey, OWN_PREFIX, VMX_KEYS, type VmSettings, type VmxKey } from './keys.js';

/** Throws `UsageError` with one line that names file, line, key and reason. */
export function readSettings(document: VmxDocument): VmSettings {
  for (const key of document.keys) refuseUnknownOwn(document, key);
  const read = <T>(spec: VmxKey<T>, written: string | undefined): T | undefined => {
    if (written === undefined) return undefined;
    const reading = spec.read(written);
    if ('value' in reading) return reading.value;
    throw new UsageError(`${document.where(spec.key)}: ${spec.key}: ${reading.reason}, not "${written}"`);
  };
  const settings = Object.fromEntries(
    Object.entries(VMX_KEYS).map(([field, spec]) => [
      field,
      read<unknown>(spec, document.get(spec.key) ?? spec.otherwise),
    ]),
    // Every field is read by its own key.
  ) as unknown as VmSettings;
  if (settings.native && settings.vmi) {
    throw new UsageError(
      `${document.where(VMX_KEYS.vmi.key)}: ${VMX_KEYS.vmi.key}: needs a monitor, and with ${VMX_KEYS.native.key} the VM has none`,
    );
  }
  return settings;
}

/** Keys of a file that change nothing here, with the reason of each. */
export const ignoredSettings = (
  document: VmxDocument,
): readonly { readonly key: string; readonly value: string; readonly reason: string }[] =>
  document.keys.flatMap(key => {
    const reason = ignoredReason(key);
    return reason === undefined ? [] : [{ key, value: document.get(key)!, reason }];
  });

function refuseUnknownOwn(document: VmxDocument, key: string): void {
  if (!key.toLowerCase().startsWith(OWN_PREFIX) || knownKey(key)) return;
  const own = Object.values(VMX_KEYS)
    .map(spec => spec.key)
    .filter(name => name.startsWith(OWN_PREFIX));
  throw new UsageError(`${document.where(key)}: ${key}: no such key, must be one of ${own.join(', ')}`);
}
