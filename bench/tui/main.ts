/**
 * `npm run bench:tui [-- OPTIONS]`: what the console costs, and how soon it answers. A real console in a pseudo-terminal, twice: on a host
 * of 64 idle VMs with a sample each second, for the share of a core that its thread takes and the bytes that go to the terminal; and on a
 * host whose pCPUs are all busy, for the time from a key to its answer on the terminal.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { alignedLines } from '../../src/cli/aligned.js';
import { MeasuredConsole, type Size } from './measured-console.js';

const HELP = `bench:tui [options]

  --vms N            idle VMs (64)
  --seconds S        of drawing them, on each screen (20)
  --keys N           keys of each kind (300)
  --json FILE        every figure
`;
const SIZE: Size = { columns: 160, rows: 50 };
const PCPUS = 4;
const HOME = '\u001b[H';
/** %USED of a pCPU that computes. */
const BUSY_PERCENT = 90;
const BOOT_MS_MAX = 180_000;
/** After the guests have booted: what is compiled late, and garbage of the start. */
const SETTLE_MS = 5_000;
/** Pause after a key's answer: between these, so that keys meet every phase of what the host does. */
const PAUSE_MS = [20, 140] as const;

/** The next of a fixed series of pseudo-random numbers from 0 to 1 (Lehmer's generator, Park and Miller 1988). */
let seed = 20080401;
const random = (): number => {
  seed = (seed * 48271) % 2147483647;
  return seed / 2147483647;
};

const sleep = (ms: number): Promise<void> =>
  new Promise(resolve => {
    setTimeout(resolve, ms);
  });

const progress = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** A screen: its key, and a word of its heading that no other screen has. */
const SCREENS = [
  { name: 'memory', key: 'm', word: 'SZTGT' },
  { name: 'timer', key: 't', word: 'STOLEN' },
  { name: 'exits', key: 'x', word: 'CYC/EVT' },
  { name: 'interrupt', key: 'i', word: 'VECTOR' },
  { name: 'CPU', key: 'c', word: '%OVRLP' },
] as const;

interface Drawn {
  readonly screen: string;
  /** Shares of one core. */
  readonly console: number;
  readonly others: number;
  readonly bytesPerSecond: number;
}

/** A host of idle VMs, watched on one screen after another. */
async function drawing(folder: string, vms: number, seconds: number): Promise<Drawn[]> {
  const path = join(folder, 'idle.json');
  const vm = (index: number) => ({ name: `vm${String(index).padStart(2, '0')}`, vmi: index % 2 === 0, memoryMib: 16 });
  const inventory = { pcpus: PCPUS, memoryMib: 16 * vms + 512, vms: Array.from({ length: vms }, (_, i) => vm(i)) };
  writeFileSync(path, JSON.stringify(inventory));
  const tui = new MeasuredConsole(['--inventory', path, '-d', '1'], SIZE);
  try {
    await tui.answer('', '%OVRLP', BOOT_MS_MAX);
    progress(`${vms} VMs boot`);
    // The last ones to boot are on the screen when they are sorted by %USED; idle guests use next to nothing.
    await settled(tui);
    const drawn: Drawn[] = [];
    for (const { name, key, word } of SCREENS) {
      await tui.answer(key, word);
      await sleep(2_000);
      const from = { times: tui.threadTimes(), bytes: tui.bytes, wall: performance.now() };
      await sleep(seconds * 1000);
      const to = { times: tui.threadTimes(), bytes: tui.bytes, wall: performance.now() };
      const wall = to.wall - from.wall;
      drawn.push({
        screen: name,
        console: (to.times.console - from.times.console) / wall,
        others: (to.times.others - from.times.others) / wall,
        bytesPerSecond: ((to.bytes - from.bytes) / wall) * 1000,
      });
      progress(`${name}: ${(drawn.at(-1)!.console * 100).toFixed(1)} % of a core`);
    }
    return drawn;
  } finally {
    tui.close();
  }
}

/** Waits until the process takes no more than it did before: the guests have booted. */
async function settled(tui: MeasuredConsole): Promise<void> {
  const end = performance.now() + BOOT_MS_MAX;
  let last = Number.POSITIVE_INFINITY;
  while (performance.now() < end) {
    const before = tui.threadTimes().others;
    await sleep(SETTLE_MS);
    const used = tui.threadTimes().others - before;
    if (used < SETTLE_MS && used > last * 0.9) return;
    last = used;
  }
  throw new Error('the guests do not come to rest');
}

