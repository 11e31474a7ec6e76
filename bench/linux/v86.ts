/**
 * Boots a Linux kernel on v86: `v86.js BIOS VGABIOS KERNEL INITRD MEMORY_MIB COMMAND_LINE`, the guest's serial port on stdout. The program
 * ends when it is killed. v86's loader is an option ROM of its own, which a BIOS has to find; there is no screen, network or disk.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { V86 } from 'v86';

const [bios, vgaBios, kernel, initrd, memoryMib, commandLine] = process.argv.slice(2) as [
  ...[string, string, string, string, string, string],
];
const file = (path: string): { readonly buffer: ArrayBuffer } => ({
  buffer: new Uint8Array(readFileSync(path)).buffer,
});
const emulator = new V86({
  wasm_path: join(dirname(createRequire(import.meta.url).resolve('v86')), 'v86.wasm'),
  memory_size: Number(memoryMib) * 1048576,
  vga_memory_size: 2 * 1048576,
  bios: file(bios),
  vga_bios: file(vgaBios),
  bzimage: file(kernel),
  initrd: file(initrd),
  cmdline: commandLine,
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
  log_level: 0,
});
emulator.add_listener('serial0-output-byte', (byte: number) => {
  process.stdout.write(Uint8Array.of(byte));
});
