/**
 * Bochs. It knows no multiboot and delays its serial port by the baud rate, so an option ROM of ours enters the image, which
 * Bochs itself puts into RAM, and the guest's console is its debug port 0xE9.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseMultiboot } from '../../src/hypervisor/vm/multiboot.js';
import { type Emulator, RunFailure, type RunOptions } from './emulator.js';
import { guard } from './guard.js';
import { LOADER_ROM } from './image.js';
import { stampOf } from './processor-time.js';
import { RowReader } from './rows.js';

/** Places in the ROM that bochs/loader.S leaves to us. */
const ENTRY_AT = 0x1f0;
const COMMAND_LINE_AT = 0x280;
const ROM_ADDRESS = 0xd0000;

const SHARES = ['/usr/share/bochs', '/usr/local/share/bochs'];

/** What `bochs --help` says, on whichever stream; undefined when there is no Bochs. */
function help(): string | undefined {
  const { error, stdout, stderr } = spawnSync('bochs', ['--help'], { encoding: 'utf8' });
  return error === undefined ? stdout + stderr : undefined;
}

const firmware = (): string | undefined => SHARES.find(share => existsSync(join(share, 'BIOS-bochs-latest')));

/** The loader with entry and command line; the bytes of an option ROM sum to zero. */
export function loaderRom(rom: Uint8Array, entry: number, commandLine: string): Uint8Array {
  const bytes = new Uint8Array(rom);
  new DataView(bytes.buffer).setUint32(ENTRY_AT, entry, true);
  if (COMMAND_LINE_AT + commandLine.length + 1 >= bytes.length) throw new RunFailure('the command line is too long');
  for (let i = 0; i < commandLine.length; i++) bytes[COMMAND_LINE_AT + i] = commandLine.charCodeAt(i);
  bytes[bytes.length - 1] = 0;
  bytes[bytes.length - 1] = -bytes.reduce((sum, byte) => sum + byte, 0);
  return bytes;
}

/** Files of one run; returns the arguments that name them. */
function prepare(folder: string, { imagePath, memoryMib, commandLine }: RunOptions): string[] {
  const image = parseMultiboot('guest.elf', new Uint8Array(readFileSync(imagePath)));
  writeFileSync(join(folder, 'loader.rom'), loaderRom(readFileSync(LOADER_ROM), image.entry, commandLine));
  const loaded = image.segments
    .filter(({ bytes }) => bytes.length > 0)
    .map(({ physical, bytes }, index) => {
      const path = join(folder, `segment${index}`);
      writeFileSync(path, bytes);
      return `optramimage${index + 1}: file=${path}, address=0x${physical.toString(16)}`;
    });
  const share = firmware()!;
  const lines = [
    `megs: ${memoryMib}`,
    `romimage: file=${share}/BIOS-bochs-latest`,
    `vgaromimage: file=${share}/VGABIOS-lgpl-latest`,
    `optromimage1: file=${folder}/loader.rom, address=0x${ROM_ADDRESS.toString(16)}`,
    ...loaded,
    'cpu: model=bx_generic, count=1, ips=100000000, reset_on_triple_fault=0',
    'clock: sync=none',
    'port_e9_hack: enabled=1',
    `log: ${folder}/log`,
    'display_library: rfb, options="timeout=0"',
  ];
  writeFileSync(join(folder, 'bochsrc'), `${lines.join('\n')}\n`);
  const args = ['-q', '-f', join(folder, 'bochsrc')];
  if (help()?.includes('-rc filename') !== true) return args;
  // Built with its debugger, it waits for a command first.
  writeFileSync(join(folder, 'commands'), 'continue\n');
  return [...args, '-rc', join(folder, 'commands')];
}

export const bochs: Emulator = {
  name: 'bochs',
  version: () => {
    const text = help();
    if (text === undefined || firmware() === undefined) return undefined;
    const version = /Bochs x86 Emulator (\S+)/.exec(text)?.[1] ?? '(version unknown)';
    return `Bochs ${version}${text.includes('-rc filename') ? ', built with its debugger' : ''}`;
  },
  run: async options => {
    const folder = mkdtempSync(join(tmpdir(), 'vmitop-bochs-'));
    try {
      const child = spawn('bochs', prepare(folder, options), { stdio: ['ignore', 'pipe', 'ignore'] });
      const reader = new RowReader(() => stampOf(child.pid!));
      const guarded = guard(child, options);
      child.stdout.on('data', (bytes: Buffer) => {
        for (const byte of bytes) reader.push(byte);
        if (reader.ended) child.kill('SIGKILL');
      });
      const code = await new Promise<number | null>(resolve => child.on('close', resolve));
      guarded.release();
      if (!reader.ended) {
        const log = existsSync(join(folder, 'log')) ? readFileSync(join(folder, 'log'), 'utf8').slice(-1000) : '';
        throw new RunFailure(guarded.why ?? `ended with code ${code}\n${log}`);
      }
      return { rows: reader.rows, remarks: reader.remarks, figures: {} };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
