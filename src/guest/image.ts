/** The committed guest image and the programs in it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../hypervisor/index.js';

/** Programs of the image that are worth starting from outside, with one line of help each. */
export const GUEST_PROGRAMS = [
  { name: 'getppid', help: 'system calls: 16 processes call getppid' },
  { name: 'divzero', help: 'faults: 16 processes divide by zero and handle SIGFPE' },
  { name: 'segv', help: 'faults: 16 processes touch an unmapped page and handle SIGSEGV' },
  { name: 'nativeswitch', help: 'context switches: 16 times 4 threads pass a token by futexes' },
  { name: 'javaswitch', help: 'context switches: 16 times 2 threads of a managed runtime take turns' },
  { name: 'nforkwait', help: 'process creation: 16 processes fork children and wait for them' },
  { name: 'spin', help: 'user mode only: 16 processes do arithmetic' },
  { name: 'selftest', help: 'checks of what the kernel promises to programs' },
] as const satisfies readonly { readonly name: string; readonly help: string }[];

/** The same place seen from src/guest and from dist/guest. */
const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));

function read(name: string): Buffer {
  try {
    return readFileSync(fixture(name));
  } catch (error) {
    throw new UsageError(`cannot read the guest image ${fixture(name)}: ${(error as Error).message}`, { cause: error });
  }
}

/** The guest's multiboot ELF32. Throws `UsageError` when it is missing or is not the one that its hash names. */
export const loadGuestImage = (): Uint8Array => loadCommitted('guest');

/** The test kernel of the nanobenchmarks, likewise. */
export const loadNanoImage = (): Uint8Array => loadCommitted('nano');

function loadCommitted(name: string): Uint8Array {
  const image = read(`${name}.elf`);
  const expected = read(`${name}.sha256`).toString('ascii').split(' ')[0];
  const found = createHash('sha256').update(image).digest('hex');
  if (found !== expected) {
    throw new UsageError(`guest image ${fixture(`${name}.elf`)} is damaged: SHA-256 ${found}, expected ${expected}`);
  }
  return new Uint8Array(image.buffer, image.byteOffset, image.byteLength);
}

export interface GuestSymbol {
  readonly address: number;
  readonly name: string;
  readonly code: boolean;
}

/** Kernel symbols by address, ascending, from the map beside the image. */
export function loadGuestSymbols(): readonly GuestSymbol[] {
  return read('guest.map')
    .toString('ascii')
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [address, kind, name] = line.split(' ');
      return { address: Number.parseInt(address!, 16), name: name!, code: kind === 't' || kind === 'T' };
    });
}
