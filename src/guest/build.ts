/**
 * `npm run build:guest [-- --check]`: compiles kernel and programs and writes fixtures/guest.elf, guest.map and guest.sha256; and two
 * kernels of a few files each: the nanobenchmarks' (nano.elf) and the one that checks a VMI ROM (vmi-conformance.elf).
 * `--check` builds into a scratch folder and exits 1 when the committed image differs. The same compiler gives the same bytes
 * wherever it runs: no time, path or host name goes in.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { archiveAssembly, archiveEntries } from './archive.js';

const GUEST = dirname(fileURLToPath(import.meta.url));
const FIXTURES = join(GUEST, '../../fixtures');

const COMMON_FLAGS = [
  ...['-m32', '-march=i686', '-O2', '-std=gnu11', '-ffreestanding', '-fno-pic', '-fno-pie', '-fno-stack-protector'],
  ...['-fno-asynchronous-unwind-tables', '-fno-strict-aliasing', '-fno-common', '-fcf-protection=none'],
  ...['-fno-tree-vectorize', '-mno-sse', '-mno-mmx', '-mno-80387', '-msoft-float', '-nostdinc'],
  ...['-fno-ident', '-Wall', '-Wextra', '-Werror'],
];
/** The kernel passes arguments in EAX, EDX, ECX, as VMI's calls do. */
const KERNEL_FLAGS = ['-mregparm=3', '-Iinclude', '-Iarch/x86/include', '-fno-builtin'];
const LINK_FLAGS = [
  '-m',
  'elf_i386',
  '-nostdlib',
  '-static',
  '--build-id=none',
  '-z',
  'noexecstack',
  '-z',
  'max-page-size=0x1000',
];

class BuildError extends Error {}

function tool(name: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(name, args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, LC_ALL: 'C' },
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new BuildError(`build:guest needs ${name}: apt-get install gcc binutils`);
    }
    throw new BuildError(`build:guest: ${name} failed on ${args.at(-1) ?? ''}`, { cause: error });
  }
}

/** Files below `root` with one of the extensions, as sorted relative paths. */
function sources(root: string, extensions: readonly string[]): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(name => extensions.some(extension => name.endsWith(extension)))
    .sort();
}

/** Compiler's own headers (stdarg.h); -nostdinc keeps the host's out. */
function compilerHeaders(): string {
  return join(tool('gcc', ['-m32', '-print-file-name=include'], GUEST).trim());
}

function compile(root: string, source: string, out: string, flags: readonly string[]): string {
  const object = join(out, `${source.replaceAll('/', '-')}.o`);
  tool('gcc', [...flags, `-ffile-prefix-map=${out}=.`, '-c', '-o', object, source], root);
  return object;
}

function buildPrograms(out: string, flags: readonly string[]): string[] {
  const root = join(GUEST, 'programs');
  const dir = join(out, 'programs');
  mkdirSync(dir, { recursive: true });
  const library = ['lib/crt0.S', 'lib/libc.c', 'lib/string.c', 'lib/bench.c'].map(source =>
    compile(root, source, dir, flags),
  );
  const names = readdirSync(root)
    .filter(name => name.endsWith('.c'))
    .map(name => name.slice(0, -2))
    .sort();
  for (const name of names) {
    const object = compile(root, `${name}.c`, dir, flags);
    const args = [
      ...LINK_FLAGS,
      '--gc-sections',
      '--strip-all',
      '-T',
      join(root, 'lib/program.lds'),
      '-o',
      join(dir, `${name}.elf`),
    ];
    tool('ld', [...args, object, ...library], dir);
  }
  return names;
}

