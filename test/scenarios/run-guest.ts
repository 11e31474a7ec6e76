/** Boots the committed guest image on a host of its own, in one mode, and runs it until it powers off. */
import { loadGuestImage } from '../../src/guest/image.js';
import { createHost, type Host, type HostEvent, type Mode, type VmSample } from '../../src/hypervisor/index.js';
import type { Typist } from '../oracle/qemu.js';

export const MODES = ['native', 'bt', 'hv', 'vmi'] as const satisfies readonly Mode[];

export interface GuestRun {
  readonly console: string;
  readonly events: readonly HostEvent[];
  /** Last sample of the VM before it went off. */
  readonly vm: VmSample;
  readonly host: Host;
}

export interface GuestRunOptions {
  readonly mode: Mode;
  readonly append: string;
  readonly memoryMib?: number;
  /** Virtual seconds after which the run is a failure. */
  readonly limitSeconds?: number;
  readonly auditEveryQuanta?: number;
  readonly sampleIntervalMs?: number;
  readonly costOverrides?: Readonly<Record<string, number>>;
  /** Types on the console what its turn has come for. */
  readonly typist?: Typist;
}

export function guestHost({
  mode,
  append,
  memoryMib = 64,
  auditEveryQuanta = 0,
  sampleIntervalMs = 1000,
  costOverrides = {},
}: GuestRunOptions): Host {
  return createHost({
    name: 'test',
    pcpus: 1,
    memoryMib: 512,
    costs: 'xeon-5160',
    costOverrides,
    images: { guest: loadGuestImage() },
    vms: [
      {
        name: 'vm',
        memoryMib,
        monitor: mode === 'vmi' ? 'bt' : mode,
        vmi: mode === 'vmi',
        image: 'guest',
        append,
        powerOn: true,
      },
    ],
    sampleIntervalMs,
    auditEveryQuanta,
  });
}

export function runGuest(options: GuestRunOptions): GuestRun {
  const host = guestHost(options);
  const events: HostEvent[] = [];
  const limit = (options.limitSeconds ?? 120) * host.cyclesPerSecond;
  let vm = host.sample().vms[0]!;
  while (host.anyPoweredOn) {
    if (host.nowCycles > limit) throw new Error(`${options.mode}: still on after the limit:\n${consoleOf(events)}`);
    host.advance(host.nowCycles + host.quantumCycles * 10);
    events.push(...host.drainEvents());
    host.drainSamples();
    vm = host.sample().vms[0]!;
    const typed = options.typist?.next(consoleOf(events));
    if (typed !== undefined) host.execute({ kind: 'type', vm: 'vm', text: typed });
  }
  return { console: consoleOf(events), events, vm, host };
}

export const consoleOf = (events: readonly HostEvent[]): string =>
  events.map(event => (event.kind === 'console' ? event.text : '')).join('');

export const findings = (events: readonly HostEvent[]): string[] =>
  events.flatMap(event => (event.kind === 'audit' ? [event.finding] : []));
