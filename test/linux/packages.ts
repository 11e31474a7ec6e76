/**
 * Debian's own kernels and a static busybox for i386, from the package archive that the machine's apt knows. Kept outside the tree, in
 * `VMITOP_LINUX_CACHE` or the user's cache folder; a second run downloads nothing.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';

export const FLAVOURS = ['686', '686-pae'] as const;
export type Flavour = (typeof FLAVOURS)[number];

const run = (command: string, args: readonly string[], cwd?: string): string =>
  execFileSync(command, args, { encoding: 'utf8', cwd, stdio: ['ignore', 'pipe', 'pipe'] });

/** apt as root: by sudo where we are somebody else. */
const asRoot = (command: string, args: readonly string[]): string =>
  process.getuid?.() === 0 ? run(command, args) : run('sudo', [command, ...args]);

const cache = (): string =>
  process.env['VMITOP_LINUX_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'vmitop/linux');

/** `linux-image-686` depends on the kernel of the day. */
function kernelPackage(flavour: Flavour): string {
  const depends = run('apt-cache', ['depends', `linux-image-${flavour}:i386`]);
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Error(`the package archive has no linux-image-${flavour} for i386`);
  return name.endsWith(':i386') ? name : `${name}:i386`;
}

/**
 * One archive of several that cannot be read (a mirror in the middle of an update) is no obstacle: the package may be in another. If it
 * is not, the download says so.
 */
function updateIndexes(): void {
  try {
    asRoot('apt-get', ['update', '-qq', '-o', 'Acquire::Retries=3']);
  } catch (error) {
    process.stderr.write(`apt-get update: ${error instanceof Error ? error.message : error}\n`);
  }
}

/** Contents of a package in a folder of the cache, which appears as a whole or not at all. */
function unpacked(folder: string, packageName: () => string): string {
  const at = join(cache(), folder);
  if (existsSync(at)) return at;
  mkdirSync(cache(), { recursive: true });
  if (!run('dpkg', ['--print-foreign-architectures']).split('\n').includes('i386')) {
    asRoot('dpkg', ['--add-architecture', 'i386']);
    updateIndexes();
  }
  const scratch = mkdtempSync(join(cache(), 'download-'));
  try {
    run('apt-get', ['download', packageName()], scratch);
    const deb = readdirSync(scratch).find(name => name.endsWith('.deb'))!;
    run('dpkg-deb', ['-x', deb, 'files'], scratch);
    renameSync(join(scratch, 'files'), at);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return at;
}

const kernelFolder = (flavour: Flavour): string => unpacked(`linux-${flavour}`, () => kernelPackage(flavour));

/** Path of the compressed kernel. */
export function kernelPath(flavour: Flavour): string {
  const boot = join(kernelFolder(flavour), 'boot');
  const name = readdirSync(boot).find(file => file.startsWith('vmlinuz-'));
  if (name === undefined) throw new Error(`no kernel in ${boot}`);
  return join(boot, name);
}

export interface KernelModule {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What a module says that it needs: a line of its own information, between zeros. */
const DEPENDS = /\0depends=([^\0]*)\0/;

/** Modules of a kernel with all that they need, each behind what it needs. */
export function kernelModules(flavour: Flavour, wanted: readonly string[]): KernelModule[] {
  const folder = join(kernelFolder(flavour), 'lib/modules');
  const paths = new Map(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter(path => path.endsWith('.ko'))
      .map(path => [basename(path, '.ko').replaceAll('-', '_'), join(folder, path)]),
  );
  const found = new Map<string, KernelModule>();
  const add = (name: string): void => {
    const path = paths.get(name);
    if (path === undefined) throw new Error(`no module ${name} in ${folder}`);
    if (found.has(name)) return;
    const bytes = readFileSync(path);
    const needs = DEPENDS.exec(bytes.toString('latin1'))?.[1] ?? '';
    for (const need of needs.split(',')) if (need !== '') add(need.replaceAll('-', '_'));
    found.set(name, { name, bytes });
  };
  for (const name of wanted) add(name);
  return [...found.values()];
}

export const busybox = (): Uint8Array =>
  readFileSync(
    join(
      unpacked('busybox', () => 'busybox-static:i386'),
      'bin/busybox',
    ),
  );

/** BIOS and VGA BIOS for other machines. */
export function seaBios(): { readonly bios: string; readonly vgaBios: string } {
  const at = join(
    unpacked('seabios', () => 'seabios'),
    'usr/share/seabios',
  );
  return { bios: join(at, 'bios-256k.bin'), vgaBios: join(at, 'vgabios-stdvga.bin') };
}
