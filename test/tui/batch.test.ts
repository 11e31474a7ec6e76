/** Lines of batch files from samples made by hand. */
import { describe, expect, test } from 'vitest';
import { BatchWriter } from '../../src/tui/batch.js';
import type { FieldOrders } from '../../src/tui/fields.js';
import { defaultConfig, SCREEN_IDS } from '../../src/tui/state.js';
import { readPdhCsv } from '../cli/pdh-csv.js';
import { counters, disk, HZ, inventory, nic, sample, vm, world } from './fixtures.js';

const cells = (line: string): string[] => line.split(',').map(cell => cell.slice(1, -1));
/** No field of any screen. */
const NONE = Object.fromEntries(SCREEN_IDS.map(screen => [screen, ''])) as FieldOrders;

test('the host’s own figures, in esxtop’s order', () => {
  const [header, row, end] = new BatchWriter(NONE).lines(sample(2 * HZ, [])).split('\n');
  expect(end).toBe('');
  const memory = ['Machine', 'Kernel', 'NonKernel', 'Free', 'Kernel Managed', 'Kernel MinFree', 'Kernel Reserved'];
  expect(header).toBe(
    [
      '"(PDH-CSV 4.0) (UTC)(0)"',
      ...[...memory, 'Kernel Unreserved'].map(name => `"\\\\esx01\\Memory\\${name} MBytes"`),
      '"\\\\esx01\\Memory\\Kernel State"',
      ...['Overhead', 'Overhead Max', 'Shadow', 'Translation Cache'].map(name => `"\\\\esx01\\Memory\\${name} MBytes"`),
      ...[1, 5, 15].map(minutes => `"\\\\esx01\\Physical Cpu Load\\Cpu Load (${minutes} Minute Avg)"`),
      ...[0, 1, '_Total'].map(cpu => `"\\\\esx01\\Physical Cpu(${cpu})\\% Processor Time"`),
      '"\\\\esx01\\Vmkernel\\Worlds"',
      '"\\\\esx01\\Vmkernel\\Uptime MilliSec"',
    ].join(','),
  );
  // The figures of the fixtures: the first pCPU is busy half of the time.
  expect(row).toBe(
    '"04/01/2008 09:00:02","5120","256","100","4764","4864","307","200","4664","0","0","0","0","0",' +
      '"0.21","0.17","0.20","50.00","0.00","25.00","0","2000.00"',
  );
});

