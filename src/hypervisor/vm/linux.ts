/**
 * Linux kernels as bzImages, by the 32-bit entry of the Linux/x86 boot protocol (Documentation/arch/x86/boot.rst; numbers and
 * layouts only). The file begins with a real-mode part that a BIOS loader would run; here it is read for its header and left out.
 * The loader itself says what that part would have asked the BIOS for: memory map, screen, command line, initial RAM disk.
 *
 *     0x00400  BIOS data area         0x93000  command line
 *     0x90000  boot parameters        0x100000 protected-mode part (decompresses itself and moves where it likes)
 *     0x92000  descriptor table       as high as may be, below the firmware's tables: initrd
 */
import { UsageError } from '../base/assert.js';
import type { BootOptions, LoadTarget, StartState } from './boot-image.js';
import { HIGH_MEMORY_START, LOW_MEMORY_END, memoryMap } from './memory-map.js';
import { mpTable } from './mp-table.js';
import { smbios } from './smbios.js';

/** Offsets in the setup header, the same in the file and in the boot parameters. */
const Header = {
  SETUP_SECTORS: 0x1f1,
  BOOT_FLAG: 0x1fe,
  JUMP_LENGTH: 0x201,
  MAGIC: 0x202,
  VERSION: 0x206,
  LOADER: 0x210,
  LOAD_FLAGS: 0x211,
  CODE32_START: 0x214,
  RAMDISK_IMAGE: 0x218,
  RAMDISK_SIZE: 0x21c,
  COMMAND_LINE: 0x228,
  INITRD_MAX: 0x22c,
  ALIGNMENT: 0x230,
  RELOCATABLE: 0x234,
  EXTENDED_FLAGS: 0x236,
  COMMAND_LINE_BYTES: 0x238,
  PREFERRED_ADDRESS: 0x258,
  INIT_BYTES: 0x260,
} as const;

/** Offsets in the boot parameters before the header. */
const Parameter = {
  CURSOR_ROW: 0x01,
  EXTENDED_KIB: 0x02,
  VIDEO_PAGE: 0x04,
  VIDEO_MODE: 0x06,
  VIDEO_COLUMNS: 0x07,
  VIDEO_LINES: 0x0e,
  VIDEO_IS_VGA: 0x0f,
  VIDEO_POINTS: 0x10,
  EXTENDED_KIB_32: 0x1e0,
  MAP_ENTRIES: 0x1e8,
  MAP: 0x2d0,
} as const;

const MAGIC = 0x53726448;
const BOOT_FLAG = 0xaa55;
const VERSION_MIN = 0x202;
const LOADED_HIGH = 0x01;
const KEEP_QUIET = 0x20;
/** The file has a 64-bit entry point: its 32-bit one only leads there. */
const KERNEL_64 = 0x0001;
/** A loader without a number of its own. */
const LOADER_UNDEFINED = 0xff;
const SECTOR_BYTES = 512;
/** Setup sectors of a header that says 0. */
const OLD_SETUP_SECTORS = 4;
const HEADER_START = Header.SETUP_SECTORS;

const PARAMETERS_AT = 0x90000;
const PARAMETERS_BYTES = 0x1000;
const GDT_AT = 0x92000;
const COMMAND_LINE_AT = 0x93000;
/** What kernels before 2.06 take, without the final zero. */
const OLD_COMMAND_LINE_BYTES = 255;
/** Highest address of an initrd for kernels before 2.03. */
const OLD_INITRD_MAX = 0x37ffffff;
const PAGE_BYTES = 4096;
/** __BOOT_CS and __BOOT_DS. */
const CODE_SELECTOR = 0x10;
const DATA_SELECTOR = 0x18;
/** Flat 4 GiB segments, code that may be read and data that may be written. */
const FLAT_CODE = [0x0000ffff, 0x00cf9b00] as const;
const FLAT_DATA = [0x0000ffff, 0x00cf9300] as const;

const BIOS_DATA_AT = 0x400;

export interface LinuxImage {
  readonly kind: 'linux';
  readonly name: string;
  /** Setup header, from offset 0x1f1 of the file on. */
  readonly header: Uint8Array;
  readonly protectedMode: Uint8Array;
  /** Bytes from 1 MiB on that the kernel needs before it knows the memory map: where decompression ends at the latest. */
  readonly endOfUse: number;
  readonly initrdMax: number;
  /** Without the final zero. */
  readonly commandLineBytesMax: number;
}

