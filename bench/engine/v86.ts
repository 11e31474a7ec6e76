/**
 * Runs the benchmark guest on v86 in this process. v86 boots a multiboot image without any BIOS. Its devices wait in real
 * time; nothing else slows it down: no screen, no network, no disk.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { V86 } from 'v86';
import { childOptions, childReader, readImage, sendAll } from './child.js';

const options = childOptions();
const image = readImage(options.imagePath);
const reader = childReader();
const emulator = new V86({
  wasm_path: join(dirname(createRequire(import.meta.url).resolve('v86')), 'v86.wasm'),
  memory_size: options.memoryMib * 1048576,
  vga_memory_size: 2 * 1048576,
  multiboot: { buffer: image.buffer as ArrayBuffer },
  cmdline: options.commandLine,
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
  log_level: 0,
});
emulator.add_listener('serial0-output-byte', (byte: number) => {
  if (reader.ended) return;
  reader.push(byte);
  if (!reader.ended) return;
  sendAll(reader);
  // Some of its timers would go on.
  setImmediate(() => process.exit(0));
});
