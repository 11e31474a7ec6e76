/**
 * A strict reader of esxtop's batch files, written from what is known of them and of the tools that read them, not from our writer. It
 * believes nothing: quoting, paths, the objects' instance forms and counters, the form of every value, and the identities that hold between
 * counters.
 */

export interface PdhFile {
  readonly host: string;
  readonly paths: readonly string[];
  /** Seconds since 1970 of each row. */
  readonly times: readonly number[];
  readonly rows: readonly (readonly string[])[];
}

/** Counters of esxtop's objects: `whole` are counts and sizes, the others have two decimals. */
interface ObjectRule {
  readonly instance: RegExp | undefined;
  readonly whole: readonly string[];
  readonly decimal: readonly string[];
}

const STATE_TIMES = ['Used', 'Run', 'System', 'Wait', 'Ready', 'Idle', 'Overlap', 'CoStop', 'Max Limited'].map(
  name => `% ${name}`,
);
const EVENTS = ['Switches/sec', 'Migrates/sec', 'Quantum Expires/sec', 'Wakeups/sec'];

const OBJECTS: Readonly<Record<string, ObjectRule>> = {
  Memory: {
    instance: undefined,
    whole: [
      ...['Machine', 'Kernel', 'NonKernel', 'Free', 'Kernel Managed', 'Kernel MinFree', 'Kernel Reserved'].map(
        name => `${name} MBytes`,
      ),
      'Kernel Unreserved MBytes',
      'Kernel State',
      // Not esxtop's.
      ...['Overhead', 'Overhead Max', 'Shadow', 'Translation Cache'].map(name => `${name} MBytes`),
    ],
    decimal: [],
  },
  'Physical Cpu Load': {
    instance: undefined,
    whole: [],
    decimal: [1, 5, 15].map(minutes => `Cpu Load (${minutes} Minute Avg)`),
  },
  'Physical Cpu': { instance: /^(?:\d+|_Total)$/, whole: [], decimal: ['% Processor Time'] },
  'Group Cpu': {
    instance: /^\d+:[^:]+$/,
    whole: ['Members', 'Alloc Min', 'Alloc Max', 'Alloc Shares'],
    decimal: [...STATE_TIMES, ...EVENTS, 'Timers/sec'],
  },
  Vcpu: { instance: /^\d+:[^:]+:\d+:(?:vmm\d+|vcpu\d+|vmx):[^:]+$/, whole: [], decimal: [...STATE_TIMES, ...EVENTS] },
  'Group Memory': {
    instance: /^\d+:[^:]+$/,
    whole: [
      ...['Memory Size', 'Memory Granted Size', 'Target Size', 'Touched', 'Overhead', 'Overhead Max'].map(
        name => `${name} MBytes`,
      ),
      // Not esxtop's.
      'Shadow KBytes',
      'Translation Cache KBytes',
    ],
    decimal: ['% Active Estimate'],
  },
  'Virtual Disk': {
    instance: /^[^:]+(?::scsi\d:\d+)?$/,
    whole: [],
    decimal: [
      ...['Commands/sec', 'Reads/sec', 'Writes/sec', 'MBytes Read/sec', 'MBytes Written/sec'],
      ...['Average MilliSec/Read', 'Average MilliSec/Write'],
    ],
  },
  'Network Port': {
    instance: /^[^:]+:\d+:\d+:[^:]+$/,
    whole: [],
    decimal: [
      ...['Packets Transmitted/sec', 'Packets Received/sec', 'MBits Transmitted/sec', 'MBits Received/sec'],
      ...['% Outbound Packets Dropped', '% Received Packets Dropped'],
    ],
  },
};

/** Objects that esxtop does not have: only their form is checked. */
const FOREIGN_OBJECT = /^Vm(?:kernel| [A-Z][a-z]+)$/;

/** Throws an `Error` that says what is wrong with the text, and where. */
export function readPdhCsv(text: string): PdhFile {
  if (/\r/.test(text)) throw new Error('a carriage return');
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const lines = text.slice(0, -1).split('\n');
  const [header, ...rows] = lines.map((line, index) => cellsOf(line, index + 1));
  if (header![0] !== '(PDH-CSV 4.0) (UTC)(0)') throw new Error(`line 1: begins with "${header![0]}"`);
  const paths = header!.slice(1);
  if (paths.length === 0) throw new Error('line 1: no counter');
  const parsed = paths.map(parsePath);
  if (new Set(paths).size !== paths.length) throw new Error('line 1: a counter is there twice');
  const { host } = parsed[0]!;
  for (const path of parsed) if (path.host !== host) throw new Error(`line 1: another host: ${path.host}`);
  for (const [index, row] of rows.entries()) {
    const line = index + 2;
    if (row.length !== header!.length) throw new Error(`line ${line}: ${row.length} cells, not ${header!.length}`);
    for (const [at, path] of parsed.entries()) checkValue(row[at + 1]!, path, line);
  }
  const times = rows.map((row, index) => timeOf(row[0]!, index + 2));
  for (const [index, time] of times.entries()) {
    if (index > 0 && time < times[index - 1]!) throw new Error(`line ${index + 2}: goes back in time`);
  }
  const file = { host, paths, times, rows: rows.map(row => row.slice(1)) };
  rows.forEach((_, index) => {
    checkIdentities(file, index);
  });
  return file;
}

/** Cells of a line in which every cell is quoted, with nothing between them but one comma, and none of which holds a quote. */
function cellsOf(line: string, number: number): string[] {
  const cell = /"([^"]*)"(,|$)/y;
  const cells: string[] = [];
  for (;;) {
    const match = cell.exec(line);
    if (match === null) throw new Error(`line ${number}: not a quoted cell at ${line.slice(cell.lastIndex, 40)}`);
    cells.push(match[1]!);
    if (match[2] === '') return cells;
    if (cell.lastIndex === line.length) throw new Error(`line ${number}: a comma at its end`);
  }
}