/** Does the file have the marks of a Linux/x86 kernel? */
export function isLinux(bytes: Uint8Array): boolean {
  if (bytes.length < Header.MAGIC + 4) return false;
  const view = viewOf(bytes);
  return view.getUint16(Header.BOOT_FLAG, true) === BOOT_FLAG && view.getUint32(Header.MAGIC, true) === MAGIC;
}

/** Throws `UsageError` that names the image and what is wrong with it. */
export function parseLinux(name: string, bytes: Uint8Array): LinuxImage {
  const fail = (reason: string): never => {
    throw new UsageError(`image ${name}: ${reason}`);
  };
  const view = viewOf(bytes);
  const headerEnd = Header.MAGIC + bytes[Header.JUMP_LENGTH]!;
  if (headerEnd > bytes.length) fail('is truncated (setup header)');
  const version = view.getUint16(Header.VERSION, true);
  const has = (field: number, since: number, length = 4): boolean => version >= since && field + length <= headerEnd;
  if (version < VERSION_MIN)
    fail(`has boot protocol ${versionText(version)}, and 2.02 is the oldest that is known here`);
  if ((bytes[Header.LOAD_FLAGS]! & LOADED_HIGH) === 0)
    fail('is a zImage, which is loaded low: only bzImages are known here');
  if (has(Header.EXTENDED_FLAGS, 0x20c, 2) && (view.getUint16(Header.EXTENDED_FLAGS, true) & KERNEL_64) !== 0) {
    fail('is a 64-bit kernel, and this is a 32-bit machine');
  }
  const setupBytes = ((bytes[Header.SETUP_SECTORS]! || OLD_SETUP_SECTORS) + 1) * SECTOR_BYTES;
  if (setupBytes >= bytes.length) fail('is truncated (nothing behind its real-mode part)');
  const protectedMode = bytes.subarray(setupBytes);
  const loaded = HIGH_MEMORY_START + protectedMode.length;
  const preferred = has(Header.INIT_BYTES, 0x20a)
    ? view.getUint32(Header.PREFERRED_ADDRESS, true) + view.getUint32(Header.INIT_BYTES, true)
    : 0;
  return {
    kind: 'linux',
    name,
    header: bytes.subarray(HEADER_START, headerEnd),
    protectedMode,
    endOfUse: Math.max(loaded, preferred),
    initrdMax: has(Header.INITRD_MAX, 0x203) ? view.getUint32(Header.INITRD_MAX, true) : OLD_INITRD_MAX,
    commandLineBytesMax: has(Header.COMMAND_LINE_BYTES, 0x206)
      ? Math.min(view.getUint32(Header.COMMAND_LINE_BYTES, true), LOW_MEMORY_END - COMMAND_LINE_AT - 1)
      : OLD_COMMAND_LINE_BYTES,
  };
}

/** Puts the kernel into memory, with boot parameters in ESI. Throws `UsageError` when it or its initrd does not fit. */
export function loadLinux(
  image: LinuxImage,
  { commandLine, initrd, processors }: BootOptions,
  target: LoadTarget,
): StartState {
  const mib = target.memoryBytes / 1048576;
  const map = memoryMap(target.memoryBytes);
  const memoryEnd = Math.max(...map.filter(({ type }) => type === 1).map(({ base, length }) => base + length));
  if (image.endOfUse > memoryEnd) {
    const needed = Math.ceil((image.endOfUse + target.memoryBytes - memoryEnd) / 1048576);
    throw new UsageError(`image ${image.name}: needs ${needed} MiB of memory to start, and the VM has ${mib}`);
  }
  if (commandLine.length > image.commandLineBytesMax) {
    throw new UsageError(
      `the kernel command line is too long (${commandLine.length} characters, and ${image.name} takes ${image.commandLineBytesMax})`,
    );
  }
  const initrdAt = initrd === undefined ? 0 : placeInitrd(image, initrd.bytes.length, memoryEnd);
  if (initrd !== undefined && initrdAt < image.endOfUse) {
    const size = Math.ceil(initrd.bytes.length / 1048576);
    throw new UsageError(
      `initrd ${initrd.name}: its ${size} MiB do not fit beside kernel ${image.name} in a VM of ${mib} MiB`,
    );
  }
  target.write(HIGH_MEMORY_START, image.protectedMode);
  if (initrd !== undefined) target.write(initrdAt, initrd.bytes);
  target.write(COMMAND_LINE_AT, textBytes(commandLine));
  target.write(GDT_AT, words([0, 0, 0, 0, ...FLAT_CODE, ...FLAT_DATA]));
  target.write(BIOS_DATA_AT, biosDataArea());
  for (const [at, bytes] of smbios()) target.write(at, bytes);
  if (processors !== undefined) for (const [at, bytes] of mpTable(processors)) target.write(at, bytes);
  target.write(PARAMETERS_AT, bootParameters(image, target.memoryBytes, initrdAt, initrd?.bytes.length ?? 0));
  return {
    eip: HIGH_MEMORY_START,
    code: CODE_SELECTOR,
    data: DATA_SELECTOR,
    esi: PARAMETERS_AT,
    gdt: { base: GDT_AT, limit: 4 * 8 - 1 },
  };
}

