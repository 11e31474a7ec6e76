/** Shares, reservations and limits on a host with guests that compute: they hold at once, and are part of the recording. */
import { expect, test } from 'vitest';
import { createHost, type Host, type HostConfig, recordingOf, verifyRecording } from '../../src/hypervisor/index.js';
import { VmHost } from '../../src/hypervisor/vm/host.js';
import { image, SPIN } from './programs.js';

const images = { spin: image(SPIN) };
type Vm = HostConfig['vms'][number];
const vm = (name: string, more: Partial<Vm> = {}): Vm => ({
  name,
  memoryMib: 8,
  monitor: 'bt',
  vmi: false,
  image: 'spin',
  append: '',
  powerOn: true,
  ...more,
});
const config = (vms: readonly Vm[], pcpus = 1): HostConfig => ({
  name: 'test',
  pcpus,
  memoryMib: 128,
  costs: 'xeon-5160',
  images,
  vms,
  sampleIntervalMs: 100,
});

/** Run time of each VM over so many ms from now on, as parts of a processor. */
function partsOver(host: Host, ms: number): number[] {
  const runs = () => host.sample().vms.map(({ worlds }) => worlds[0]!.runCycles);
  const before = runs();
  host.advance(host.nowCycles + ms * host.quantumCycles);
  return runs().map((run, index) => (run - before[index]!) / (ms * host.quantumCycles));
}

test('a change holds at once, is logged, and replays', () => {
  const host = new VmHost(config([vm('a'), vm('b')]));
  const [even] = partsOver(host, 500);
  expect(even).toBeCloseTo(0.5, 1);
  expect(host.execute({ kind: 'setCpu', vm: 'a', limitMhz: 300 })).toEqual({ ok: true });
  expect(host.sample().vms[0]!.cpu).toEqual({ shares: 1000, minMhz: 0, maxMhz: 300 });
  const [limited, rest] = partsOver(host, 2000);
  // 300 of 3000 MHz, and a time slice of credit.
  expect(limited).toBeGreaterThan(0.09);
  expect(limited).toBeLessThan(0.13);
  expect(rest).toBeGreaterThan(0.85);
  const { maxLimitedCycles, readyCycles } = host.sample().vms[0]!.worlds[0]!;
  expect(maxLimitedCycles).toBeGreaterThan(0.8 * 2000 * host.quantumCycles);
  expect(maxLimitedCycles).toBeLessThan(readyCycles);
  expect(host.execute({ kind: 'setCpu', vm: 'a', limitMhz: null, reservationMhz: 2100 })).toEqual({ ok: true });
  const [reserved] = partsOver(host, 2000);
  expect(reserved).toBeGreaterThan(0.68);
  expect(reserved).toBeLessThan(0.75);
  host.execute({ kind: 'setCpu', vm: 'a', reservationMhz: 0, shares: 3000 });
  const [shared] = partsOver(host, 2000);
  expect(shared).toBeGreaterThan(0.72);
  expect(shared).toBeLessThan(0.78);
  const lines = host.drainEvents().flatMap(event => (event.kind === 'log' && event.vm === 'a' ? [event.line] : []));
  expect(lines).toContain('CPU: 1000 shares, reservation 0 MHz, limit 300 MHz');
  expect(lines).toContain('CPU: 3000 shares, reservation 0 MHz, no limit');
  expect(verifyRecording(recordingOf(host), images)).toMatchObject({ identical: true, commands: 3 });
});

test('what the host cannot promise is refused, and nothing has changed', () => {
  const host = createHost(config([vm('a', { cpuReservationMhz: 2000 }), vm('b'), vm('c', { powerOn: false })]));
  const before = host.sample().vms.map(({ cpu }) => cpu);
  const refused: readonly (readonly [Parameters<Host['execute']>[0], string])[] = [
    [{ kind: 'setCpu', vm: 'b', reservationMhz: 1001 }, 'b reserves 1001 MHz, and 1000 MHz of the host are unreserved'],
    [
      { kind: 'setCpu', vm: 'b', reservationMhz: 3001 },
      'b reserves 3001 MHz, and its one virtual CPU can have 3000 MHz of a processor',
    ],
    [
      { kind: 'setCpu', vm: 'a', limitMhz: 1999 },
      'VM "a": cpuLimitMhz must not be below the reservation of 2000 MHz: 1999',
    ],
    [{ kind: 'setCpu', vm: 'a', shares: 0 }, 'VM "a": cpuShares must be a whole number from 1 to 100000: 0'],
    [{ kind: 'setCpu', vm: 'a', limitMhz: 0 }, 'VM "a": cpuLimitMhz must be a whole number from 1 to 1000000: 0'],
    [
      { kind: 'setCpu', vm: 'a', reservationMhz: -1 },
      'VM "a": cpuReservationMhz must be a whole number from 0 to 1000000: -1',
    ],
  ];
  for (const [command, reason] of refused) expect(host.execute(command)).toEqual({ ok: false, reason });
  expect(host.sample().vms.map(({ cpu }) => cpu)).toEqual(before);
  // A VM that is off reserves nothing yet: its power-on is what is refused.
  expect(host.execute({ kind: 'setCpu', vm: 'c', reservationMhz: 1500 })).toEqual({ ok: true });
  expect(host.execute({ kind: 'powerOn', vm: 'c' })).toEqual({
    ok: false,
    reason: 'c reserves 1500 MHz, and 1000 MHz of the host are unreserved',
  });
  host.execute({ kind: 'powerOff', vm: 'a' });
  expect(host.execute({ kind: 'powerOn', vm: 'c' })).toEqual({ ok: true });
});

test('two VMs that ask for more than the host has do not both start', () => {
  const vms = [vm('a', { cpuReservationMhz: 2000 }), vm('b', { cpuReservationMhz: 2000 })];
  expect(() => createHost(config(vms))).toThrow('b reserves 2000 MHz, and 1000 MHz of the host are unreserved');
  expect(
    createHost(config(vms, 2))
      .sample()
      .vms.map(({ power }) => power),
  ).toEqual(['on', 'on']);
});