/** Builds everything below `out`; the image is `out/guest.elf`, its symbols `out/guest.map`. */
function build(out: string): void {
  const flags = [...COMMON_FLAGS, '-isystem', compilerHeaders()];
  const names = buildPrograms(out, [...flags, '-ffunction-sections', '-fdata-sections']);
  const root = join(GUEST, 'kernel');
  const kernelFlags = [...flags, ...KERNEL_FLAGS];
  const dir = join(out, 'kernel');
  mkdirSync(dir, { recursive: true });

  const scripts = readdirSync(join(GUEST, 'programs/etc')).sort();
  const entries = archiveEntries(names, scripts);
  const table = archiveAssembly(entries, entry =>
    entry.source && 'built' in entry.source
      ? join(out, entry.source.built)
      : join(GUEST, 'programs', entry.source?.text ?? ''),
  );
  writeFileSync(join(dir, 'ramfs.S'), `#define __ASSEMBLER__ 1\n${deviceNumbers(root)}\n${table}`);

  const objects = sources(root, ['.c', '.S']).map(source => compile(root, source, dir, kernelFlags));
  objects.push(compile(dir, 'ramfs.S', dir, flags));
  const linked = join(out, 'vmilinux');
  tool('ld', [...LINK_FLAGS, '-T', join(root, 'arch/x86/kernel/vmlinux.lds'), '-o', linked, ...objects], dir);
  tool('objcopy', ['--strip-all', linked, join(out, 'guest.elf')], out);
  writeFileSync(
    join(out, 'guest.map'),
    tool('nm', ['-n', linked], out).replaceAll(/^.* [a-z] (name|data)_\d+(_end)?\n/gm, ''),
  );
}

/** A test kernel without programs, from the folder of its name: `out/NAME.elf`. */
function buildSmall(name: string, out: string): void {
  const root = join(GUEST, name);
  const dir = join(out, name);
  mkdirSync(dir, { recursive: true });
  const flags = [...COMMON_FLAGS, '-isystem', compilerHeaders(), '-mregparm=3'];
  const objects = sources(root, ['.c', '.S']).map(source => compile(root, source, dir, flags));
  const linked = join(dir, 'linked');
  // Code, data and page tables of so small a kernel share one segment on purpose.
  const script = ['--no-warn-rwx-segments', '-T', join(root, `${name}.lds`)];
  tool('ld', [...LINK_FLAGS, ...script, '-o', linked, ...objects], dir);
  tool('objcopy', ['--strip-all', linked, join(out, `${name}.elf`)], out);
}

/** `#define DEV_*` lines of fs.h: the table's device numbers are stated there. */
function deviceNumbers(root: string): string {
  return readFileSync(join(root, 'include/linux/fs.h'), 'utf8')
    .split('\n')
    .filter(line => line.startsWith('#define DEV_'))
    .join('\n');
}

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

const SMALL_IMAGES = ['nano', 'vmi-conformance'] as const;
/** Images by name; `NAME.sha256` stands beside each. */
const IMAGES = ['guest', ...SMALL_IMAGES] as const;

function main(check: boolean): number {
  const out = mkdtempSync(join(tmpdir(), 'vmitop-guest-'));
  try {
    build(out);
    for (const name of SMALL_IMAGES) buildSmall(name, out);
    return check ? compare(out) : install(out);
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(error.message);
    return 2;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** Exit code 1 when an image in fixtures/ is not what its sources make. */
function compare(out: string): number {
  let different = 0;
  for (const name of IMAGES) {
    const built = sha256(join(out, `${name}.elf`));
    const committed = readFileSync(join(FIXTURES, `${name}.sha256`), 'utf8').split(' ')[0];
    if (built === committed && sha256(join(FIXTURES, `${name}.elf`)) === committed) continue;
    console.error(
      `build:guest: fixtures/${name}.elf differs from its sources (built ${built}, committed ${committed})`,
    );
    different = 1;
  }
  return different;
}

function install(out: string): number {
  for (const name of IMAGES) {
    const built = sha256(join(out, `${name}.elf`));
    const image = join(FIXTURES, `${name}.elf`);
    writeFileSync(image, readFileSync(join(out, `${name}.elf`)), { mode: 0o644 });
    writeFileSync(join(FIXTURES, `${name}.sha256`), `${built}  ${name}.elf\n`);
    console.log(`${relative(process.cwd(), image)}: sha256 ${built}`);
  }
  copyFileSync(join(out, 'guest.map'), join(FIXTURES, 'guest.map'));
  return 0;
}

process.exitCode = main(process.argv.includes('--check'));
