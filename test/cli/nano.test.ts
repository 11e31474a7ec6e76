/** The nanobenchmarks: what one operation takes, by the prices of what happens in it. */
import { beforeAll, describe, expect, test } from 'vitest';
import { measureNano, NANO_MODES, type NanoMode, nanoTables } from '../../src/cli/bench/nano.js';
import { loadNanoImage } from '../../src/guest/image.js';
import { COST_PROFILES } from '../../src/hypervisor/machine/costs/index.js';
import { HARDWARE_COSTS, MONITOR_COSTS } from '../../src/hypervisor/machine/costs/profile.js';
import { runCli } from './run-cli.js';

const PROFILES = Object.keys(COST_PROFILES);
const NAMES = ['syscall-int', 'syscall', 'in', 'cli', 'crwr', 'callret', 'pgfault', 'divzero', 'ptemod'];
/** The counter is read once before and once behind all rounds: what is around the loop disappears in them, but for a hundredth. */
const near = (value: number) => expect.closeTo(value, 1);

describe.each(Object.values(COST_PROFILES))('$name', profile => {
  test('says of each figure where it is from, and keeps it in its range', () => {
    for (const name of [...HARDWARE_COSTS, ...MONITOR_COSTS]) {
      const { cycles, source, range } = profile.entries[name];
      expect(Number.isInteger(cycles) && cycles >= 0, name).toBe(true);
      expect(source.length, name).toBeGreaterThan(10);
      if (source.startsWith('estimate')) expect(range, name).toBeDefined();
      if (range === undefined) continue;
      expect(cycles, name).toBeGreaterThanOrEqual(range[0]);
      expect(cycles, name).toBeLessThanOrEqual(range[1]);
    }
  });
});

describe.each(PROFILES)('on %s', profile => {
  const costs = COST_PROFILES[profile]!.cycles;
  const cycles = new Map<NanoMode, ReadonlyMap<string, number>>();
  const of = (mode: NanoMode, name: string): number => cycles.get(mode)!.get(name)!;

  beforeAll(async () => {
    for (const mode of NANO_MODES) cycles.set(mode, (await measureNano(profile, mode, loadNanoImage())).cycles);
  });

  test('every operation is measured in every mode', () => {
    for (const mode of NANO_MODES) expect([...cycles.get(mode)!.keys()]).toEqual(NAMES);
  });

  test('natively an operation is the sum of what hardware charges', () => {
    expect(of('native', 'syscall')).toEqual(near(costs.sysenter + costs.sysexit));
    expect(of('native', 'syscall-int')).toEqual(near(costs.exceptionToInner + costs.iretToOuter));
    expect(of('native', 'in')).toEqual(near(costs.portIo));
    expect(of('native', 'cli')).toEqual(near(costs.cliSti));
    expect(of('native', 'crwr')).toEqual(near(costs.movCr0));
    expect(of('native', 'callret')).toEqual(near(costs.call + costs.ret));
    expect(of('native', 'ptemod')).toEqual(near(costs.store));
    // The handler saves EAX, puts another address into the frame and brings EAX back.
    const handler = costs.store + costs.load + costs.store + costs.load;
    const fault = costs.exceptionSameRing + costs.iretSameRing;
    expect(of('native', 'divzero')).toEqual(near(fault + handler));
    expect(of('native', 'pgfault')).toEqual(near(fault + handler + costs.tlbMiss));
  });

  test('hardware assist is out of the way of what does not exit', () => {
    for (const name of ['syscall', 'syscall-int', 'cli', 'crwr', 'callret', 'divzero']) {
      expect(of('hv', name), name).toEqual(near(of('native', name)));
    }
  });

  test('what exits costs a transition each way', () => {
    for (const name of ['in', 'pgfault', 'ptemod']) {
      expect(of('hv', name), name).toBeGreaterThan(costs.vmExit + costs.vmEntry);
    }
  });

  test('binary translation makes system calls dear, and privileged instructions cheap that need no monitor', () => {
    expect(of('bt', 'syscall')).toBeGreaterThan(3 * of('native', 'syscall'));
    expect(of('bt', 'cli')).toBeLessThan(of('native', 'cli'));
    expect(of('bt', 'callret')).toBeGreaterThan(of('native', 'callret'));
  });
});

test('the number of rounds does not matter beyond its own rounding', async () => {
  const [few, many] = await Promise.all(
    [500, 5000].map(rounds => measureNano('xeon-5160', 'bt', loadNanoImage(), { rounds })),
  );
  for (const name of ['syscall', 'in', 'callret', 'divzero', 'ptemod']) {
    expect(few!.cycles.get(name)! / many!.cycles.get(name)!, name).toBeCloseTo(1, 1);
  }
});

test('the tables have a processor each, an operation a line, a mode a column', () => {
  const cycles = new Map([['in', 12.34]]);
  const [first, second] = nanoTables([
    { profile: 'xeon-5160', mode: 'native', cycles },
    { profile: 'xeon-5160', mode: 'hv', cycles },
    { profile: 'xeon-x5570', mode: 'bt', cycles },
  ]);
  expect(first).toEqual([expect.stringMatching(/5160.*native +hv$/), expect.stringMatching(/^in +12\.3 +12\.3$/)]);
  expect(second![0]).toMatch(/X5570.* bt$/);
});

test.each([
  [['bench', 'nano', 'boot'], 'nano goes alone'],
  [['bench', 'nano', '--modes', 'vmi'], 'takes native, bt, hv'],
  [['bench', 'nano', '--profile', 'i486'], '--profile i486: unknown processor'],
  [['bench', 'boot', '--profile', 'xeon-5160,xeon-5460'], 'one processor'],
])('vmitop %s is refused', async (args, reason) => {
  const { code, stderr } = await runCli(args);
  expect(code).toBe(2);
  expect(stderr).toContain(reason);
});