/** As high as kernel and memory allow, by pages. */
const placeInitrd = (image: LinuxImage, length: number, memoryEnd: number): number => {
  const end = Math.min(memoryEnd, image.initrdMax + 1);
  return Math.floor((end - length) / PAGE_BYTES) * PAGE_BYTES;
};

function bootParameters(image: LinuxImage, memoryBytes: number, initrdAt: number, initrdBytes: number): Uint8Array {
  const bytes = new Uint8Array(PARAMETERS_BYTES);
  const view = viewOf(bytes);
  bytes.set(image.header, HEADER_START);
  bytes[Header.LOADER] = LOADER_UNDEFINED;
  bytes[Header.LOAD_FLAGS] = bytes[Header.LOAD_FLAGS]! & ~KEEP_QUIET;
  view.setUint32(Header.CODE32_START, HIGH_MEMORY_START, true);
  view.setUint32(Header.RAMDISK_IMAGE, initrdAt, true);
  view.setUint32(Header.RAMDISK_SIZE, initrdBytes, true);
  view.setUint32(Header.COMMAND_LINE, COMMAND_LINE_AT, true);
  // A VGA in text mode 3, 80 by 25, the cursor below an empty screen's first line.
  bytes[Parameter.CURSOR_ROW] = 1;
  view.setUint16(Parameter.VIDEO_PAGE, 0, true);
  bytes[Parameter.VIDEO_MODE] = 3;
  bytes[Parameter.VIDEO_COLUMNS] = 80;
  bytes[Parameter.VIDEO_LINES] = 25;
  bytes[Parameter.VIDEO_IS_VGA] = 1;
  view.setUint16(Parameter.VIDEO_POINTS, 16, true);
  const extendedKib = (memoryBytes - HIGH_MEMORY_START) / 1024;
  view.setUint16(Parameter.EXTENDED_KIB, Math.min(extendedKib, 0xffff), true);
  view.setUint32(Parameter.EXTENDED_KIB_32, extendedKib, true);
  const map = memoryMap(memoryBytes);
  bytes[Parameter.MAP_ENTRIES] = map.length;
  map.forEach(({ base, length, type }, index) => {
    const at = Parameter.MAP + index * 20;
    view.setUint32(at, base, true);
    view.setUint32(at + 8, length, true);
    view.setUint32(at + 16, type, true);
  });
  return bytes;
}

/** What a BIOS leaves of its findings: serial port, end of conventional memory, text mode. */
function biosDataArea(): Uint8Array {
  const bytes = new Uint8Array(0x100);
  const view = viewOf(bytes);
  view.setUint16(0x00, 0x3f8, true);
  view.setUint16(0x0e, LOW_MEMORY_END >>> 4, true);
  // Equipment: 80x25 colour, a coprocessor, one serial port.
  view.setUint16(0x10, 0x0222, true);
  view.setUint16(0x13, LOW_MEMORY_END >>> 10, true);
  bytes[0x49] = 3;
  view.setUint16(0x4a, 80, true);
  view.setUint16(0x63, 0x3d4, true);
  bytes[0x84] = 24;
  return bytes;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const versionText = (version: number): string => `${version >>> 8}.${String(version & 0xff).padStart(2, '0')}`;
const textBytes = (text: string): Uint8Array => Uint8Array.from([...text, '\0'], letter => letter.charCodeAt(0) & 0xff);
const words = (values: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
