/** What boots the kernel: `vmitop boot` in its modes, and v86. Each boot is a process of its own, timed from its start to the shell's prompt. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { guard } from '../engine/guard.js';

export interface Guest {
  readonly kernel: string;
  readonly initrd: string;
  readonly memoryMib: number;
  readonly commandLine: string;
  readonly bios: string;
  readonly vgaBios: string;
}

export interface Machine {
  readonly name: string;
  /** Arguments of `node`. */
  command(guest: Guest): readonly string[];
}

export interface Boot {
  readonly wallMs: number;
  /** Of all threads of the process. */
  readonly processorMs: number;
  /** Most memory that the process had at a time (VmHWM of proc_pid_status(5)). */
  readonly peakMib: number;
}

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const VMITOP = path('../../bin/vmitop.js');
const V86 = path('../../build/bench/linux/v86.js');
const PROMPT = '\n/ # ';
/** Linux counts processor time for processes in hundredths of a second (USER_HZ). */
const TICK_MS = 10;

export const ours = (mode: string): Machine => ({
  name: mode,
  command: ({ kernel, initrd, memoryMib, commandLine }) => [
    ...[VMITOP, 'boot', kernel, '--initrd', initrd, '--memory', String(memoryMib), '--append', commandLine],
    ...['--mode', mode, '--speed', 'max', '--quiet'],
  ],
});

export const v86: Machine = {
  name: 'v86',
  command: ({ bios, vgaBios, kernel, initrd, memoryMib, commandLine }) => [
    ...[V86, bios, vgaBios, kernel, initrd, String(memoryMib), commandLine],
  ],
};

function peakMib(pid: number): number {
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}

/** Fields 14 and 15 of proc_pid_stat(5), counted behind the name, which may have blanks. */
function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Rejects when the process ends or takes too long, or the signal fires. */
export function bootOnce(machine: Machine, guest: Guest, timeoutMs: number, signal: AbortSignal): Promise<Boot> {
  const start = performance.now();
  const child = spawn(process.execPath, machine.command(guest), { stdio: ['ignore', 'pipe', 'pipe'] });
  const guarded = guard(child, { signal, timeoutMs });
  let through = false;
  return new Promise((resolve, reject) => {
    let [text, errors]: [string, string] = ['', ''];
    child.stderr.on('data', (bytes: Buffer) => {
      errors = (errors + bytes.toString()).slice(-1000);
    });
    child.stdout.on('data', (bytes: Buffer) => {
      text = (text + bytes.toString('latin1').replaceAll('\r', '')).slice(-4000);
      if (through || !text.includes(PROMPT)) return;
      through = true;
      const wallMs = performance.now() - start;
      resolve({ wallMs, processorMs: processorMs(child.pid!), peakMib: peakMib(child.pid!) });
      child.kill('SIGKILL');
    });
    child.on('error', reject);
    child.on('close', code => {
      guarded.release();
      reject(new Error(guarded.why ?? `ended with code ${code}: ${(errors || text).trim().slice(-500)}`));
    });
  });
}
