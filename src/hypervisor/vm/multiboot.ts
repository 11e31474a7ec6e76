/**
 * Multiboot 1 images (Multiboot Specification 0.6.96): ELF32 executables by their program headers, or flat files by the
 * address fields of the header. The loader gives the guest what the specification promises and an old PC's memory map.
 */
import { UsageError } from '../base/assert.js';
import type { LoadTarget, StartState } from './boot-image.js';
import { HIGH_MEMORY_START, LOW_MEMORY_END, memoryMap } from './memory-map.js';

const HEADER_MAGIC = 0x1badb002;
/** In EAX when the image starts. */
export const BOOTLOADER_MAGIC = 0x2badb002;
/** The specification leaves the selectors open, and no table stands behind them. */
const CODE_SELECTOR = 0x08;
const DATA_SELECTOR = 0x10;
const HEADER_SEARCH_BYTES = 8192;
/** Page alignment (nothing to align: there are no modules) and memory information. */
const KNOWN_FLAGS = 0x3;
const ADDRESS_FIELDS = 0x10000;

const PT_LOAD = 1;
const EM_386 = 3;

export interface Segment {
  readonly physical: number;
  readonly bytes: Uint8Array;
  /** At least `bytes.length`; the rest is zero. */
  readonly memoryBytes: number;
}

export interface MultibootImage {
  readonly kind: 'multiboot';
  readonly name: string;
  readonly segments: readonly Segment[];
  /** Physical address of the first instruction. */
  readonly entry: number;
}

/** Throws `UsageError` that names the image and what is wrong with it. */
export function parseMultiboot(name: string, image: Uint8Array): MultibootImage {
  const fail = (reason: string): never => {
    throw new UsageError(`image ${name}: ${reason}`);
  };
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length === 0) fail('is empty');
  const header = findHeader(view);
  if (header === undefined) return fail('is not a multiboot image (no header in its first 8 KiB)');
  const flags = view.getUint32(header + 4, true);
  const unknown = flags & 0xffff & ~KNOWN_FLAGS;
  if (unknown !== 0) fail(`asks the boot loader for unsupported features (flags 0x${unknown.toString(16)})`);
  const parsed = (flags & ADDRESS_FIELDS) !== 0 ? parseFlat(view, image, header, fail) : parseElf(view, image, fail);
  const { segments, entry } = parsed;
  const holdsEntry = segments.some(({ physical, memoryBytes }) => entry >= physical && entry < physical + memoryBytes);
  if (!holdsEntry) fail(`entry point 0x${entry.toString(16)} is outside its segments`);
  return { kind: 'multiboot', name, segments, entry };
}

type Parsed = Pick<MultibootImage, 'segments' | 'entry'>;
type Fail = (reason: string) => never;

function findHeader(view: DataView): number | undefined {
  const end = Math.min(HEADER_SEARCH_BYTES, view.byteLength) - 12;
  for (let at = 0; at <= end; at += 4) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue;
    const sum = HEADER_MAGIC + view.getUint32(at + 4, true) + view.getUint32(at + 8, true);
    if (sum % 2 ** 32 === 0) return at;
  }
  return undefined;
}

/** Address fields (3.1.3): header, load, load end, bss end and entry addresses. */
function parseFlat(view: DataView, image: Uint8Array, header: number, fail: Fail): Parsed {
  if (header + 32 > image.length) fail('is truncated (address fields of its header)');
  const [headerAddress, load, loadEnd, bssEnd, entry] = [12, 16, 20, 24, 28].map(offset =>
    view.getUint32(header + offset, true),
  ) as [number, number, number, number, number];
  if (load > headerAddress) fail('load address lies behind its header');
  const start = header - (headerAddress - load);
  if (start < 0) fail('load address lies before the file');
  const end = loadEnd === 0 ? image.length : start + (loadEnd - load);
  if (loadEnd !== 0 && loadEnd < load) fail('load end lies before its start');
  if (end > image.length) fail('is truncated (shorter than its load addresses say)');
  const bytes = image.subarray(start, end);
  const memoryBytes = bssEnd === 0 ? bytes.length : bssEnd - load;
  if (memoryBytes < bytes.length) fail('bss ends before the loaded bytes do');
  return { segments: [{ physical: load, bytes, memoryBytes }], entry };
}

