/**
 * Rows of the screens: what two samples say about a VM or a world. Every rate is (value now - value before) / time between,
 * as in esxtop. Without a sample before, the host's start is the baseline: everything began at zero there.
 */

import type { InterruptSample, Sample, VmSample, WorldSample } from '../hypervisor/index.js';
import type { ScreenId } from './columns.js';
import type { Expression } from './expression.js';
import { printable } from './format.js';
import type { DiskRow, PortRow } from './io-rows.js';

/** Shares of one pCPU, in percent of the time between the samples; a VM's are the sums over its worlds. */
export interface CpuShares {
  readonly used: number;
  readonly run: number;
  readonly sys: number;
  readonly wait: number;
  readonly ready: number;
  readonly idle: number;
  readonly overlap: number;
  readonly costop: number;
  readonly maxLimited: number;
}

/** What happened to a world, or to those of a VM, per second. */
export interface EventRates {
  readonly switches: number;
  readonly migrations: number;
  readonly quantumExpiries: number;
  readonly wakeups: number;
}

export interface TimerRates {
  readonly deliveredPerSecond: number;
  readonly wakeupsPerSecond: number;
  /** Timers of the vmkernel that came due for the VM. */
  readonly hostTimersPerSecond: number;
  /** Stolen time between the samples, ms. */
  readonly stolenMs: number;
  readonly stolenPercent: number;
  readonly lagMs: number;
}

export interface VmRow {
  readonly kind: 'vm';
  /** Identifies the row from sample to sample. */
  readonly key: string;
  readonly vm: VmSample;
  readonly cpu: CpuShares;
  readonly events: EventRates;
  readonly timer: TimerRates;
  readonly expanded: boolean;
}

export interface WorldRow {
  readonly kind: 'world';
  readonly key: string;
  readonly vm: VmSample;
  readonly world: WorldSample;
  readonly cpu: CpuShares;
  readonly events: EventRates;
}

/** A line of a VM's interrupt controllers. */
export interface InterruptRow {
  readonly kind: 'interrupt';
  readonly key: string;
  readonly vm: VmSample;
  readonly line: InterruptSample;
  readonly perSecond: number;
}

/** Rows of the CPU screen. */
export type CpuRow = VmRow | WorldRow;
export type Row = CpuRow | InterruptRow | DiskRow | PortRow;

/** Which rows an operator wants to see at all. */
export interface RowFilter {
  /** Of this group only. */
  readonly gid: number | undefined;
  /** Keys of rows that were dropped; those of a VM's worlds go with it. */
  readonly dropped: ReadonlySet<string>;
  /** Of the screens that have one: what its rows must fit. Worlds and disks below a VM come with it. */
  readonly fitting: Readonly<Partial<Record<ScreenId, Expression>>>;
}

export const EVERY_ROW: RowFilter = { gid: undefined, dropped: new Set(), fitting: {} };

/** Cycles between two samples; 0 when no time passed (a refresh while the host stands still). */
export const elapsedCycles = (now: Sample, before: Sample | undefined): number =>
  now.atCycles - (before?.atCycles ?? 0);

/** A counter's rise; a counter that fell began again at zero in between. */
export const rise = (now: number, before: number | undefined): number =>
  before === undefined || now < before ? now : now - before;

/** 0 over nothing; NaN where a part is not known. */
export const ratio = (part: number, whole: number): number => (whole <= 0 ? 0 : part / whole);

/** The VM in the sample before, if it is still the same power-on; its counters began again otherwise. */
export function sameRun(now: VmSample, before: Sample | undefined): VmSample | undefined {
  const vm = before?.vms.find(candidate => candidate.gid === now.gid);
  return vm !== undefined && vm.poweredOnAtCycles === now.poweredOnAtCycles ? vm : undefined;
}

function worldShares(now: WorldSample, before: WorldSample | undefined, elapsed: number): CpuShares {
  const percent = (cycles: number, cyclesBefore: number | undefined) =>
    100 * ratio(rise(cycles, cyclesBefore), elapsed);
  return {
    used: percent(now.usedCycles, before?.usedCycles),
    run: percent(now.runCycles, before?.runCycles),
    sys: percent(now.sysCycles, before?.sysCycles),
    wait: percent(now.waitCycles, before?.waitCycles),
    ready: percent(now.readyCycles, before?.readyCycles),
    idle: percent(now.idleCycles, before?.idleCycles),
    overlap: percent(now.overlapCycles, before?.overlapCycles),
    costop: percent(now.costopCycles, before?.costopCycles),
    maxLimited: percent(now.maxLimitedCycles, before?.maxLimitedCycles),
  };
}

const NO_SHARES: CpuShares = {
  used: 0,
  run: 0,
  sys: 0,
  wait: 0,
  ready: 0,
  idle: 0,
  overlap: 0,
  costop: 0,
  maxLimited: 0,
};

