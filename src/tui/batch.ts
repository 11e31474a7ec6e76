/**
 * Samples as esxtop's batch mode writes them: a performance log of Windows as text (PDH-CSV 4.0), which many tools read. A header line with
 * the path of each counter, then a line for each sample; everything in double quotes.
 *
 *     "(PDH-CSV 4.0) (UTC)(0)","\\esx01\Memory\Machine MBytes",...,"\\esx01\Group Cpu(16:web01)\% Used",...
 *     "04/01/2008 09:00:05","5120",...,"12.41",...
 *
 * The counters are those of the screens' columns (`Column.counter`), of the header (`host-figures.ts`) and the state of each VM as numbers
 * (`vm-state.ts`). Object names that begin with `Vm` and `Vmkernel` are ours; the others are esxtop's. Texts (GUEST, SOURCE) are no counters,
 * and neither is what simulating the host takes (speed, engine): it would differ from computer to computer.
 */
import { CAUSES, EPOCH_SECONDS, type Sample } from '../hypervisor/index.js';
import type { BatchCounter, Field, ScreenId } from './columns.js';
import { CAUSE_ORDER, causeRows, exitsSubject } from './exits.js';
import { EXITS_FIELDS, type FieldOrders, shownColumns } from './fields.js';
import { fixed, NO_FIGURE } from './format.js';
import {
  LOAD_COUNTERS,
  MEMORY_LINES,
  pcpuShares,
  STATE_COUNTER,
  STATE_LINE,
  stateCode,
  UPTIME_COUNTER,
} from './host-figures.js';
import { adapterRows, diskRows, portRows, SWITCH_NAME } from './io-rows.js';
import { DISK_ADAPTER_FIELDS, DISK_DEVICE_FIELDS, DISK_VM_FIELDS, NETWORK_FIELDS } from './io-screens.js';
import { elapsedCycles, interruptRows, ratio, rise, sameRun, vmGroups } from './rows.js';
import { CPU_FIELDS, INTERRUPT_FIELDS, MEMORY_FIELDS, TIMER_FIELDS } from './screens.js';
import { millisecondsOf, VM_STATE_COUNTERS, VM_STATE_OBJECT } from './vm-state.js';

/** What a batch file holds besides the host's own figures: the counters of every screen's shown fields, or of all fields. */
export type BatchSelection = FieldOrders | 'all';

const FIRST_CELL = '(PDH-CSV 4.0) (UTC)(0)';
/** What stands for an object that has gone: the header is written once. */
const GONE = ' ';

