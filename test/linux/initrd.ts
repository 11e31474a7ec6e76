/** An initrd in memory: a `newc` archive (Linux, Documentation/driver-api/early-userspace/buffer-format.rst), compressed. */
import { gzipSync } from 'node:zlib';

export interface InitrdFile {
  /** Without a leading slash; parents come before their children. */
  readonly path: string;
  readonly mode: number;
  readonly bytes?: Uint8Array;
  /** Of a device node. */
  readonly device?: readonly [major: number, minor: number];
}

const HEADER_FIELDS = 13;
const TRAILER = 'TRAILER!!!';

export const directory = (path: string): InitrdFile => ({ path, mode: 0o040755 });
export const program = (path: string, bytes: Uint8Array): InitrdFile => ({ path, mode: 0o100755, bytes });
export const characterDevice = (path: string, major: number, minor: number): InitrdFile => ({
  path,
  mode: 0o020600,
  device: [major, minor],
});

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);

function entry(file: InitrdFile, inode: number): Buffer {
  const bytes = file.bytes ?? new Uint8Array();
  const name = Buffer.from(`${file.path}\0`, 'latin1');
  const [major, minor] = file.device ?? [0, 0];
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check.
  const fields = [inode, file.mode, 0, 0, 1, 0, bytes.length, 0, 0, major, minor, name.length, 0];
  if (fields.length !== HEADER_FIELDS) throw new Error('a header has thirteen fields');
  const header = `070701${fields.map(field => field.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header, 'latin1'), name])), padded(Buffer.from(bytes))]);
}

/** The same files give the same bytes. */
export function makeInitrd(files: readonly InitrdFile[]): Uint8Array {
  const entries = [...files, { path: TRAILER, mode: 0 }].map((file, index) => entry(file, index + 1));
  return new Uint8Array(gzipSync(Buffer.concat(entries), { level: 9 }));
}
