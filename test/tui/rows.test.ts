import { describe, expect, test } from 'vitest';
import type { VmSample } from '../../src/hypervisor/index.js';
import { modeText } from '../../src/tui/columns.js';
import { causeShares, detailLine } from '../../src/tui/detail.js';
import { rise, vmGroups } from '../../src/tui/rows.js';
import { defaultColumns } from '../../src/tui/screens.js';
import { placeColumns, screenRows, textTable } from '../../src/tui/table.js';
import { causes, HZ, inventory, sample, vm, world } from './fixtures.js';

const none = new Set<string>();
const busy = (used: number, at: number) =>
  world(1, 'vmm0', { usedCycles: used, runCycles: used, waitCycles: at - used });

describe('rates', () => {
  test('are differences between two samples over the time between them', () => {
    const before = sample(1 * HZ, [vm(1, 'a', { worlds: [busy(900, 1000)] })]);
    const now = sample(3 * HZ, [vm(1, 'a', { worlds: [busy(1400, 3000)] })]);
    const { row } = vmGroups(now, before, none)[0]!;
    expect(row.cpu.used).toBeCloseTo(25); // 500 of 2000 cycles
    expect(row.cpu.wait).toBeCloseTo(75);
  });

  test('begin at the host’s start without a sample before', () => {
    const { row } = vmGroups(sample(2 * HZ, [vm(1, 'a', { worlds: [busy(500, 2000)] })]), undefined, none)[0]!;
    expect(row.cpu.used).toBeCloseTo(25);
  });

  test('are zero when no time passed, never NaN', () => {
    const now = sample(2 * HZ, [vm(1, 'a', { worlds: [busy(500, 2000)] })]);
    const { row } = vmGroups(now, now, none)[0]!;
    expect(row.cpu.used).toBe(0);
    expect(row.timer.stolenPercent).toBe(0);
    expect(row.timer.deliveredPerSecond).toBe(0);
  });

  test('a VM’s shares are the sums over its worlds', () => {
    const worlds = [busy(500, 1000), world(2, 'vcpu0', { usedCycles: 100 }), world(3, 'vmx', { usedCycles: 50 })];
    const { row } = vmGroups(sample(HZ, [vm(1, 'a', { worlds })]), undefined, none)[0]!;
    expect(row.cpu.used).toBeCloseTo(65);
  });

  test('counters since power-on begin again with the next power-on', () => {
    const timer = (delivered: number) => ({ ...vm(1, 'a').timer, delivered });
    const before = sample(1 * HZ, [vm(1, 'a', { timer: timer(200) })]);
    const same = sample(2 * HZ, [vm(1, 'a', { timer: timer(450) })]);
    const again = sample(2 * HZ, [vm(1, 'a', { timer: timer(450), poweredOnAtCycles: 1500 })]);
    expect(vmGroups(same, before, none)[0]!.row.timer.deliveredPerSecond).toBeCloseTo(250);
    expect(vmGroups(again, before, none)[0]!.row.timer.deliveredPerSecond).toBeCloseTo(450);
    expect(rise(5, 7)).toBe(5);
  });

  test('worlds keep their counters over a power-on', () => {
    const before = sample(1 * HZ, [vm(1, 'a', { worlds: [busy(900, 1000)] })]);
    const now = sample(2 * HZ, [vm(1, 'a', { worlds: [busy(1000, 2000)], poweredOnAtCycles: 1500 })]);
    expect(vmGroups(now, before, none)[0]!.row.cpu.used).toBeCloseTo(10);
  });
});

describe('the MODE column', () => {
  const text = (some: Parameters<typeof vm>[2]) =>
    modeText(vmGroups(sample(HZ, [vm(1, 'a', some)]), undefined, none)[0]!.row);
  test('shows what runs, what will run, and a change that waits', () => {
    expect(text({})).toBe('BT');
    expect(text({ mode: 'vmi', vmiEnabled: true, vmiConfigured: true })).toBe('VMI');
    expect(text({ mode: 'vmi', vmiEnabled: true, vmiConfigured: false })).toBe('VMI*');
    expect(text({ mode: 'native', monitor: 'native' })).toBe('native');
    expect(text({ power: 'off', mode: 'bt', vmiConfigured: true })).toBe('(VMI)');
    expect(text({ power: 'off', mode: 'vmi', vmiConfigured: false })).toBe('(BT)');
    expect(text({ power: 'off', mode: 'native', monitor: 'native' })).toBe('(native)');
    expect(text({ mode: 'hv', monitor: 'hv' })).toBe('HV');
    expect(text({ mode: 'hv', monitor: 'bt' })).toBe('HV*');
    // A VM with VMI is on the BT monitor, whichever is chosen.
    expect(text({ mode: 'vmi', monitor: 'hv', vmiEnabled: true, vmiConfigured: true })).toBe('VMI');
    // Offered VMI it ran on the BT monitor; without, hardware assist is its own.
    expect(text({ power: 'off', mode: 'bt', monitor: 'hv' })).toBe('(HV)');
  });

  test('a VMI guest runs under BT until its kernel calls Init', () => {
    expect(text({ mode: 'bt', vmiEnabled: true, vmiConfigured: true, guestState: 'booting' })).toBe('BT');
  });
});