describe('the fields of the screens', () => {
  /** What a group has, in the order of the file. */
  const shown = (fields: Parameters<typeof cells>[0], object: RegExp) =>
    cells(new BatchWriter({ ...NONE, cpu: fields }).lines(inventory(2)).split('\n')[0]!).filter(path =>
      object.test(path),
    );

  test('decide what is in it, and in what order', () => {
    expect(shown('abcdEfghij', /Group Cpu\(17:db-bt\)/)).toHaveLength(9);
    expect(shown('abcdEfghij', /Group Memory/)).toEqual([]);
    expect(shown('GDabcefhij', /Group Cpu\(17/).map(path => path.split('\\').at(-1))).toEqual([
      ...['Alloc Min', 'Alloc Max', 'Alloc Shares'],
      'Members',
    ]);
  });

  test('that are about VMs are not there for worlds', () => {
    expect(shown('DGHabcefij', /Vcpu/)).toEqual([]);
    expect(shown('abcdeFghij', /Vcpu\(17:db-bt:170:vmm0:db-bt\)/)).toHaveLength(4);
  });
});

test('rates are over the time since the sample before', () => {
  const writer = new BatchWriter({ ...NONE, cpu: 'F' });
  const at = (second: number, switches: number) =>
    sample(second * HZ, [vm(1, 'a', { worlds: [world(5, 'vmm0:a', { switches })] })]);
  const [header, first] = writer.lines(at(2, 30)).split('\n');
  const index = cells(header!).indexOf('\\\\esx01\\Group Cpu(1:a)\\Switches/sec');
  expect(cells(first!)[index]).toBe('15.00');
  expect(cells(writer.lines(at(4, 100)))[index]).toBe('35.00');
});

test('an average over no event is zero, and causes without events have no counters for them', () => {
  const lines = new BatchWriter({ ...NONE, exits: defaultConfig().fields.exits }).lines(
    sample(HZ, [vm(1, 'a', { counters: counters({ exits: 40 }) })]),
  );
  const [header, row] = lines.split('\n').map(cells) as [string[], string[]];
  const of = (path: string) => row[header.indexOf(`\\\\esx01\\Vm Exits(1:a:${path}`)];
  expect(of('callouts)\\Average Cycles/Event')).toBe('0.00');
  expect(of('guest user)\\Cycles')).toBe('0');
  expect(of('guest user)\\Events')).toBeUndefined();
  expect(of('_Total)\\Exits')).toBe('40');
  expect(of('_Total)\\Exits/sec')).toBe('40.00');
});

test('virtual disks and ports have esxtop’s objects', () => {
  const devices = { disks: [disk('scsi0:0'), disk('scsi0:1')], nics: [nic(7)] };
  const twoVms = sample(HZ, [vm(1, 'a', devices), vm(2, 'b')]);
  // What the strict reader knows of these objects holds with all fields, too.
  expect(readPdhCsv(new BatchWriter('all').lines(twoVms)).paths).toContain(
    '\\\\esx01\\Vm Disk(1:a:scsi0:0)\\Errors/sec',
  );
  const text = new BatchWriter({ ...NONE, diskVm: 'FGH', diskDevice: 'I', network: 'G' }).lines(twoVms);
  const [header, row] = text.split('\n').map(cells) as [string[], string[]];
  const of = (path: string) => row[header.indexOf(`\\\\esx01\\${path}`)];
  expect(of('Virtual Disk(a)\\Commands/sec')).toBe('104.00');
  expect(of('Virtual Disk(a:scsi0:1)\\MBytes Read/sec')).toBe('4.00');
  expect(of('Virtual Disk(a:scsi0:1)\\Average MilliSec/Write')).toBe('3.00');
  expect(of('Vm Disk(1:a:scsi0:0)\\Average Device MilliSec/Command')).toBe('2.00');
  expect(of('Network Port(vSwitch0:7:10:a)\\Packets Transmitted/sec')).toBe('99.00');
  expect(header.filter(path => path.includes('(b'))).toEqual([]);
});

test('interrupts are named for their line, those of the local APIC are not', () => {
  const interrupts = [
    { irq: 4, vector: 0x24, devices: ['com1'], delivered: 7 },
    { irq: undefined, vector: 0xef, devices: ['local timer'], delivered: 250 },
  ];
  const lines = new BatchWriter({ ...NONE, interrupt: 'BJ' }).lines(sample(HZ, [vm(1, 'a', { interrupts })]));
  const [header, row] = lines.split('\n').map(cells) as [string[], string[]];
  expect(header.slice(-4)).toEqual(
    ['irq4', 'LOC'].flatMap(name =>
      ['Interrupts/sec', 'Interrupts'].map(counter => `\\\\esx01\\Vm Interrupt(1:a:${name})\\${counter}`),
    ),
  );
  expect(row.slice(-4)).toEqual(['7.00', '7', '250.00', '250']);
});

test('names lose what readers would trip over', () => {
  const odd = sample(HZ, [vm(1, 'db (prod), "x\\y:z"é')], {});
  const [header] = new BatchWriter({ ...NONE, memory: 'G' })
    .lines({ ...odd, host: { ...odd.host, name: 'my,host' } })
    .split('\n');
  expect(cells(header!).at(-1)).toBe('\\\\my_host\\Group Memory(1:db _prod__ _x_y_z__)\\Touched MBytes');
});

test('a VM that goes leaves blanks, and one that comes has no column', () => {
  const writer = new BatchWriter({ ...NONE, memory: 'G' });
  const [header, both] = writer
    .lines(sample(HZ, [vm(1, 'a'), vm(2, 'b')]))
    .split('\n')
    .map(cells) as [string[], string[]];
  expect(both.slice(-8)).toEqual(['256', '20', '256', '13', '256', '20', '256', '13']);
  const later = cells(writer.lines(sample(2 * HZ, [vm(2, 'b'), vm(3, 'c')])).trimEnd());
  expect(later).toHaveLength(header.length);
  expect(later.slice(-8)).toEqual([' ', ' ', ' ', ' ', '256', '20', '256', '13']);
});
