/** Files that the user names: guest images, texts, outputs. Whatever is wrong with one is a single line that names it. */
import {
  closeSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { loadGuestImage } from '../guest/image.js';
import { UsageError } from '../hypervisor/index.js';

export const OWN_GUEST = 'guest';

/** No kernel is larger; a slip of the finger (a disk image) should not be read into memory, bytes. */
const IMAGE_BYTES_MAX = 64 * 1024 * 1024;
/** No VM has more memory. */
const INITRD_BYTES_MAX = 1024 * 1024 * 1024;

/** A disk is held in memory as a whole. */
const DISK_BYTES_MAX = 1024 * 1024 * 1024;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EISDIR: 'is a directory',
  EACCES: 'permission denied',
  ENOTDIR: 'a part of its path is not a directory',
  EEXIST: 'is there already',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left',
};

/** Why a file could not be used, in words. */
export function fileReason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  return (code && REASONS[code]) ?? code ?? String(error);
}

/** A whole text file. Throws `UsageError` that says what the file was wanted for. */
export function readText(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${what} ${path}: ${fileReason(error)}`, { cause: error });
  }
}

/** First line of the text that describes a disk of VMware's. */
const DISK_DESCRIPTOR = '# Disk DescriptorFile';

/** Opened before the work, so that a bad path is found before hours of it. Throws `UsageError`. */
export function openOutput(path: string, option: string): number {
  try {
    return openSync(path, 'w');
  } catch (error) {
    throw new UsageError(`${option} ${path}: ${fileReason(error)}`, { cause: error });
  }
}

/** New contents for a file, whole or not at all: written beside it and put in its place. Throws `UsageError`. */
export function replaceFile(path: string, bytes: Uint8Array): void {
  try {
    const target = realpathSync(path);
    putFile(target, bytes, statSync(target).mode);
  } catch (error) {
    throw new UsageError(`${path}: ${fileReason(error)}`, { cause: error });
  }
}

/** The same for a file that need not be there yet. Throws what the file system says. */
export function putFile(path: string, content: Uint8Array | string, mode?: number): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, content, mode === undefined ? {} : { mode });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** The bytes of one image. Throws `UsageError` with one line that names the file and the reason. */
export function loadImage(word: string): Uint8Array {
  return word === OWN_GUEST ? loadGuestImage() : readBytes(word, 'image', IMAGE_BYTES_MAX);
}

/** The bytes of an initial RAM disk, likewise. */
export const loadInitrd = (path: string): Uint8Array => readBytes(path, 'initrd', INITRD_BYTES_MAX);

/**
 * The bytes of a disk, likewise, in memory that threads share: the one that runs the host is not sent a copy. The file is not touched again.
 */
export function loadDisk(path: string): Uint8Array {
  const bytes = readBytes(path, 'disk', DISK_BYTES_MAX, readShared);
  if (Buffer.from(bytes.subarray(0, DISK_DESCRIPTOR.length)).toString('latin1') === DISK_DESCRIPTOR)
    throw new UsageError(`disk ${path}: only describes a disk: name the file that holds it (-flat.vmdk)`);
  return bytes;
}

function readShared(path: string): Uint8Array {
  const file = openSync(path, 'r');
  try {
    const bytes = new Uint8Array(new SharedArrayBuffer(statSync(path).size));
    let done = 0;
    while (done < bytes.length) {
      const count = readSync(file, bytes, done, bytes.length - done, done);
      if (count === 0) throw new UsageError(`disk ${path}: became shorter while it was read`);
      done += count;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

const readWhole = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

function readBytes(path: string, what: string, bytesMax: number, read = readWhole): Uint8Array {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw new UsageError(`${what} ${path}: is a directory`);
    if (stat.size > bytesMax) throw new UsageError(`${what} ${path}: ${stat.size} bytes are too many`);
    return read(path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${what} ${path}: ${fileReason(error)}`, { cause: error });
  }
}

/** All images that a set of VMs names, each loaded once; `disks` may be larger. */
export function loadImages(words: Iterable<string>, disks: Iterable<string> = []): Record<string, Uint8Array> {
  const asDisks = new Set(disks);
  const others = [...new Set(words)].filter(word => !asDisks.has(word));
  return Object.fromEntries([
    ...others.map((word): [string, Uint8Array] => [word, loadImage(word)]),
    ...[...asDisks].map((path): [string, Uint8Array] => [path, loadDisk(path)]),
  ]);
}
