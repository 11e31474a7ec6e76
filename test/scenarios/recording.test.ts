/**
 * A recording of real guests is their commands with the cycles at which they took effect; it replays byte for byte, and the
 * smallest change of what it was made from is found and named.
 */
import { Code, Decoder, DecoderOptions } from 'iced-x86';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadGuestImage, loadGuestSymbols } from '../../src/guest/image.js';
import {
  COST_PROFILES,
  type Command,
  createHost,
  type HostConfig,
  type Recording,
  recordingOf,
  type VmSample,
  verifyRecording,
} from '../../src/hypervisor/index.js';

const images = { guest: loadGuestImage() };

const SAMPLE_MS = 2;
const config: HostConfig = {
  name: 'esx',
  pcpus: 2,
  memoryMib: 1024,
  costs: 'xeon-5160',
  images,
  vms: [
    { name: 'web', memoryMib: 64, monitor: 'bt', vmi: false, image: 'guest', append: '', powerOn: true },
    { name: 'db', memoryMib: 64, monitor: 'bt', vmi: true, image: 'guest', append: '', powerOn: true },
  ],
  sampleIntervalMs: SAMPLE_MS,
};

/** A session that is driven by what its guests report. */
class Session {
  readonly host = createHost(config);
  readonly #reports: { readonly vm: string; readonly state: string; readonly atCycles: number }[] = [];

  /** Waits for a report that has not been waited for yet, and returns when the guest sent it. */
  until(vm: string, state: string): number {
    for (let i = 0; i < 200; i++) {
      const at = this.#reports.findIndex(report => report.vm === vm && report.state === state);
      const report = this.#reports[at];
      if (report !== undefined) {
        this.#reports.splice(at, 1);
        return report.atCycles;
      }
      this.host.advance(this.host.nowCycles + this.host.quantumCycles);
      for (const event of this.host.drainEvents()) if (event.kind === 'guest') this.#reports.push(event);
    }
    throw new Error(`${vm} does not come to be ${state}`);
  }

  execute(command: Command): void {
    expect(this.host.execute(command)).toEqual({ ok: true });
  }

  modeOf(name: string): VmSample['mode'] {
    return this.host.sample().vms.find(vm => vm.name === name)!.mode;
  }
}

/** `imul eax, eax`: as long as `mov eax, [eax+12]`, and of another price. */
const IMUL = [0x0f, 0xaf, 0xc0];

/**
 * The image with one instruction changed that only getppid executes: the last load of `sys_getppid`, that of the parent's
 * number, becomes a multiplication. The program notices nothing, for its parent still has the same number at each call.
 */
function withOtherGetppid(): Uint8Array {
  const image = images.guest.slice();
  const symbol = loadGuestSymbols().find(({ name }) => name === 'sys_getppid')!;
  const at = fileOffset(image, symbol.address);
  const decoder = new Decoder(32, image.subarray(at, at + 32), DecoderOptions.None);
  const last = { at, code: Code.INVALID, length: 0 };
  for (let from = at; ; ) {
    const instruction = decoder.decode();
    const { code, length } = instruction;
    instruction.free();
    if (code === Code.Retnd) break;
    Object.assign(last, { at: from, code, length });
    from += length;
  }
  decoder.free();
  expect(last).toMatchObject({ code: Code.Mov_r32_rm32, length: IMUL.length });
  image.set(IMUL, last.at);
  return image;
}

/** Program headers: ELF specification 1.2, book I, 2-2. */
function fileOffset(image: Uint8Array, linear: number): number {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  for (let i = 0; i < view.getUint16(44, true); i++) {
    const header = view.getUint32(28, true) + 32 * i;
    const offset = linear - view.getUint32(header + 8, true);
    if (offset >= 0 && offset < view.getUint32(header + 16, true)) return view.getUint32(header + 4, true) + offset;
  }
  throw new Error(`the image does not hold ${linear.toString(16)}`);
}

describe('a session with a boot, a VMI toggle, a restart and two programs', () => {
  let recording: Recording;
  /** When the guest started and ended getppid. */
  let getppid: { readonly start: number; readonly end: number };

  beforeAll(() => {
    const session = new Session();
    const { host } = session;
    session.until('web', 'idle');
    session.until('db', 'idle');
    expect([session.modeOf('web'), session.modeOf('db')]).toEqual(['bt', 'vmi']);
    session.execute({ kind: 'type', vm: 'db', text: 'nforkwait 2\n' });
    session.until('db', 'nforkwait');
    session.until('db', 'idle');
    session.execute({ kind: 'type', vm: 'web', text: 'getppid 20\n' });
    getppid = { start: session.until('web', 'getppid'), end: session.until('web', 'idle') };
    session.execute({ kind: 'setVmi', vm: 'web', enabled: true });
    session.execute({ kind: 'setMonitor', vm: 'db', monitor: 'hv' });
    session.execute({ kind: 'reset', vm: 'web' });
    session.until('web', 'idle');
    expect(session.modeOf('web')).toBe('vmi');
    // To a sample behind it.
    host.advance(host.nowCycles + SAMPLE_MS * host.quantumCycles);
    recording = recordingOf(host);
  });

  test('verifies', () => {
    expect(verifyRecording(recording, images)).toEqual({
      identical: true,
      samples: recording.samples.length,
      commands: 5,
      differences: [],
    });
  });

  test('does not verify with one cost changed, and says that from the first shadow fills on cycles differ', () => {
    const shadowFill = COST_PROFILES['xeon-5160']!.cycles.shadowFill;
    const { identical, differences, divergence } = verifyRecording(recording, images, {
      costOverrides: { shadowFill: shadowFill + 1 },
    });
    expect(identical).toBe(false);
    expect(differences).toEqual([expect.stringContaining('cost profile "xeon-5160" is not the recorded one')]);
    expect(divergence).toMatchObject({ sequence: 0, path: expect.stringMatching(/ycles|causes|counters/) });
    expect(divergence!.recorded).not.toBe(divergence!.replayed);
  });

  test('does not verify with one guest instruction changed, and says that it is the first sample after it ran', () => {
    const { identical, differences, divergence } = verifyRecording(recording, { guest: withOtherGetppid() });
    expect(identical).toBe(false);
    expect(differences).toEqual([expect.stringContaining('image "guest" is not the recorded one')]);
    const interval = (SAMPLE_MS / 1000) * COST_PROFILES['xeon-5160']!.cyclesPerSecond;
    expect(divergence!.atCycles).toBeGreaterThan(getppid.start);
    expect(divergence!.atCycles).toBeLessThan(getppid.end + interval);
    expect(divergence!.path).toMatch(/^vms\[web\]\.|^pcpus\[/);
  });
});
