/** The RAM file system's contents: what the build puts into the image and under which names. */

/** `S_IFMT` values (POSIX) with permissions. */
const DIRECTORY = 0o040555;
const PROGRAM = 0o100555;
const FILE = 0o100444;
const DEVICE = 0o020666;

export interface ArchiveEntry {
  readonly path: string;
  readonly mode: number;
  /** Character devices: `DEV_*` of the kernel's fs.h. */
  readonly device?: string;
  /** Regular files: where the bytes come from, relative to the build folder or to `programs/`. */
  readonly source?: { readonly built: string } | { readonly text: string };
}

const DIRECTORIES = ['/', '/bin', '/dev', '/etc', '/proc', '/sbin'];

const DEVICES: Readonly<Record<string, string>> = {
  '/dev/console': 'DEV_CONSOLE',
  '/dev/null': 'DEV_NULL',
  '/dev/vmmlog': 'DEV_VMMLOG',
  '/dev/zero': 'DEV_ZERO',
  '/proc/cmdline': 'DEV_PROC_CMDLINE',
  '/proc/stat': 'DEV_PROC_STAT',
  '/proc/tasks': 'DEV_PROC_TASKS',
  '/proc/version': 'DEV_PROC_VERSION',
};

/** Every entry, sorted by path: the kernel searches the table by halves. */
export function archiveEntries(programs: readonly string[], scripts: readonly string[]): ArchiveEntry[] {
  const entries: ArchiveEntry[] = [
    ...DIRECTORIES.map(path => ({ path, mode: DIRECTORY })),
    ...Object.entries(DEVICES).map(([path, device]) => ({ path, mode: DEVICE, device })),
    ...programs.map(name => ({
      path: name === 'init' ? '/sbin/init' : `/bin/${name}`,
      mode: PROGRAM,
      source: { built: `programs/${name}.elf` },
    })),
    ...scripts.map(name => ({ path: `/etc/${name}`, mode: FILE, source: { text: `etc/${name}` } })),
  ];
  return entries.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/** Assembly of the table and the files; file contents start on page boundaries, so that programs are mapped in place. */
export function archiveAssembly(entries: readonly ArchiveEntry[], fileOf: (entry: ArchiveEntry) => string): string {
  const data = ['\t.section .ramfs, "aw"', '\t.align 4096'];
  const table = ['\t.section .rodata', '\t.align 4', '\t.globl ramfs_entries, ramfs_entry_count', 'ramfs_entries:'];
  const names: string[] = [];
  entries.forEach((entry, i) => {
    const bytes = entry.source ? `data_${i}_end - data_${i}` : '0';
    const at = entry.source ? `data_${i}` : '0';
    table.push(`\t.long name_${i}, ${at}, ${bytes}, ${entry.mode}, ${entry.device ?? 0}`);
    names.push(`name_${i}:\t.asciz "${entry.path}"`);
    if (entry.source) {
      data.push('\t.balign 4096', `data_${i}:\t.incbin "${fileOf(entry)}"`, `data_${i}_end:`);
    }
  });
  return [...table, `ramfs_entry_count:\t.long ${entries.length}`, ...names, ...data, '\t.balign 4096', ''].join('\n');
}
