/** An old PC's memory map, as its firmware reports it to whoever loads a kernel. */

/** Physical memory between the end of conventional memory and 1 MiB belongs to adapters and firmware. */
export const LOW_MEMORY_END = 0x9fc00;
export const HIGH_MEMORY_START = 0x100000;
/** SeaBIOS keeps its tables in the last 128 KiB of memory; the map says so here too, so that guests see what QEMU shows. */
const FIRMWARE_TABLE_BYTES = 0x20000;

export interface MapEntry {
  readonly base: number;
  readonly length: number;
  /** 1 usable, 2 reserved. */
  readonly type: 1 | 2;
}

/** The memory map as a PC's firmware reports it, by rising address. */
export function memoryMap(memoryBytes: number): readonly MapEntry[] {
  const top = memoryBytes - FIRMWARE_TABLE_BYTES;
  return [
    { base: 0, length: LOW_MEMORY_END, type: 1 },
    { base: LOW_MEMORY_END, length: 0xa0000 - LOW_MEMORY_END, type: 2 },
    { base: 0xf0000, length: 0x10000, type: 2 },
    { base: HIGH_MEMORY_START, length: top - HIGH_MEMORY_START, type: 1 },
    { base: top, length: FIRMWARE_TABLE_BYTES, type: 2 },
    { base: 0xfffc0000, length: 0x40000, type: 2 },
  ];
}