/** Names without what readers take for the end of a cell, of a path's part or of an instance's: each becomes `_`. */
export const safe = (name: string): string => name.replaceAll(/[^\x20-\x7e]|[",\\():]/g, '_');

/** Never `-0.00`; nothing for what nobody knows (of a performance log that is replayed). */
const textOf = (value: number, places: 0 | 2): string => {
  const text = fixed(value, places);
  if (text === NO_FIGURE) return GONE;
  return Number(text) === 0 ? (0).toFixed(places) : text;
};

interface Cell {
  readonly path: string;
  readonly value: string;
}

/** Virtual time of a sample in UTC, `MM/DD/YYYY HH:MM:SS`. */
function timestamp({ atCycles, cyclesPerSecond }: Sample): string {
  const seconds = EPOCH_SECONDS + Math.floor(atCycles / cyclesPerSecond);
  const [year, month, day, time] = new Date(seconds * 1000).toISOString().split(/[-T.]/);
  return `${month}/${day}/${year} ${time}`;
}

class CellList {
  readonly cells: Cell[] = [];
  readonly #host: string;

  constructor(host: string) {
    this.#host = `\\\\${safe(host)}`;
  }

  /** `instance` in parts, which colons will separate. */
  add(object: string, instance: readonly (string | number)[], counter: string, value: number, places: 0 | 2): void {
    const of = instance.length === 0 ? '' : `(${instance.map(part => safe(String(part))).join(':')})`;
    this.cells.push({ path: `${this.#host}\\${object}${of}\\${counter}`, value: textOf(value, places) });
  }

  addRow<R>(
    object: string,
    instance: readonly (string | number)[],
    counters: readonly BatchCounter<R>[],
    row: R,
  ): void {
    for (const { name, places, of } of counters) this.add(object, instance, name, of(row), places);
  }
}

function countersOf<R>(
  screen: ScreenId,
  fields: readonly Field<{ readonly counter?: BatchCounter<R> }>[],
  selection: BatchSelection,
): BatchCounter<R>[] {
  const columns =
    selection === 'all' ? fields.flatMap(field => field.columns) : shownColumns(fields, selection[screen]);
  return columns.flatMap(({ counter }) => (counter === undefined ? [] : [counter]));
}

function addHost(list: CellList, now: Sample, before: Sample | undefined): void {
  for (const { label, figures } of MEMORY_LINES) {
    for (const { counter, kb } of figures) list.add('Memory', [], counter, kb(now) / 1024, 0);
    if (label === STATE_LINE) list.add('Memory', [], STATE_COUNTER, stateCode(now), 0);
  }
  LOAD_COUNTERS.forEach((counter, index) => {
    list.add('Physical Cpu Load', [], counter, now.host.loadAverages[index]!, 2);
  });
  const { used, mean } = pcpuShares(now, before);
  now.pcpus.forEach(({ id }, index) => {
    list.add('Physical Cpu', [id], '% Processor Time', used[index]!, 2);
  });
  list.add('Physical Cpu', ['_Total'], '% Processor Time', mean, 2);
  list.add('Vmkernel', [], 'Worlds', now.host.worldCount, 0);
  list.add('Vmkernel', [], UPTIME_COUNTER, millisecondsOf(now.atCycles, now), 2);
}

function addVms(list: CellList, now: Sample, before: Sample | undefined, selection: BatchSelection): void {
  const groups = vmGroups(now, before, new Set());
  const cpu = countersOf('cpu', CPU_FIELDS, selection);
  const cpuOfWorlds = cpu.filter(({ vmOnly }) => !vmOnly);
  for (const { row, everyWorld } of groups) {
    const { gid, name } = row.vm;
    list.addRow('Group Cpu', [gid, name], cpu, row);
    for (const world of everyWorld) {
      // `vmm0:web01`, which readers take for one name or for two.
      list.addRow('Vcpu', [gid, name, world.world.id, ...world.world.name.split(':')], cpuOfWorlds, world);
    }
  }
  for (const { row } of groups) {
    for (const { name, places, of } of VM_STATE_COUNTERS) {
      list.add(VM_STATE_OBJECT, [row.vm.gid, row.vm.name], name, of(row.vm, now), places);
    }
  }
  for (const [screen, object, fields] of [
    ['memory', 'Group Memory', MEMORY_FIELDS],
    ['timer', 'Vm Timer', TIMER_FIELDS],
  ] as const) {
    const counters = countersOf(screen, fields, selection);
    for (const { row } of groups) list.addRow(object, [row.vm.gid, row.vm.name], counters, row);
  }
  const adapter = countersOf('diskAdapter', DISK_ADAPTER_FIELDS, selection);
  const device = countersOf('diskDevice', DISK_DEVICE_FIELDS, selection);
  const disk = countersOf('diskVm', DISK_VM_FIELDS, selection);
  const port = countersOf('network', NETWORK_FIELDS, selection);
  for (const { row } of groups) {
    const { all, each } = diskRows(now, before, row.vm);
    for (const of of adapterRows(now, before, row.vm)) {
      list.addRow('Vm Adapter', [row.vm.gid, row.vm.name, of.adapter!], adapter, of);
    }
    if (all.count > 0) list.addRow('Virtual Disk', [row.vm.name], disk, all);
    for (const of of each) {
      const name = of.disk?.name.split(':') ?? [];
      list.addRow('Virtual Disk', [row.vm.name, ...name], disk, of);
      list.addRow('Vm Disk', [row.vm.gid, row.vm.name, ...name], device, of);
    }
    for (const of of portRows(now, before, row.vm)) {
      const world = row.vm.worlds[0]?.id ?? row.vm.gid;
      list.addRow('Network Port', [SWITCH_NAME, of.nic.port, world, row.vm.name], port, of);
    }
  }
  const interrupt = countersOf('interrupt', INTERRUPT_FIELDS, selection);
  for (const { row } of groups) {
    for (const line of interruptRows(now, before, row.vm)) {
      list.addRow(
        'Vm Interrupt',
        [row.vm.gid, row.vm.name, line.line.irq === undefined ? 'LOC' : `irq${line.line.irq}`],
        interrupt,
        line,
      );
    }
  }
}

/** Cycles by cause, and the sum over all; a cause without events of its own has no counters for them. */
function addExits(list: CellList, now: Sample, before: Sample | undefined, selection: BatchSelection): void {
  const counters = countersOf('exits', EXITS_FIELDS, selection);
  if (counters.length === 0) return;
  const uncounted = counters.filter(({ name }) => !name.includes('Event'));
  const seconds = elapsedCycles(now, before) / now.cyclesPerSecond;
  for (const vm of now.vms) {
    const vmBefore = sameRun(vm, before);
    const exits = rise(vm.counters.exits, vmBefore?.counters.exits);
    list.add('Vm Exits', [vm.gid, vm.name, '_Total'], 'Exits', vm.counters.exits, 0);
    list.add('Vm Exits', [vm.gid, vm.name, '_Total'], 'Exits/sec', ratio(exits, seconds), 2);
    for (const { cause, sides } of causeRows([exitsSubject(vm, now, before, undefined)], CAUSE_ORDER)) {
      const figures = sides[0]!;
      const label = cause === 'sum' ? '_Total' : CAUSES[cause].label;
      const own = cause !== 'sum' && CAUSES[cause].counters.length > 0 ? counters : uncounted;
      list.addRow('Vm Exits', [vm.gid, vm.name, label], own, figures);
    }
  }
}

function cellsOf(now: Sample, before: Sample | undefined, selection: BatchSelection): readonly Cell[] {
  const list = new CellList(now.host.name);
  addHost(list, now, before);
  addVms(list, now, before, selection);
  addExits(list, now, before, selection);
  return list.cells;
}

const line = (cells: readonly string[]): string => `${cells.map(cell => `"${cell}"`).join(',')}\n`;

/** Writes samples as lines. What is in the first sample has columns; what comes later has none. */
export class BatchWriter {
  readonly #selection: BatchSelection;
  #paths: readonly string[] | undefined;
  #before: Sample | undefined;

  constructor(selection: BatchSelection) {
    this.#selection = selection;
  }

  /** The sample as a line, with its end; before the first one the header. Rates are over the time since the sample before, or since the start. */
  lines(now: Sample): string {
    const cells = cellsOf(now, this.#before, this.#selection);
    this.#before = now;
    let header = '';
    if (this.#paths === undefined) {
      this.#paths = cells.map(({ path }) => path);
      header = line([FIRST_CELL, ...this.#paths]);
    }
    const values = new Map(cells.map(({ path, value }) => [path, value]));
    return header + line([timestamp(now), ...this.#paths.map(path => values.get(path) ?? GONE)]);
  }
}