/** Waits until the header says that every pCPU is used. */
async function busy(tui: MeasuredConsole): Promise<void> {
  const end = performance.now() + BOOT_MS_MAX;
  while (performance.now() < end) {
    await sleep(SETTLE_MS);
    const used = /PCPU\(%\):((?: *[\d.]+,?){4})/
      .exec(await tui.screen())?.[1]
      ?.match(/[\d.]+/g)
      ?.map(Number);
    if (used?.every(share => share > BUSY_PERCENT)) return;
  }
  throw new Error(`the guests do not keep the pCPUs busy:\n${await tui.screen()}`);
}

interface Answered {
  readonly what: string;
  readonly ms: readonly number[];
}

/** A host whose pCPUs all compute, and keys in between. */
async function answering(folder: string, keys: number): Promise<Answered[]> {
  const path = join(folder, 'busy.json');
  const vm = (index: number) => ({ name: `busy${index}`, vmi: index % 2 === 0, start: 'spin 100000000' });
  const off = { name: 'still', vmi: false, powerOn: false };
  const inventory = { pcpus: PCPUS, vms: [off, ...Array.from({ length: 2 * PCPUS }, (_, index) => vm(index))] };
  writeFileSync(path, JSON.stringify(inventory));
  const tui = new MeasuredConsole(['--inventory', path], SIZE);
  try {
    await tui.answer('', '%OVRLP', BOOT_MS_MAX);
    progress(`${2 * PCPUS} VMs become busy`);
    await busy(tui);
    const screens: number[] = [];
    const commands: number[] = [];
    for (let count = 0; count < keys; count++) {
      const { key, word } = SCREENS[count % SCREENS.length]!;
      screens.push(await tui.answer(key, word));
      await sleep(PAUSE_MS[0] + random() * (PAUSE_MS[1] - PAUSE_MS[0]));
    }
    progress('keys that change the screen: done');
    // Up to the first VM, which is off: nothing but the command itself is waited for.
    await tui.answer('m', 'SZTGT');
    await tui.answer(HOME, '>');
    for (let count = 0; count < keys; count++) {
      commands.push(await tui.answer('v', count % 2 === 0 ? 'VMI: on' : 'VMI: off'));
      await sleep(PAUSE_MS[0] + random() * (PAUSE_MS[1] - PAUSE_MS[0]));
    }
    return [
      { what: 'another screen', ms: screens },
      { what: 'a command of the host', ms: commands },
    ];
  } finally {
    tui.close();
  }
}

/** The smallest value that so great a part of the values does not exceed. */
function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)]!;
}

const right = (titles: readonly string[]) => titles.map(title => ({ title, align: 'right' as const }));

function report(drawn: readonly Drawn[], answered: readonly Answered[]): string {
  const drawnLines = drawn.map(({ screen, console, others, bytesPerSecond }) => [
    screen,
    (100 * console).toFixed(1),
    (100 * others).toFixed(0),
    (bytesPerSecond / 1024).toFixed(1),
  ]);
  const answeredLines = answered.map(({ what, ms }) => [
    what,
    String(ms.length),
    ...[0.5, 0.9, 0.99, 1].map(part => percentile(ms, part).toFixed(1)),
  ]);
  return [
    ...alignedLines(right(['screen', 'console, % of a core', 'the rest', 'KiB/s to the terminal']), drawnLines),
    '',
    ...alignedLines(right(['key for', 'keys', 'p50, ms', 'p90', 'p99', 'slowest']), answeredLines),
  ].join('\n');
}

function wholeNumber(text: string | undefined, name: string, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isInteger(value) || value < 1) throw new TypeError(`--${name}: ${text} is not a whole number from 1 on`);
  return value;
}

async function main(): Promise<number> {
  const string = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { vms: string, seconds: string, keys: string, json: string, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const vms = wholeNumber(values.vms, 'vms', 64);
  const seconds = wholeNumber(values.seconds, 'seconds', 20);
  const keys = wholeNumber(values.keys, 'keys', 300);
  const folder = mkdtempSync(join(tmpdir(), 'vmitop-bench-tui-'));
  const before = loadavg();
  try {
    const drawn = await drawing(folder, vms, seconds);
    const answered = await answering(folder, keys);
    const load = (values: readonly number[]): string => values.map(value => value.toFixed(2)).join(' ');
    console.log(
      `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} processors, Node ${process.version} (V8 ${process.versions.v8})`,
    );
    console.log(`load average before: ${load(before)}, after: ${load(loadavg())}`);
    console.log(`${SIZE.columns}x${SIZE.rows}; ${vms} idle VMs at 1 sample/s; ${PCPUS} busy pCPUs\n`);
    console.log(report(drawn, answered));
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ drawn, answered }, null, 1)}\n`);
    return 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`bench:tui: ${error.message}\n\n${HELP}`);
  process.exitCode = 2;
}
