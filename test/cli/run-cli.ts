/** Runs the built program as a user's shell would. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const LAUNCHER = `${ROOT}bin/vmitop.js`;

const NO_HOME = join(tmpdir(), 'vmitop-tests-have-no-home');

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  /** Written to stdin, which then ends. Without it stdin is empty. */
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly cwd?: string;
  readonly home?: string;
  /** Sends SIGINT as soon as this holds. */
  readonly interruptWhen?: () => boolean;
  /** Called with all of stdout so far; for signals. */
  readonly onStdout?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
}

/** No terminal on any stream. */
export function runCli(words: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  if (!existsSync(`${ROOT}dist/cli/main.js`))
    throw new Error('dist/ is missing: these tests run the built program (npm test builds it)');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [LAUNCHER, ...words], {
      cwd: options.cwd ?? ROOT,
      // Without the configuration of whoever runs the tests.
      env: { ...process.env, HOME: options.home ?? NO_HOME },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 100_000,
      killSignal: 'SIGKILL',
    });
    const poll = setInterval(() => {
      if (!options.interruptWhen?.()) return;
      clearInterval(poll);
      child.kill('SIGINT');
    }, 50);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('latin1');
      options.onStdout?.(stdout, signal => child.kill(signal));
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', code => {
      clearInterval(poll);
      resolve({ code, stdout, stderr });
    });
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}
