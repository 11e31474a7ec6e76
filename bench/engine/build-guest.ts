/**
 * `npm run build:bench-guest [-- --check]`: compiles guest/ into guest.elf and bochs/loader.S into loader.rom. `--check`
 * builds into a scratch folder and exits 1 when a committed file differs. No time, path or host name goes in, so the same compiler gives
 * the same bytes everywhere.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const SOURCES = join(HERE, 'guest');

const COMPILER_FLAGS = [
  ...['-m32', '-march=i686', '-O2', '-std=gnu11', '-ffreestanding', '-nostdinc', '-fno-pic', '-fno-pie'],
  ...['-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-fno-strict-aliasing', '-fno-common'],
  // Loops stay loops: the rows say what they are made of, and `rep` has one of its own.
  ...['-fcf-protection=none', '-fno-tree-vectorize', '-fno-tree-loop-distribute-patterns'],
  ...['-mno-sse', '-mno-mmx', '-mno-80387', '-msoft-float', '-mregparm=3', '-fno-ident'],
  ...['-Wall', '-Wextra', '-Werror'],
];
const LINKER_FLAGS = ['-m', 'elf_i386', '-nostdlib', '-static', '--build-id=none', '-z', 'noexecstack'];

function tool(name: string, args: readonly string[], cwd: string): void {
  execFileSync(name, args, { cwd, stdio: 'inherit', env: { ...process.env, LC_ALL: 'C' } });
}

function compile(root: string, source: string, out: string): string {
  const object = join(out, `${source}.o`);
  tool('gcc', [...COMPILER_FLAGS, `-ffile-prefix-map=${out}=.`, '-c', '-o', object, source], root);
  return object;
}

/** Committed files by name, relative to this folder, as their sources make them. */
function build(out: string): ReadonlyMap<string, Buffer> {
  const objects = readdirSync(SOURCES)
    .filter(name => /\.[cS]$/.test(name))
    .sort()
    .map(name => compile(SOURCES, name, out));
  const linked = join(out, 'linked');
  // Code, data and page tables of so small a guest share one segment on purpose.
  const script = ['--no-warn-rwx-segments', '-T', join(SOURCES, 'guest.lds')];
  tool('ld', [...LINKER_FLAGS, ...script, '-o', linked, ...objects], SOURCES);
  const image = join(out, 'guest.elf');
  tool('objcopy', ['--strip-all', linked, image], out);

  const loader = compile(join(HERE, 'bochs'), 'loader.S', out);
  const rom = join(out, 'loader.rom');
  tool('ld', [...LINKER_FLAGS, '-Ttext=0', '-e', '0', '--oformat', 'binary', '-o', rom, loader], out);
  return new Map([
    ['guest.elf', readFileSync(image)],
    ['bochs/loader.rom', readFileSync(rom)],
  ]);
}

function main(check: boolean): number {
  const out = mkdtempSync(join(tmpdir(), 'vmitop-bench-'));
  try {
    const files = build(out);
    const different = [...files].filter(([name, bytes]) => !bytes.equals(readFileSync(join(HERE, name))));
    if (check) {
      for (const [name] of different) {
        console.error(`build:bench-guest: bench/engine/${name} differs from its sources`);
      }
      return different.length > 0 ? 1 : 0;
    }
    for (const [name, bytes] of files) {
      writeFileSync(join(HERE, name), bytes, { mode: 0o644 });
      console.log(`bench/engine/${name}: sha256 ${createHash('sha256').update(bytes).digest('hex')}`);
    }
    return 0;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

process.exitCode = main(process.argv.includes('--check'));
