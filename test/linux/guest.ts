/** The test's initrd: busybox, `guest/init`, and `guest/selftest.c` compiled without a C library. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { characterDevice, directory, makeInitrd, program } from './initrd.js';
import { busybox, type KernelModule } from './packages.js';

const GUEST = join(dirname(fileURLToPath(import.meta.url)), 'guest');
const FLAGS = [
  ...['-m32', '-march=i686', '-O2', '-std=gnu11', '-ffreestanding', '-fno-pic', '-fno-pie', '-fno-stack-protector'],
  ...['-fcf-protection=none', '-fno-asynchronous-unwind-tables', '-Wall', '-Wextra', '-Werror'],
  ...['-nostdlib', '-static', '-Wl,--build-id=none'],
];

function compile(source: string): Uint8Array {
  const scratch = mkdtempSync(join(tmpdir(), 'vmitop-selftest-'));
  try {
    const out = join(scratch, 'program');
    execFileSync('gcc', [...FLAGS, '-o', out, join(GUEST, source)], { stdio: ['ignore', 'pipe', 'inherit'] });
    return readFileSync(out);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** `modules` are loaded in this order. */
export const selftestInitrd = (modules: readonly KernelModule[] = []): Uint8Array =>
  makeInitrd([
    ...['bin', 'dev', 'proc', 'sys', 'tmp', 'etc', 'modules'].map(directory),
    characterDevice('dev/console', 5, 1),
    program('bin/busybox', busybox()),
    program('init', readFileSync(join(GUEST, 'init'))),
    program('selftest', compile('selftest.c')),
    program('modules/order', Buffer.from(modules.map(({ name }) => `${name}\n`).join(''))),
    ...modules.map(({ name, bytes }) => program(`modules/${name}`, bytes)),
  ]);