describe('rows', () => {
  const names = (screen: 'cpu' | 'memory', sort: string, expanded = none) =>
    screenRows(screen, inventory(2), inventory(1), sort, expanded).map(row =>
      row.kind === 'world' ? row.world.name : row.vm.name,
    );

  test('sort by GID upwards, by figures downwards, equal ones in the inventory’s order', () => {
    expect(names('cpu', 'gid')).toEqual(['web-vmi', 'db-bt', 'boot-bt', 'spare', 'broken']);
    expect(names('cpu', 'used')).toEqual(['db-bt', 'boot-bt', 'web-vmi', 'spare', 'broken']);
    expect(names('memory', 'memsz')).toEqual(['web-vmi', 'db-bt', 'boot-bt', 'spare', 'broken']);
  });

  test('worlds follow their VM on the CPU screen only', () => {
    const expanded = new Set(['db-bt']);
    expect(names('cpu', 'gid', expanded).slice(1, 5)).toEqual(['db-bt', 'vmm0:db-bt', 'vcpu0:db-bt', 'vmx:db-bt']);
    expect(names('memory', 'gid', expanded)).toHaveLength(5);
  });
});

describe('narrow terminals', () => {
  const rows = screenRows('cpu', inventory(2), inventory(1), 'gid', none);
  const titles = (width: number) => placeColumns(defaultColumns('cpu'), rows, width).map(({ column }) => column.title);

  test('lose whole columns in the declared order, and never wrap', () => {
    const cpu = defaultColumns('cpu').map(column => column.title);
    expect(titles(132)).toEqual(cpu);
    for (let width = 20; width <= 200; width++) {
      const placed = placeColumns(defaultColumns('cpu'), rows, width);
      expect(placed.reduce((sum, column) => sum + column.width, 0)).toBeLessThanOrEqual(width);
      // What is there at a width is there at every greater one.
      expect(titles(width + 1)).toEqual(expect.arrayContaining(titles(width)));
    }
    expect(titles(60)).toEqual(expect.arrayContaining(['NAME', '%USED', '%RDY', 'MODE', 'GUEST']));
  });

  test('every line of a text table is at most as wide as asked', () => {
    for (const screen of ['cpu', 'memory', 'timer'] as const) {
      for (const width of [60, 80, 132]) {
        for (const line of textTable(screen, inventory(2), inventory(1), width))
          expect(line.length).toBeLessThanOrEqual(width);
      }
    }
  });

  test('a long name is cut to its column', () => {
    const long = sample(HZ, [vm(1, 'a-very-long-name-of-a-virtual-machine')]);
    const [heading, line] = textTable('cpu', long, undefined, 132);
    expect(line).toContain(' a-very-long-name ');
    expect(line!.indexOf('0.00')).toBe(heading!.indexOf('%USED') + 1);
  });
});

describe('the line about the selected VM', () => {
  test('shares of the causes since the last update, largest first', () => {
    const before = vm(1, 'a', { causes: causes({ guestUser: 100, callout: 900 }) });
    const now = vm(1, 'a', { causes: causes({ guestUser: 400, callout: 1000 }) });
    expect(causeShares(now, before)).toEqual([
      { label: 'guest user', percent: 75 },
      { label: 'callouts', percent: 25 },
    ]);
  });

  test('tells exits and boot time, why a VM crashed, and what an off VM would be', () => {
    const line = (name: string) => detailLine(name, inventory(2), inventory(1), 100).trimEnd();
    expect(line('db-bt')).toBe(
      'db-bt: 12.3k exits/s; booted in 250.0 ms | guest kernel 42%, guest user 33%, syscall forwarding 17%',
    );
    expect(line('broken')).toBe('broken crashed: triple fault at 0xc0100123');
    expect(line('spare')).toBe('spare is off; at power-on: VMI on');
    expect(line('nobody')).toBe('');
  });

  test('tells of a kernel that has booted and left the VMI on offer alone', () => {
    const line = (some: Partial<VmSample>) => {
      const now = inventory(2);
      return detailLine('a', { ...now, vms: [vm(1, 'a', some)] }, undefined, 100).trimEnd();
    };
    const offered = { vmiEnabled: true, vmiConfigured: true };
    expect(line(offered)).toBe('a: 0 exits/s; booted in 250.0 ms without the VMI it is offered');
    expect(line({ ...offered, bootCycles: undefined })).toBe('a: 0 exits/s');
    expect(line({ ...offered, vmiActive: true, mode: 'vmi' })).toBe('a: 0 exits/s; booted in 250.0 ms');
    expect(line({})).toBe('a: 0 exits/s; booted in 250.0 ms');
  });
});