interface Path {
  readonly text: string;
  readonly host: string;
  readonly object: string;
  readonly instance: string | undefined;
  readonly counter: string;
}

function parsePath(text: string): Path {
  // Printable ASCII, and no comma: there are readers that cut at every one.
  if (!/^[\x20-\x7e]+$/.test(text) || text.includes(',')) throw new Error(`line 1: characters of ${text}`);
  const match = /^\\\\([^\\]+)\\([A-Z][^\\()]*?)(?:\(([^\\()]+)\))?\\([^\\]+)$/.exec(text);
  if (match === null) throw new Error(`line 1: not a counter's path: ${text}`);
  const [, host, object, instance, counter] = match as unknown as [string, string, string, string | undefined, string];
  const rule = Object.hasOwn(OBJECTS, object) ? OBJECTS[object] : undefined;
  if (rule === undefined) {
    if (!FOREIGN_OBJECT.test(object)) throw new Error(`line 1: no such object: ${text}`);
  } else {
    if (![...rule.whole, ...rule.decimal].includes(counter)) throw new Error(`line 1: no such counter: ${text}`);
    if (rule.instance === undefined ? instance !== undefined : !rule.instance.test(instance ?? '')) {
      throw new Error(`line 1: instance of ${text}`);
    }
  }
  return { text, host, object, instance, counter };
}

const WHOLE = /^(?:0|-?[1-9]\d*)$/;
const DECIMAL = /^-?(?:0|[1-9]\d*)\.\d\d$/;

function checkValue(value: string, { text, object, counter }: Path, line: number): void {
  const rule = Object.hasOwn(OBJECTS, object) ? OBJECTS[object] : undefined;
  const rate = /\/sec$|%|MilliSec|Average/.test(counter);
  const form = (rule === undefined ? !rate : rule.whole.includes(counter)) ? WHOLE : DECIMAL;
  if (!form.test(value) || value === '-0.00') throw new Error(`line ${line}: "${value}" for ${text}`);
  if (counter.startsWith('%') && Number(value) < 0) throw new Error(`line ${line}: ${value} for ${text}`);
}

/** `MM/DD/YYYY HH:MM:SS`, a moment that exists. */
function timeOf(text: string, line: number): number {
  const match = /^(\d\d)\/(\d\d)\/(\d{4}) (\d\d):(\d\d):(\d\d)$/.exec(text);
  const [month, day, year, hour, minute, second] = (match ?? []).slice(1).map(Number) as number[];
  const date = new Date(Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second));
  const same =
    match !== null &&
    date.getUTCMonth() + 1 === month &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  if (!same) throw new Error(`line ${line}: not a timestamp: "${text}"`);
  return date.getTime() / 1000;
}

/** What must be true between the counters of one row, up to rounding. */
function checkIdentities({ host, paths, rows }: PdhFile, index: number): void {
  const values = new Map(paths.map((path, at) => [path, Number(rows[index]![at])]));
  const equal = (what: string, a: number, b: number, within: number): void => {
    if (Math.abs(a - b) > within + 1e-9) throw new Error(`line ${index + 2}: ${what}: ${a} is not ${b}`);
  };
  const memory = (counter: string): number | undefined => values.get(`\\\\${host}\\Memory\\${counter} MBytes`);
  if (memory('Machine') !== undefined) {
    equal('machine memory', memory('Machine')!, memory('Kernel')! + memory('NonKernel')! + memory('Free')!, 1.5);
    equal('managed memory', memory('Kernel Managed')!, memory('Kernel Reserved')! + memory('Kernel Unreserved')!, 1);
  }

  const pcpus = paths.filter(path => /\\Physical Cpu\(\d+\)\\/.test(path)).map(path => values.get(path)!);
  const total = values.get(`\\\\${host}\\Physical Cpu(_Total)\\% Processor Time`);
  if (total !== undefined) equal('mean of the pCPUs', total, pcpus.reduce((a, b) => a + b, 0) / pcpus.length, 0.01);

  const sums = new Map<string, number[]>();
  for (const prefix of paths.flatMap(path => /^(.*\\(?:Group Cpu|Vcpu)\([^)]*\)\\)% Used$/.exec(path)?.[1] ?? [])) {
    const [used, run, system, wait, ready, idle, overlap, costop, limited] = STATE_TIMES.map(
      name => values.get(prefix + name) ?? Number.NaN,
    ) as [number, number, number, number, number, number, number, number, number];
    const worlds = prefix.includes('\\Group Cpu(') ? 3 : 1;
    const rounding = 0.01 * worlds;
    equal(`${prefix}: used = run + system - overlap`, used, run + system - overlap, 2 * rounding);
    const all = run + ready + costop + wait;
    if (worlds === 1 && all > 100.03) throw new Error(`line ${index + 2}: ${prefix}: ${all} % of the time`);
    if (idle > wait + rounding) throw new Error(`line ${index + 2}: ${prefix}: idle is part of wait`);
    if (limited > ready + rounding) throw new Error(`line ${index + 2}: ${prefix}: max limited is part of ready`);
    const gid = /\((\d+):/.exec(prefix)![1]!;
    const parts = sums.get(gid) ?? [0, 0];
    parts[worlds === 1 ? 0 : 1]! += used;
    sums.set(gid, parts);
  }
  for (const [gid, [worlds, group]] of sums) equal(`%USED of group ${gid} and of its worlds`, group!, worlds!, 0.03);
}
