/**
 * A kernel that does random things to PAE tables and looks what memory it then has: stores to pointers, directories and tables, of one
 * word or of two, CR3 loads, switches of CR4, invalidations, loads and stores in all four gigabytes but for the last
 * megabytes, where monitors have a place of their own.
 *
 *     linear 0 to 8 MiB   identity, by 2 MiB pages of the directory at 0x200000, to which the first pointer always leads
 *     0x300000            the pool: page-directory-pointer tables, directories, tables and pages, which may be taken for one another
 *
 * What an access finds depends on memory alone, since its translation is invalidated before: so everybody has to print the same. The
 * registers that the pointers are loaded into are not part of that, and keep what they had until CR3 or CR4 is written.
 */
import { Prng } from '../../src/hypervisor/base/prng.js';
import { image, PROLOGUE } from '../vm/programs.js';

const DIRECTORY = 0x200000;
const POOL = 0x300000;
const POINTER_PAGES = 3;
const POOL_PAGES = 20;
const OPERATIONS_WORDS = 4;
const CR4_PAE = 0x20;

const poolPage = (index: number): number => POOL + index * 4096;

/** Numbers of the operations, which are entries of the program's table of routines. */
const Op = { STORE: 0, STORE_PAIR: 1, CR3: 2, CR4: 3, LOAD: 4, PUT: 5, INVALIDATE: 6 } as const;

/** `count` operations from a seed. */
export function paeOperations(seed: number, count: number): number[][] {
  const random = new Prng(seed);
  const flags = () => (random.below(6) === 0 ? 0 : 1) | (random.below(3) === 0 ? 0 : 2) | 4 | (random.below(4) << 5);
  const page = () => poolPage(POINTER_PAGES + random.below(POOL_PAGES - POINTER_PAGES));
  /** Directory indices 0, 1, 508 and 509, table indices 0, 1 and 511. */
  const directoryIndex = () => random.pick([0, 1, 508, 509]);
  const tableIndex = () => random.pick([0, 1, 511]);
  const entryAt = () => page() + 8 * random.pick([0, 1, 508, 509]);
  const entry = (): [low: number, high: number] => {
    const kind = random.below(16);
    if (kind === 0) return [0, 0];
    if (kind === 1) return [page() | flags(), random.pick([0x10, 0x80000000])];
    if (kind < 5)
      return [(0x200000 * (2 + random.below(2))) | 0x80 | (random.below(8) === 0 ? 0x4000 : 0) | flags(), 0];
    return [page() | flags() | (random.below(4) === 0 ? 0x100 : 0), 0];
  };
  const pointer = (): [low: number, high: number] => {
    const kind = random.below(12);
    return kind < 3 ? [0, 0] : kind === 3 ? [page() | 3, 0] : kind === 4 ? [page() | 1, 0x20] : [page() | 1, 0];
  };
  const linear = () =>
    (((1 + random.below(3)) << 30) | (directoryIndex() << 21) | (tableIndex() << 12) | (random.below(4) * 8)) >>> 0;
  const operation = (): number[] => {
    const kind = random.below(32);
    if (kind < 3) {
      const at = poolPage(random.below(POINTER_PAGES)) + 8 * (1 + random.below(3));
      return [Op.STORE_PAIR, at, ...pointer()];
    }
    if (kind < 6) return [Op.CR3, poolPage(random.below(POINTER_PAGES)), 0, 0];
    if (kind === 6) return [Op.CR4, CR4_PAE | random.pick([0, 0, 0x10, 0x80]), 0, 0];
    if (kind < 11) return [Op.STORE_PAIR, entryAt(), ...entry()];
    if (kind < 14) {
      const [low, high] = entry();
      return random.below(8) === 0 ? [Op.STORE, entryAt() + 4, high, 0] : [Op.STORE, entryAt(), low, 0];
    }
    if (kind === 14) return [Op.INVALIDATE, linear(), 0, 0];
    if (kind < 20) return [Op.PUT, linear(), random.below(2) === 0 ? entry()[0] : random.u32() | 0x80000000, 0];
    return [Op.LOAD, linear(), 0, 0];
  };
  const links = Array.from({ length: POINTER_PAGES }, (_, i) => [Op.STORE_PAIR, poolPage(i), DIRECTORY | 1, 0]);
  return [...links, [Op.CR4, CR4_PAE, 0, 0], ...Array.from({ length: count }, operation)];
}

/**
 * Prints a sum of all that has been seen after each load and after each fault, two digits each, and powers off. Begins with two-level
 * paging off; the first operations make its pointers good.
 */
export const paeImage = (operations: readonly (readonly number[])[]): Uint8Array =>
  image(`${PROLOGUE}
 main:  mov eax, fault
        mov ecx, 14
        call gate
        mov eax, protection
        mov ecx, 13
        call gate
        mov eax, 0xe7
        mov edi, ${DIRECTORY}
 map:   mov [edi], eax
        add edi, 8
        add eax, 0x200000
        cmp eax, 0x800000
        jb map
        mov dword [${poolPage(0)}], ${DIRECTORY | 1}
        mov eax, ${CR4_PAE}
        mov cr4, eax
        mov eax, ${poolPage(0)}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        xor ebp, ebp
        mov esi, operations
 next:  mov esp, 0x90000
        cmp esi, operations_end
        jae off
        mov eax, [esi]
        mov edi, [esi+4]
        mov ebx, [esi+8]
        mov ecx, [esi+12]
        add esi, ${OPERATIONS_WORDS * 4}
        mov eax, [routines+eax*4]
        jmp eax
 store: mov [edi], ebx
        jmp next
 pair:  mov eax, [edi]
        mov edx, [edi+4]
        lock cmpxchg8b [edi]
        jmp next
 cr3_:  mov cr3, edi
        jmp next
 cr4_:  mov cr4, edi
        jmp next
 load:  invlpg [edi]
        mov eax, [edi]
        jmp seen
 put_:  invlpg [edi]
        mov [edi], ebx
        jmp next
 invalidate: invlpg [edi]
        jmp next
 fault: pop eax
        mov edx, cr2
        shl eax, 8
        add eax, edx
        jmp seen
 protection: mov eax, 0x1313
 seen:  imul ebp, ebp, 0x01000193
        xor ebp, eax
        mov eax, ebp
        shr eax, 24
        and eax, 15
        add eax, 97
        call put
        mov eax, ebp
        shr eax, 16
        and eax, 15
        add eax, 97
        call put
        jmp next
 routines: dd store, pair, cr3_, cr4_, load, put_, invalidate
 operations:
 ${operations.map(words => `dd ${words.map(word => word >>> 0).join(', ')}`).join('\n')}
 operations_end: dd 0`);
