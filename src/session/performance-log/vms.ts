/** The VMs of a performance log: the objects that name each, gathered, and their figures as those of a sample. */
import {
  CAUSE_NAMES,
  CAUSES,
  type Cause,
  COUNTER_NAMES,
  type CounterName,
  type InterruptSample,
  type VmSample,
  type WorldSample,
} from '../../hypervisor/index.js';
import { safe } from '../../tui/batch.js';
import { MODE_CODES, POWER_CODES, VM_STATE_OBJECT } from '../../tui/vm-state.js';
import { loggedDisks, loggedNics } from './devices.js';
import { either, type Figure, from, HZ, LoggedFigures, type Times, total, UNKNOWN, valuesOf } from './figures.js';
import type { LoggedObject, PerformanceLog } from './read.js';

/** All that a log has of a VM. */
export class LoggedVm {
  readonly gid: number;
  readonly name: string;
  readonly objects: LoggedObject[] = [];
  readonly times: Times;
  readonly #log: PerformanceLog;
  /** When it was powered on last, seconds of uptime. */
  readonly poweredOn: Figure;

  constructor(gid: number, name: string, objects: readonly LoggedObject[], log: PerformanceLog, times: Times) {
    this.gid = gid;
    this.name = name;
    this.objects.push(...objects);
    this.#log = log;
    this.times = times;
    this.poweredOn = this.ofHost(this.objects.find(({ object }) => object === VM_STATE_OBJECT)).at(
      'Power On MilliSec',
      1 / 1000,
    );
  }

  /** Its only object of a name. */
  figures(object: string): LoggedFigures {
    return this.of(this.objects.find(candidate => candidate.object === object));
  }

