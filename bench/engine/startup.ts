/** How long a person waits: for a guest's shell, and for the console's first frame. Both are programs of their own. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pty from '@lydell/node-pty';
import { median } from './report.js';

const VMITOP = fileURLToPath(new URL('../../../bin/vmitop.js', import.meta.url));
const PROMPT = '# ';
/** In the first line of every screen that has a sample to show. */
const HEADER = /up \S+.*load/;
const TIMEOUT_MS = 120_000;

/** Ms from the start of the process until its output matches. Rejects when it ends or takes too long. */
function bootOnce(mode: string): Promise<number> {
  const start = performance.now();
  const args = [
    VMITOP,
    'boot',
    'guest',
    '--mode',
    mode,
    '--speed',
    'max',
    '--until',
    PROMPT,
    '--limit',
    '60',
    '--quiet',
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      if (text.endsWith(PROMPT)) resolve(performance.now() - start);
    });
    child.on('error', reject);
    child.on('close', code => {
      clearTimeout(timer);
      reject(new Error(`vmitop boot --mode ${mode} ended with code ${code} before the shell was there`));
    });
  });
}

interface FirstFrames {
  /** Anything on the screen. */
  readonly frameMs: number;
  /** The header with its figures: the host runs. */
  readonly figuresMs: number;
}

function firstFramesOnce(): Promise<FirstFrames> {
  const { CI: _ci, CONTINUOUS_INTEGRATION: _continuous, ...env } = process.env;
  const start = performance.now();
  const terminal = pty.spawn(process.execPath, [VMITOP], {
    name: 'xterm-256color',
    cols: 100,
    rows: 30,
    env: { ...env, TERM: 'xterm-256color', LANG: 'C.UTF-8' },
  });
  return new Promise((resolve, reject) => {
    let text = '';
    let frameMs: number | undefined;
    const timer = setTimeout(() => {
      terminal.kill('SIGKILL');
      reject(new Error('the console showed no figures'));
    }, TIMEOUT_MS);
    terminal.onData(data => {
      text += data;
      // Before the first words there are only escape sequences that set the terminal up.
      if (/[A-Za-z]{4}/.test(data)) frameMs ??= performance.now() - start;
      if (frameMs === undefined || !HEADER.test(text)) return;
      resolve({ frameMs, figuresMs: performance.now() - start });
      clearTimeout(timer);
      terminal.kill('SIGKILL');
    });
    terminal.onExit(() => reject(new Error(`the console ended: ${text.slice(-500)}`)));
  });
}

const figures = (times: readonly number[]): string =>
  `median ${median(times).toFixed(0)} ms (${[...times]
    .sort((a, b) => a - b)
    .map(time => time.toFixed(0))
    .join(' ')})`;

async function repeat<T>(runs: number, signal: AbortSignal, once: () => Promise<T>): Promise<T[]> {
  const times: T[] = [];
  for (let run = 0; run < runs && !signal.aborted; run++) times.push(await once());
  return times;
}

/** Lines for people; needs dist/. */
export async function bootTimes(runs: number, signal: AbortSignal): Promise<string[]> {
  const lines: string[] = [];
  for (const mode of ['native', 'bt', 'vmi']) {
    const times = await repeat(runs, signal, () => bootOnce(mode));
    if (times.length > 0) lines.push(`boot to shell, ${mode}: ${figures(times)}`);
  }
  return lines;
}

export async function firstFrameTimes(runs: number, signal: AbortSignal): Promise<string[]> {
  const times = await repeat(runs, signal, firstFramesOnce);
  if (times.length === 0) return [];
  return [
    `first frame of the console: ${figures(times.map(({ frameMs }) => frameMs))}`,
    `first figures on it: ${figures(times.map(({ figuresMs }) => figuresMs))}`,
  ];
}
