/** Hand-made multiboot images. */
const MAGIC = 0x1badb002;

const words = (values: readonly number[]): Uint8Array => {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, i) => {
    view.setUint32(i * 4, value, true);
  });
  return new Uint8Array(view.buffer);
};

/** Address fields in the header; `code` starts 32 bytes behind `load`, and is the entry. */
export function flatImage(
  code: Uint8Array,
  load: number,
  { loadEnd = 0, bssEnd = 0 }: { loadEnd?: number; bssEnd?: number } = {},
): Uint8Array {
  const image = new Uint8Array(32 + code.length);
  image.set(words([MAGIC, 0x10000, -(MAGIC + 0x10000), load, load, loadEnd, bssEnd, load + 32]));
  image.set(code, 32);
  return image;
}

/** ELF32 with one segment: the multiboot header, then `code`, which is the entry. The segment lies at file offset 0x60. */
export function elfImage(
  code: Uint8Array,
  { linear, physical, memoryBytes }: { linear: number; physical: number; memoryBytes: number },
): Uint8Array {
  const segment = new Uint8Array(12 + code.length);
  segment.set(words([MAGIC, 0, -MAGIC]));
  segment.set(code, 12);
  const image = new Uint8Array(0x60 + segment.length);
  image.set(words([0x464c457f, 0x00010101, 0, 0]));
  image.set(words([0x00030002, 1, linear + 12, 52, 0, 0, 0x00200034, 0x00000001, 0]), 16);
  image.set(words([1, 0x60, linear, physical, segment.length, memoryBytes, 7, 0x1000]), 52);
  image.set(segment, 0x60);
  return image;
}
