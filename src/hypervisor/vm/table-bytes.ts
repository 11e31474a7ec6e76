/** Bytes of the tables that firmware leaves behind. */

/** Latin letters, with blanks up to `length`. */
export const text = (word: string, length = 0): number[] =>
  [...word.padEnd(length)].map(letter => letter.charCodeAt(0));
export const word16 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
export const word32 = (value: number): number[] => [...word16(value), ...word16(value >>> 16)];
/** What makes the bytes sum to zero. */
export const checksum = (bytes: readonly number[]): number => -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
