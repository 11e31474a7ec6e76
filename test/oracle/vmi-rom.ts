/** Test ROMs (vmi-rom.S) as option ROMs for QEMU: what the guest makes of each. Needs gcc and binutils. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('vmi-rom.S', import.meta.url));

export interface RomVariant {
  readonly name: string;
  readonly defines: readonly string[];
  /** Lines that the kernel has to print, by their beginnings. */
  readonly says: readonly string[];
}

const FOUND = 'VMI: Found test ROM, API version 3.0, ROM version 1.7';
const NATIVE = 'Booting paravirtualized kernel on bare hardware';
const ON_VMI = 'Booting paravirtualized kernel on vmi';

export const ROM_VARIANTS: readonly RomVariant[] = [
  { name: 'wrong version', defines: ['-DAPI_MAJOR=2'], says: ['VMI: Found mismatched rom version 2.0', NATIVE] },
  {
    name: 'wrong license',
    defines: ['-DLICENSE="BSD"'],
    says: ["VMI: Non GPL license `BSD' found for ROM. Not used.", NATIVE],
  },
  { name: 'failing Init', defines: ['-DINIT_RESULT=-1'], says: [FOUND, 'VMI ROM failed to initialize!', NATIVE] },
  { name: 'null ROM', defines: [], says: [FOUND, ON_VMI] },
  {
    name: 'full ROM',
    defines: ['-DFULL'],
    says: [FOUND, 'Reserving virtual address space above 0xfc000000', ON_VMI],
  },
];

export const romToolsAvailable = (): boolean => spawnSync('gcc', ['--version']).status === 0;

/** Calls `use` with the path of the assembled ROM, whose bytes add up to 0 as a BIOS wants it. */
export async function withRom<T>(variant: RomVariant, use: (path: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'vmitop-rom-'));
  try {
    const object = join(dir, 'rom.o');
    const path = join(dir, 'rom.bin');
    execFileSync('gcc', ['-m32', ...variant.defines, '-c', '-o', object, SOURCE]);
    execFileSync('objcopy', ['-O', 'binary', '-j', '.text', object, path]);
    const bytes = readFileSync(path);
    const sum = bytes.reduce((total, byte) => total + byte, 0);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1]! - sum) & 0xff;
    writeFileSync(path, bytes);
    return await use(path);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
