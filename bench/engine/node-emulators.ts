/** Our machine and v86: each run is a Node process of its own. */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ChildMessage, ChildOptions, Tiering } from './child.js';
import { type Emulator, type EmulatorRun, RunFailure, type RunOptions } from './emulator.js';
import { guard } from './guard.js';
import type { RowTime } from './rows.js';

const require = createRequire(import.meta.url);

async function runChild(program: string, options: RunOptions, extra: Partial<ChildOptions>): Promise<EmulatorRun> {
  const { imagePath, memoryMib, commandLine } = options;
  const argument: ChildOptions = { imagePath, memoryMib, commandLine, ...extra };
  const path = fileURLToPath(new URL(program, import.meta.url));
  const child = spawn(process.execPath, ['--enable-source-maps', path, JSON.stringify(argument)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const guarded = guard(child, options);
  const rows: RowTime[] = [];
  const figures: Record<string, number> = {};
  let remarks: readonly string[] | undefined;
  let errors = '';
  child.stderr.on('data', (bytes: Buffer) => {
    errors = (errors + bytes.toString()).slice(-4000);
  });
  const closed = new Promise<number | null>(resolve => child.on('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{"kind":')) continue;
    const message = JSON.parse(line) as ChildMessage;
    if (message.kind === 'row') rows.push(message.row);
    else if (message.kind === 'figures') Object.assign(figures, message.figures);
    else remarks = message.remarks;
  }
  const code = await closed;
  guarded.release();
  if (remarks === undefined) throw new RunFailure(guarded.why ?? `ended with code ${code}\n${errors.trim()}`);
  return { rows, remarks, figures };
}

function revision(): string {
  try {
    const options = { cwd: dirname(fileURLToPath(import.meta.url)), encoding: 'utf8' } as const;
    return execFileSync('git', ['describe', '--always', '--dirty'], options).trim();
  } catch {
    return 'no revision';
  }
}

/** `never`: the interpreter alone. */
export const ours = (name: string, tiering: Tiering = 'normal'): Emulator => ({
  name,
  version: () => `vmitop ${revision()}${tiering === 'normal' ? '' : `, compiles: ${tiering}`}`,
  run: options => runChild('./ours.js', options, { tiering }),
});

export const v86: Emulator = {
  name: 'v86',
  version: () => {
    try {
      const manifest = join(dirname(require.resolve('v86')), '../package.json');
      return `v86 ${(JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version}`;
    } catch {
      return undefined;
    }
  },
  run: options => runChild('./v86.js', options, {}),
};
