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
  checkDisks(document, settings);
  checkNics(document, settings);
  return settings;
}

const DISKS = [
  ['disk0', 'disk0File'],
  ['disk1', 'disk1File'],
  ['disk2', 'disk2File'],
  ['disk3', 'disk3File'],
] as const;
const NICS = ['nic0', 'nic1', 'nic2', 'nic3'] as const;
export const DISKS_MAX = DISKS.length;
export const NICS_MAX = NICS.length;

/** Files of the disks that are present, in order, as they are written. */
export const disksOf = (settings: VmSettings): string[] =>
  DISKS.flatMap(([present, path]) => (settings[present] ? [settings[path]!] : []));

/** Number of network cards. */
export const nicsOf = (settings: VmSettings): number => NICS.filter(present => settings[present]).length;

/** Each needs a file, and the one before it. */
function checkDisks(document: VmxDocument, settings: VmSettings): void {
  for (const [index, [present, path]] of DISKS.entries()) {
    if (!settings[present]) continue;
    const { key } = VMX_KEYS[present];
    if (settings[path] === undefined)
      throw new UsageError(`${document.where(key)}: ${key}: needs ${VMX_KEYS[path].key}`);
    refuseGap(document, settings, present, DISKS[index - 1]?.[0]);
  }
}

function checkNics(document: VmxDocument, settings: VmSettings): void {
  for (const [index, present] of NICS.entries())
    if (settings[present]) refuseGap(document, settings, present, NICS[index - 1]);
}

type Presence = (typeof DISKS)[number][0] | (typeof NICS)[number];

function refuseGap(document: VmxDocument, settings: VmSettings, present: Presence, before: Presence | undefined): void {
  if (before === undefined || settings[before]) return;
  const { key } = VMX_KEYS[present];
  throw new UsageError(`${document.where(key)}: ${key}: needs ${VMX_KEYS[before].key}: numbers are given without gaps`);
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
