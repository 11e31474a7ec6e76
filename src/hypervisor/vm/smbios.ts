/**
 * What the machine calls itself (DMTF, System Management BIOS 2.4, DSP0134): BIOS and system information in the firmware's segment, where
 * kernels look for it.
 */
import { checksum, text, word16, word32 } from './table-bytes.js';

/** The last 64 KiB before 1 MiB: memory that firmware has copied itself into. */
export const FIRMWARE_SEGMENT = 0xf0000;
const TABLE_AT = FIRMWARE_SEGMENT + 0x20;
const ENTRY_BYTES = 0x1f;
const VERSION = [2, 4] as const;
const Type = { BIOS: 0, SYSTEM: 1, END: 127 } as const;
/** No characteristics are given. */
const NO_CHARACTERISTICS = 0x08;
const UNKNOWN = 0xff;
const WAKE_UP_POWER_SWITCH = 6;
const UUID_BYTES = 16;

/** A structure: formatted part, then strings, which it names by number from 1 on. */
function structure(type: number, handle: number, fields: readonly number[], strings: readonly string[]): number[] {
  const formatted = [type, 4 + fields.length, ...word16(handle), ...fields];
  const unformatted = strings.length === 0 ? [0] : strings.flatMap(string => [...text(string), 0]);
  return [...formatted, ...unformatted, 0];
}

/** Entry point and table, each with its guest-physical address. */
export function smbios(): readonly (readonly [physical: number, bytes: Uint8Array])[] {
  const structures = [
    structure(
      Type.BIOS,
      0,
      [
        ...[1, 2, ...word16(FIRMWARE_SEGMENT >>> 4), 3, 0],
        ...[...word32(NO_CHARACTERISTICS), ...word32(0), 0, 0, 1, 0, UNKNOWN, UNKNOWN],
      ],
      ['vmitop', '1.0', '04/01/2008'],
    ),
    structure(
      Type.SYSTEM,
      1,
      [1, 2, 3, 0, ...Array.from({ length: UUID_BYTES }, () => 0), WAKE_UP_POWER_SWITCH, 0, 0],
      ['vmitop', 'Virtual PC', '1'],
    ),
    structure(Type.END, 2, [], []),
  ];
  const table = structures.flat();
  const longest = Math.max(...structures.map(({ length }) => length));
  const directory = [
    ...[...word16(table.length), ...word32(TABLE_AT), ...word16(structures.length), (VERSION[0] << 4) | VERSION[1]],
  ];
  const dmi = [...text('_DMI_'), checksum([...text('_DMI_'), ...directory]), ...directory];
  const head = [ENTRY_BYTES, ...VERSION, ...word16(longest), 0, 0, 0, 0, 0, 0];
  const entry = [...text('_SM_'), checksum([...text('_SM_'), ...head, ...dmi]), ...head, ...dmi];
  return [
    [FIRMWARE_SEGMENT, Uint8Array.from(entry)],
    [TABLE_AT, Uint8Array.from(table)],
  ];
}
