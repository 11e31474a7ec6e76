/**
 * A performance log as samples: those of a host of ours come back as what its screens showed, to the last place that the file has. What a
 * file does not hold is unknown there: texts, counters that were not written, and objects of other hosts.
 */
import type { HostMemorySample, PcpuSample, Sample } from '../../hypervisor/index.js';
import { LOAD_COUNTERS, MEMORY_STATES, STATE_COUNTER, UPTIME_COUNTER } from '../../tui/host-figures.js';
import type { Tape } from '../replay.js';
import { type Figure, HZ, LoggedFigures, type Times, valuesOf } from './figures.js';
import { type LoggedObject, type PerformanceLog, readPerformanceLog } from './read.js';
import { loggedVms } from './vms.js';

/** Between samples of a log that has one sample and does not say when its host was started, seconds. */
const DELAY_SECONDS = 5;

/** Throws `UsageError` with the number of the first bad line; `name` is for messages. */
export function tapeOfLog(text: string, name: string): Tape {
  const log = readPerformanceLog(text, name);
  const times = timesOf(log);
  const host = loggedHost(log, times);
  const vms = loggedVms(log, times);
  return {
    count: times.count,
    commands: [],
    events: [],
    sample: row => ({
      sequence: row,
      atCycles: times.seconds(row) * HZ,
      cyclesPerSecond: HZ,
      ...host(row),
      vms: vms.flatMap(vm => vm(row) ?? []),
    }),
  };
}

const objectOf = ({ objects }: PerformanceLog, object: string, instance = ''): LoggedObject | undefined =>
  objects.find(candidate => candidate.object === object && candidate.instance === instance);

/**
 * By the host's uptime where the log has it. Timestamps are in whole seconds: samples with the same one are spread over it, and the first
 * one comes as long after the host's start as the second one after the first.
 */
function timesOf(log: PerformanceLog): Times {
  const column = objectOf(log, 'Vmkernel')?.counters.get(UPTIME_COUNTER);
  const count = log.rows.length;
  let seconds = log.rows.map(row => (column === undefined ? Number.NaN : row[column]! / 1000));
  if (!seconds.every((second, row) => second >= (seconds[row - 1] ?? 0))) {
    const spread = log.times.flatMap((time, row) => {
      if (time === log.times[row - 1]) return [];
      let same = 1;
      while (log.times[row + same] === time) same += 1;
      return Array.from({ length: same }, (_, index) => time + index / same);
    });
    const delay = count > 1 ? spread[1]! - spread[0]! : DELAY_SECONDS;
    seconds = spread.map(time => time - spread[0]! + delay);
  }
  return { count, seconds: row => seconds[row]!, elapsed: row => seconds[row]! - (row === 0 ? 0 : seconds[row - 1]!) };
}

type HostPart = Pick<Sample, 'host' | 'pcpus'>;

function loggedHost(log: PerformanceLog, times: Times): (row: number) => HostPart {
  const of = (object: string, instance?: string): LoggedFigures =>
    new LoggedFigures(log, times, objectOf(log, object, instance));
  const memory = of('Memory');
  const mb = (name: string): Figure => memory.at(`${name} MBytes`, 1024);
  const sizes = valuesOf({
    totalKb: mb('Machine'),
    kernelKb: mb('Kernel'),
    otherKb: mb('NonKernel'),
    freeKb: mb('Free'),
    minFreeKb: mb('Kernel MinFree'),
    reservedKb: mb('Kernel Reserved'),
  } satisfies Record<Exclude<keyof HostMemorySample, 'state'>, Figure>);
  const state = memory.at(STATE_COUNTER);
  const load = of('Physical Cpu Load');
  const loads = LOAD_COUNTERS.map(name => load.at(name));
  const worlds = of('Vmkernel').at('Worlds');
  const pcpus = log.objects
    .filter(({ object, instance }) => object === 'Physical Cpu' && /^\d+$/.test(instance))
    .map(object => ({
      id: Number(object.instance),
      used: new LoggedFigures(log, times, object).sumOfRate('% Processor Time', HZ / 100),
    }));
  const host = (row: number): Sample['host'] => ({
    name: log.host,
    cpuModel: 'unknown',
    loadAverages: loads.map(figure => figure(row)) as unknown as Sample['host']['loadAverages'],
    worldCount: worlds(row),
    memory: { ...sizes(row), state: MEMORY_STATES[state(row)] ?? 'unknown' },
  });
  const pcpu = (row: number): PcpuSample[] =>
    pcpus.map(({ id, used }) => ({
      id,
      usedCycles: used(row),
      idleCycles: Number.NaN,
      world: undefined,
      switches: Number.NaN,
    }));
  return row => ({ host: host(row), pcpus: pcpu(row) });
}