  /** Totals since the last power-on. */
  of(object: LoggedObject | undefined): LoggedFigures {
    return new LoggedFigures(this.#log, this.times, object, this.poweredOn === UNKNOWN ? undefined : this.poweredOn);
  }

  /** Totals since the host's start. */
  ofHost(object: LoggedObject | undefined): LoggedFigures {
    return new LoggedFigures(this.#log, this.times, object);
  }

  /** What stands behind the VM's name in the instances of an object, in parts: worlds, disks, lines, causes. */
  parts(object: string): readonly { readonly parts: readonly string[]; readonly object: LoggedObject }[] {
    return this.objects
      .filter(candidate => candidate.object === object)
      .map(candidate => ({ parts: candidate.instance.split(':'), object: candidate }));
  }

  isIn(row: number): boolean {
    const values = this.#log.rows[row]!;
    return this.objects.some(({ counters }) => [...counters.values()].some(at => !Number.isNaN(values[at])));
  }
}

/** Objects whose instance begins with the group's id; and those in which the VM's name has another place. */
const BY_GROUP = /^(?:Group Cpu|Group Memory|Vcpu|Vm .*)$/;
const NAME_PLACE: Readonly<Record<string, number>> = { 'Virtual Disk': 0, 'Network Port': 3 };

/** For each VM, in the log's order, what makes its part of the sample of a row; undefined in rows in which it is not there. */
export function loggedVms(log: PerformanceLog, times: Times): ((row: number) => VmSample | undefined)[] {
  const groups = new Map<string, { gid: number; name: string; objects: LoggedObject[] }>();
  for (const object of log.objects.filter(candidate => BY_GROUP.test(candidate.object))) {
    const [gid, name] = object.instance.split(':');
    if (name === undefined || !/^\d+$/.test(gid!)) continue;
    const group = groups.get(name) ?? { gid: Number(gid), name, objects: [] };
    groups.set(name, group);
    group.objects.push(object);
  }
  for (const object of log.objects) {
    const place = NAME_PLACE[object.object];
    if (place !== undefined) groups.get(object.instance.split(':')[place] ?? '')?.objects.push(object);
  }
  return [...groups.values()].map(({ gid, name, objects }) => loggedVm(new LoggedVm(gid, name, objects, log, times)));
}

function loggedVm(vm: LoggedVm): (row: number) => VmSample | undefined {
  const state = vm.figures(VM_STATE_OBJECT);
  const [power, mode, monitor, configured, enabled, active, boot] = (
    ['Power State', 'Mode', 'Monitor', 'Vmi Configured', 'Vmi Enabled', 'Vmi Active', 'Boot MilliSec'] as const
  ).map(name => state.at(name)) as [Figure, Figure, Figure, Figure, Figure, Figure, Figure];
  const group = vm.figures('Group Cpu');
  const [shares, minMhz, maxMhz] = ['Alloc Shares', 'Alloc Min', 'Alloc Max'].map(name => group.at(name)) as [
    Figure,
    Figure,
    Figure,
  ];
  const members = group.at('Members');
  const worlds = loggedWorlds(vm, group);
  const exits = loggedExits(vm);
  const memory = loggedMemory(vm);
  const timer = loggedTimer(vm);
  const interrupts = loggedInterrupts(vm);
  const disks = loggedDisks(vm);
  const nics = loggedNics(vm);
  return row => {
    if (!vm.isIn(row)) return undefined;
    const isOn = members(row) === 0 ? 'off' : 'on';
    const poweredOn = vm.poweredOn(row);
    return {
      gid: vm.gid,
      name: vm.name,
      power: POWER_CODES[power(row)] ?? isOn,
      crashReason: undefined,
      mode: MODE_CODES[mode(row)] ?? 'unknown',
      monitor: (MODE_CODES[monitor(row)] as VmSample['monitor'] | undefined) ?? 'unknown',
      vmiEnabled: enabled(row) === 1,
      vmiConfigured: configured(row) === 1,
      vmiActive: active(row) === 1,
      guestState: '-',
      poweredOnAtCycles: Number.isNaN(poweredOn) ? 0 : poweredOn * HZ,
      bootCycles: boot(row) >= 0 ? (boot(row) * HZ) / 1000 : undefined,
      worlds: worlds(row),
      ...exits(row),
      memory: memory(row),
      timer: timer(row),
      cpu: { shares: shares(row), minMhz: minMhz(row), maxMhz: maxMhz(row) === -1 ? undefined : maxMhz(row) },
      disks: disks.map(disk => disk(row)),
      nics: nics.map(nic => nic(row)),
      interrupts: interrupts.map(line => line(row)),
    };
  };
}

/** What worlds have, with the unit of each counter. */
const WORLD_FIGURES = {
  usedCycles: ['% Used', HZ / 100],
  runCycles: ['% Run', HZ / 100],
  sysCycles: ['% System', HZ / 100],
  waitCycles: ['% Wait', HZ / 100],
  idleCycles: ['% Idle', HZ / 100],
  readyCycles: ['% Ready', HZ / 100],
  overlapCycles: ['% Overlap', HZ / 100],
  costopCycles: ['% CoStop', HZ / 100],
  maxLimitedCycles: ['% Max Limited', HZ / 100],
  switches: ['Switches/sec', 1],
  migrations: ['Migrates/sec', 1],
  quantumExpiries: ['Quantum Expires/sec', 1],
  wakeups: ['Wakeups/sec', 1],
} as const satisfies Partial<Record<keyof WorldSample, readonly [string, number]>>;
type WorldFigure = keyof typeof WORLD_FIGURES;
const WORLD_FIGURE_NAMES = Object.keys(WORLD_FIGURES) as readonly WorldFigure[];

/**
 * A group's figures are the sums over its worlds. Those of the file are rounded, each for itself; the sum is what people look at, so that its
 * busiest world takes the difference. A group without worlds in the file has as many as it has members, and the first one has it all.
 */
function loggedWorlds(vm: LoggedVm, group: LoggedFigures): (row: number) => WorldSample[] {
  const members = group.at('Members');
  const logged = vm.parts('Vcpu').map(({ parts, object }) => ({
    id: Number(parts[2]),
    name: parts.slice(3).join(':'),
    figures: vm.ofHost(object),
  }));
  const only = { id: vm.gid, name: vm.name, figures: group };
  const worlds = logged.length > 0 ? logged : [only];
  const perWorld = worlds.map(() => ({}) as Record<WorldFigure, Figure>);
  for (const name of WORLD_FIGURE_NAMES) {
    const [counter, unit] = WORLD_FIGURES[name];
    const own = worlds.map(({ figures }) => figures.at(counter));
    const whole = group.at(counter);
    const busiest = (row: number): number => {
      const values = own.map(figure => figure(row) || 0);
      return values.indexOf(Math.max(...values));
    };
    const rest = (row: number): number => whole(row) - own.reduce((sum, figure) => sum + figure(row), 0);
    own.forEach((figure, index) => {
      const fitted: Figure =
        whole === UNKNOWN || figure === UNKNOWN
          ? figure
          : row => (busiest(row) === index ? Math.max(0, figure(row) + rest(row)) : figure(row));
      const perSample = from([fitted, vm.times.elapsed], (rate, seconds) => rate * unit * seconds);
      perWorld[index]![name] = total(perSample, vm.times);
    });
  }
  const values = perWorld.map(valuesOf);
  const nothing = Object.fromEntries(WORLD_FIGURE_NAMES.map(name => [name, 0])) as Record<WorldFigure, number>;
  return row => {
    const count = members(row);
    const made = worlds.map(
      ({ id, name }, index): WorldSample => ({
        id,
        name,
        kind: name.startsWith('vmm') ? 'vmm' : name.startsWith('vcpu') ? 'vcpu' : 'vmx',
        state: index >= count ? 'off' : 'unknown',
        pcpu: undefined,
        ...values[index]!(row),
      }),
    );
    const more = logged.length > 0 || Number.isNaN(count) ? 0 : Math.max(0, count - made.length);
    for (let index = 1; index <= more; index++) made.push({ ...made[0]!, ...nothing, id: -index });
    return made;
  };
}

/** Cycles and events by cause. Events are told by cause only: they are put under the first counter of each. */
function loggedExits(vm: LoggedVm): (row: number) => Pick<VmSample, 'counters' | 'causes' | 'chargedCycles'> {
  const parts = vm.parts('Vm Exits');
  const of = (label: string): LoggedFigures => vm.of(parts.find(part => part.parts[2] === safe(label))?.object);
  const all = of('_Total');
  const charged = all.at('Cycles');
  const counters = Object.fromEntries(COUNTER_NAMES.map(name => [name, UNKNOWN])) as Record<CounterName, Figure>;
  const causes = {} as Record<Cause, Figure>;
  counters.exits = either(all.at('Exits'), all.sumOfRate('Exits/sec'));
  for (const cause of CAUSE_NAMES) {
    const figures = of(CAUSES[cause].label);
    const [first, ...others] = CAUSES[cause].counters;
    if (first !== undefined) counters[first] = either(figures.at('Events'), figures.sumOfRate('Events/sec'));
    for (const other of others) counters[other] = () => 0;
    causes[cause] = figures.at('Cycles');
  }
  // The CPU screen has them, too.
  counters.hostTimers = either(counters.hostTimers, vm.figures('Group Cpu').sumOfRate('Timers/sec'));
  const [counted, caused] = [valuesOf(counters), valuesOf(causes)];
  return row => ({ counters: counted(row), causes: caused(row), chargedCycles: charged(row) });
}

function loggedMemory(vm: LoggedVm): (row: number) => VmSample['memory'] {
  const figures = vm.figures('Group Memory');
  const mb = (name: string): Figure => figures.at(`${name} MBytes`, 1024);
  const sizeKb = mb('Memory Size');
  // The share has more places than the size in whole megabytes.
  const active = from([figures.at('% Active Estimate'), sizeKb], (percent, kb) => (percent / 100) * kb);
  return valuesOf({
    sizeKb,
    grantedKb: mb('Memory Granted Size'),
    targetKb: mb('Target Size'),
    touchedKb: either(active, mb('Touched')),
    overheadKb: mb('Overhead'),
    overheadMaxKb: mb('Overhead Max'),
    shadowKb: figures.at('Shadow KBytes'),
    tcKb: figures.at('Translation Cache KBytes'),
  } satisfies Record<keyof VmSample['memory'], Figure>);
}

function loggedTimer(vm: LoggedVm): (row: number) => VmSample['timer'] {
  const figures = vm.figures('Vm Timer');
  const stolenShare = figures.sumOfRate('% Stolen', HZ / 100);
  const values = valuesOf({
    requestedHz: figures.at('Requested Interrupts/sec'),
    delivered: figures.sumOfRate('Delivered Interrupts/sec'),
    backlog: figures.at('Backlog'),
    lagCycles: figures.at('Lag MilliSec', HZ / 1000),
    stolenCycles: either(figures.sum('Stolen MilliSec', HZ / 1000), stolenShare),
    wakeups: figures.sumOfRate('Wakeups/sec'),
  } satisfies Record<Exclude<keyof VmSample['timer'], 'source'>, Figure>);
  return row => ({ source: '-', ...values(row) });
}

function loggedInterrupts(vm: LoggedVm): ((row: number) => InterruptSample)[] {
  return vm.parts('Vm Interrupt').map(({ parts, object }) => {
    const figures = vm.of(object);
    const irq = /^irq(\d+)$/.exec(parts[2] ?? '')?.[1];
    const vector = figures.at('Vector');
    const delivered = either(figures.at('Interrupts'), figures.sumOfRate('Interrupts/sec'));
    return row => ({
      irq: irq === undefined ? undefined : Number(irq),
      vector: vector(row),
      devices: [],
      delivered: delivered(row),
    });
  });
}
