/** QEMU with its translator (TCG). The guest's marks arrive over a pipe, so each is some tens of microseconds late. */
import { execFileSync, spawn } from 'node:child_process';
import { type Emulator, RunFailure } from './emulator.js';
import { guard } from './guard.js';
import { stampOf } from './processor-time.js';
import { RowReader } from './rows.js';

const QEMU = 'qemu-system-i386';

export const qemu: Emulator = {
  name: 'qemu',
  version: () => {
    try {
      return execFileSync(QEMU, ['--version'], { encoding: 'utf8' }).split('\n')[0]!.trim();
    } catch {
      return undefined;
    }
  },
  run: async options => {
    const args = [
      ...['-accel', 'tcg', '-m', String(options.memoryMib), '-kernel', options.imagePath],
      ...['-append', options.commandLine, '-display', 'none', '-monitor', 'none', '-net', 'none', '-serial', 'stdio'],
    ];
    const child = spawn(QEMU, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const reader = new RowReader(() => stampOf(child.pid!));
    const guarded = guard(child, options);
    let errors = '';
    child.stderr.on('data', (bytes: Buffer) => {
      errors = (errors + bytes.toString()).slice(-4000);
    });
    child.stdout.on('data', (bytes: Buffer) => {
      for (const byte of bytes) reader.push(byte);
      if (reader.ended) child.kill('SIGKILL');
    });
    const code = await new Promise<number | null>(resolve => child.on('close', resolve));
    guarded.release();
    if (!reader.ended) throw new RunFailure(guarded.why ?? `ended with code ${code}\n${errors.trim()}`);
    return { rows: reader.rows, remarks: reader.remarks, figures: {} };
  },
};
