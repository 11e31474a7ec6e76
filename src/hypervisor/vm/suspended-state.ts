/**
 * The bytes of a suspended VM: who it is, what the host has to know of the guest, and the guest (`Instance.suspend`).
 *
 * A state fits one configuration and one version of the format; anything else is refused before anything is touched. It is no file: who
 * keeps it compresses it and says by a digest whether it is whole.
 */
import { type Archive, StateReader, StateWriter } from '../base/archive.js';
import { UsageError } from '../base/assert.js';
import type { Mode } from '../stats/sample.js';

const FORMAT = 'vmitop suspended state 1';
const MODES: readonly Mode[] = ['native', 'bt', 'hv', 'vmi'];

/** What the host tells of a guest. */
export interface GuestProgress {
  readonly vmiActive: boolean;
  readonly vmiEnabled: boolean;
  readonly bootCycles: number | undefined;
  readonly guestState: string;
}

export interface SuspendedHead {
  readonly mode: Mode;
  /** The guest's clock. */
  readonly guestCycles: number;
  /** Since it was powered on. */
  readonly stolenCycles: number;
  readonly progress: GuestProgress;
}

/** `identity`: what has to be equal when the guest goes on. */
export function writeState(identity: string, head: SuspendedHead, write: (archive: Archive) => void): Uint8Array {
  const archive = new StateWriter();
  archive.section(FORMAT);
  archive.text(identity);
  exchangeHead(archive, head);
  write(archive);
  return archive.result;
}

/** Stands behind the head then. Throws `UsageError` when the state is none, or of another VM. */
export function openState(bytes: Uint8Array, identity: string): { archive: StateReader; head: SuspendedHead } {
  const archive = new StateReader(bytes);
  try {
    archive.section(FORMAT);
  } catch (error) {
    throw new UsageError('this is no suspended state, or one of another version', { cause: error });
  }
  const saved = archive.text();
  if (saved !== identity) throw new UsageError(`the suspended state is of another VM: ${difference(saved, identity)}`);
  return { archive, head: exchangeHead(archive, undefined) };
}

function exchangeHead(archive: Archive, head: SuspendedHead | undefined): SuspendedHead {
  const mode = MODES[archive.number(head === undefined ? 0 : MODES.indexOf(head.mode))];
  if (mode === undefined) throw new UsageError('the state is damaged: no such mode');
  return {
    mode,
    guestCycles: archive.number(head?.guestCycles ?? 0),
    stolenCycles: archive.number(head?.stolenCycles ?? 0),
    progress: {
      vmiActive: archive.flag(head?.progress.vmiActive ?? false),
      vmiEnabled: archive.flag(head?.progress.vmiEnabled ?? false),
      bootCycles: archive.optional(head?.progress.bootCycles),
      guestState: archive.text(head?.progress.guestState ?? ''),
    },
  };
}

/** The first property in which two identities differ. */
function difference(saved: string, now: string): string {
  const before = JSON.parse(saved) as Record<string, unknown>;
  const after = JSON.parse(now) as Record<string, unknown>;
  const show = (value: unknown): string => JSON.stringify(value) ?? 'nothing';
  const key = [...Object.keys(before), ...Object.keys(after)].find(name => show(before[name]) !== show(after[name]));
  return key === undefined ? 'order of properties' : `${key} was ${show(before[key])}, is ${show(after[key])}`;
}