function parseElf(view: DataView, image: Uint8Array, fail: Fail): Parsed {
  if (image.length < 52) fail('is truncated (ELF header)');
  if (view.getUint32(0, false) !== 0x7f454c46) fail('is neither ELF nor has address fields in its multiboot header');
  if (image[4] !== 1) fail('is not a 32-bit ELF file');
  if (image[5] !== 1) fail('is not a little-endian ELF file');
  if (view.getUint16(16, true) !== 2) fail('is not an executable ELF file');
  if (view.getUint16(18, true) !== EM_386) fail(`is for another processor (ELF machine ${view.getUint16(18, true)})`);
  const tableAt = view.getUint32(28, true);
  const entrySize = view.getUint16(42, true);
  const count = view.getUint16(44, true);
  if (count === 0) fail('has no program headers');
  if (entrySize < 32) fail('has program headers of an unknown size');
  if (tableAt + entrySize * count > image.length) fail('is truncated (program headers)');
  let entry = view.getUint32(24, true);
  let translated = false;
  const segments: Segment[] = [];
  for (let i = 0; i < count; i++) {
    const at = tableAt + i * entrySize;
    if (view.getUint32(at, true) !== PT_LOAD) continue;
    const [offset, linear, physical, fileBytes, memoryBytes] = [4, 8, 12, 16, 20].map(field =>
      view.getUint32(at + field, true),
    ) as [number, number, number, number, number];
    if (memoryBytes === 0) continue;
    if (fileBytes > memoryBytes) fail('has a segment that is larger in the file than in memory');
    if (offset + fileBytes > image.length) fail('is truncated (segment contents)');
    // A kernel linked at a high address names its entry there; the machine starts without paging.
    if (!translated && linear !== physical && entry >= linear && entry < linear + memoryBytes) {
      entry = entry - linear + physical;
      translated = true;
    }
    segments.push({ physical, bytes: image.subarray(offset, offset + fileBytes), memoryBytes });
  }
  if (segments.length === 0) fail('has nothing to load');
  return { segments, entry };
}

const INFO_BYTES = 0x1000;
/** Where the multiboot information may lie: below 640 KiB, first place that the image leaves free. */
const INFO_PLACES = [0x9000, 0x8e000, 0x1000] as const;
const LOADER_NAME = 'vmitop';

/**
 * Puts image and multiboot information into memory: EAX is the loader's magic number then, EBX the information's address (3.2).
 * Throws `UsageError` when the image does not fit.
 */
export function loadMultiboot(image: MultibootImage, commandLine: string, target: LoadTarget): StartState {
  for (const { physical, memoryBytes } of image.segments) {
    const end = physical + memoryBytes;
    const fits = end <= LOW_MEMORY_END || (physical >= HIGH_MEMORY_START && end <= target.memoryBytes);
    if (!fits) {
      const range = `0x${physical.toString(16)}-0x${end.toString(16)}`;
      throw new UsageError(
        `image ${image.name}: needs memory at ${range}, which a VM of ${target.memoryBytes / 1048576} MiB lacks`,
      );
    }
  }
  const infoAt = INFO_PLACES.find(place =>
    image.segments.every(
      ({ physical, memoryBytes }) => place + INFO_BYTES <= physical || physical + memoryBytes <= place,
    ),
  );
  if (infoAt === undefined) throw new UsageError(`image ${image.name}: leaves no room for the multiboot information`);
  const information = buildInformation(infoAt, target.memoryBytes, commandLine);
  if (information === undefined)
    throw new UsageError(`the kernel command line is too long (${commandLine.length} characters)`);
  for (const { physical, bytes } of image.segments) target.write(physical, bytes);
  target.write(infoAt, information);
  return { eip: image.entry, code: CODE_SELECTOR, data: DATA_SELECTOR, eax: BOOTLOADER_MAGIC, ebx: infoAt };
}

function buildInformation(at: number, memoryBytes: number, commandLine: string): Uint8Array | undefined {
  const bytes = new Uint8Array(INFO_BYTES);
  const view = new DataView(bytes.buffer);
  const put = (offset: number, value: number): void => view.setUint32(offset, value, true);
  const map = memoryMap(memoryBytes);
  const mapAt = 0x80;
  const textAt = mapAt + map.length * 24;
  map.forEach(({ base, length, type }, index) => {
    const entry = mapAt + index * 24;
    put(entry, 20);
    put(entry + 4, base);
    put(entry + 12, length);
    put(entry + 20, type);
  });
  const texts = `${commandLine}\0${LOADER_NAME}\0`;
  if (textAt + texts.length > INFO_BYTES) return undefined;
  for (let i = 0; i < texts.length; i++) bytes[textAt + i] = texts.charCodeAt(i);
  // Bits: memory sizes, command line, memory map, loader name (3.3).
  put(0, 0x1 | 0x4 | 0x40 | 0x200);
  put(4, Math.floor(LOW_MEMORY_END / 1024));
  put(8, (map[3]!.length / 1024) | 0);
  put(16, at + textAt);
  put(44, map.length * 24);
  put(48, at + mapAt);
  put(64, at + textAt + commandLine.length + 1);
  return bytes;
}
