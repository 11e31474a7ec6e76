/** bzImages made by hand: a header, an empty real-mode part, and code for 1 MiB. */

export interface LinuxImageOptions {
  readonly version?: number;
  readonly loadFlags?: number;
  readonly extendedFlags?: number;
  readonly setupSectors?: number;
  readonly initrdMax?: number;
  readonly commandLineBytes?: number;
  readonly preferred?: readonly [address: number, initBytes: number];
}

export function linuxImage(code: readonly number[], options: LinuxImageOptions = {}): Uint8Array {
  const sectors = options.setupSectors ?? 2;
  const bytes = new Uint8Array((sectors + 1) * 512 + code.length);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = sectors;
  view.setUint16(0x1fe, 0xaa55, true);
  // A short jump over the header tells where it ends.
  bytes[0x200] = 0xeb;
  bytes[0x201] = 0x6a;
  bytes.set([0x48, 0x64, 0x72, 0x53], 0x202);
  view.setUint16(0x206, options.version ?? 0x20f, true);
  bytes[0x211] = options.loadFlags ?? 0x01;
  view.setUint32(0x22c, options.initrdMax ?? 0x7fffffff, true);
  view.setUint16(0x236, options.extendedFlags ?? 0, true);
  view.setUint32(0x238, options.commandLineBytes ?? 2047, true);
  const [address, initBytes] = options.preferred ?? [0x100000, 0x200000];
  view.setUint32(0x258, address, true);
  view.setUint32(0x260, initBytes, true);
  bytes.set(code, (sectors + 1) * 512);
  return bytes;
}
