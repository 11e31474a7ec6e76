/**
 * `npm run build:bench-guest [-- --check]`: compiles guest/ into guest.elf and writes its hash. `--check` builds into a
 * scratch folder and exits 1 when the committed image differs. No time, path or host name goes in, so the same compiler gives
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

/** The image of the sources, built in a folder that is gone afterwards. */
function build(): Buffer {
  const out = mkdtempSync(join(tmpdir(), 'vmitop-bench-'));
  try {
    const objects = readdirSync(SOURCES)
      .filter(name => /\.[cS]$/.test(name))
      .sort()
      .map(name => {
        const object = join(out, `${name}.o`);
        tool('gcc', [...COMPILER_FLAGS, `-ffile-prefix-map=${out}=.`, '-c', '-o', object, name], SOURCES);
        return object;
      });
    const linked = join(out, 'linked');
    // Code, data and page tables of so small a guest share one segment on purpose.
    const script = ['--no-warn-rwx-segments', '-T', join(SOURCES, 'guest.lds')];
    tool('ld', [...LINKER_FLAGS, ...script, '-o', linked, ...objects], SOURCES);
    tool('objcopy', ['--strip-all', linked, join(out, 'guest.elf')], out);
    return readFileSync(join(out, 'guest.elf'));
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

function main(check: boolean): number {
  const image = build();
  const hash = createHash('sha256').update(image).digest('hex');
  const imagePath = join(HERE, 'guest.elf');
  const hashPath = join(HERE, 'guest.sha256');
  if (!check) {
    writeFileSync(imagePath, image, { mode: 0o644 });
    writeFileSync(hashPath, `${hash}  guest.elf\n`);
    console.log(`bench/engine/guest.elf: sha256 ${hash}`);
    return 0;
  }
  const committed = readFileSync(hashPath, 'utf8').split(' ')[0];
  if (hash === committed && image.equals(readFileSync(imagePath))) return 0;
  console.error(
    `build:bench-guest: bench/engine/guest.elf differs from its sources (built ${hash}, committed ${committed})`,
  );
  return 1;
}

process.exitCode = main(process.argv.includes('--check'));