const NO_EVENTS: EventRates = { switches: 0, migrations: 0, quantumExpiries: 0, wakeups: 0 };

function worldEvents(now: WorldSample, before: WorldSample | undefined, seconds: number): EventRates {
  const perSecond = (name: keyof EventRates) => ratio(rise(now[name], before?.[name]), seconds);
  return {
    switches: perSecond('switches'),
    migrations: perSecond('migrations'),
    quantumExpiries: perSecond('quantumExpiries'),
    wakeups: perSecond('wakeups'),
  };
}

/** Adds figures up, name by name. */
function sum<T extends { readonly [Name in keyof T]: number }>(none: T, parts: readonly T[]): T {
  const total: { -readonly [Name in keyof T]: number } = { ...none };
  for (const part of parts) {
    for (const name of Object.keys(none) as (keyof T)[]) total[name] += part[name];
  }
  return total as T;
}

function timerRates(now: Sample, vm: VmSample, before: VmSample | undefined, elapsed: number): TimerRates {
  const seconds = elapsed / now.cyclesPerSecond;
  const stolen = rise(vm.timer.stolenCycles, before?.timer.stolenCycles);
  return {
    deliveredPerSecond: ratio(rise(vm.timer.delivered, before?.timer.delivered), seconds),
    wakeupsPerSecond: ratio(rise(vm.timer.wakeups, before?.timer.wakeups), seconds),
    hostTimersPerSecond: ratio(rise(vm.counters.hostTimers, before?.counters.hostTimers), seconds),
    stolenMs: (stolen / now.cyclesPerSecond) * 1000,
    stolenPercent: 100 * ratio(stolen, elapsed),
    lagMs: (vm.timer.lagCycles / now.cyclesPerSecond) * 1000,
  };
}

/** One row per VM in the sample's order, each with the rows of its worlds that exist now (shown when the VM is expanded). */
export interface VmGroup {
  readonly row: VmRow;
  readonly worlds: readonly WorldRow[];
  /** With those that have ended. */
  readonly everyWorld: readonly WorldRow[];
}

export function vmGroups(now: Sample, before: Sample | undefined, expanded: ReadonlySet<string>): VmGroup[] {
  const elapsed = elapsedCycles(now, before);
  return now.vms.map(vm => {
    // World counters rise since the host started, whatever the VM's power-ons: a world is found again by its id.
    const worldsBefore = before?.vms.find(candidate => candidate.gid === vm.gid)?.worlds;
    const worlds = vm.worlds.map((world): WorldRow => {
      const worldBefore = worldsBefore?.find(candidate => candidate.id === world.id);
      const seconds = elapsed / now.cyclesPerSecond;
      const events = worldEvents(world, worldBefore, seconds);
      return {
        kind: 'world',
        key: `world ${world.id}`,
        vm,
        world,
        cpu: worldShares(world, worldBefore, elapsed),
        events,
      };
    });
    const row: VmRow = {
      kind: 'vm',
      key: `vm ${vm.name}`,
      vm,
      cpu: sum(
        NO_SHARES,
        worlds.map(world => world.cpu),
      ),
      events: sum(
        NO_EVENTS,
        worlds.map(world => world.events),
      ),
      timer: timerRates(now, vm, sameRun(vm, before), elapsed),
      expanded: expanded.has(vm.name),
    };
    // What a world used before it ended counts for the VM, but there is no world to show any more.
    return { row, worlds: worlds.filter(({ world }) => world.state !== 'off'), everyWorld: worlds };
  });
}

/** What a row is called in a list of rows of all kinds. */
export function rowLabel(row: Row): string {
  const name = printable(row.vm.name);
  switch (row.kind) {
    case 'vm':
      return name;
    case 'world':
      return printable(row.world.name);
    case 'interrupt':
      return `${name} irq ${row.line.irq ?? 'LOC'}`;
    case 'disk':
      return [name, row.disk?.name ?? row.adapter].join(' ').trimEnd();
    case 'port':
      return `${name} ${row.nic.name}`;
  }
}

/** The interrupt lines of a VM. */
export function interruptRows(now: Sample, before: Sample | undefined, vm: VmSample): InterruptRow[] {
  const seconds = elapsedCycles(now, before) / now.cyclesPerSecond;
  const linesBefore = sameRun(vm, before)?.interrupts;
  return vm.interrupts.map(line => {
    const lineBefore = linesBefore?.find(({ irq }) => irq === line.irq);
    return {
      kind: 'interrupt',
      key: `irq ${line.irq ?? 'LOC'} ${vm.name}`,
      vm,
      line,
      perSecond: ratio(rise(line.delivered, lineBefore?.delivered), seconds),
    };
  });
}
