/**
 * A guest that makes every kind of access through every kind of page-table entry and prints what came of it; and the text that the
 * SDM says it has to print (vol. 3, 4.6 "Access Rights", 4.7 "Page-Fault Exceptions", 4.8 "Accessed and Dirty Flags"). In either
 * format of tables.
 *
 *     linear 0 to 8 MiB   identity, by page tables from 0x203000 on, for everybody
 *     0x00C00000          the entries under test: one of the directory at 0x200000, and entry 3 of the table at 0x201000
 *
 * One try is three characters: the error code (a: 0, b: 1, ...; a point where nothing faulted; a question mark where CR2 or what was
 * read is wrong), the accessed and dirty flags afterwards (the entries' other bits have to be as before, or there stands an
 * exclamation mark), and the last digit of the word in memory.
 */
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { flatImage } from '../vm/images.js';
import { PROLOGUE } from '../vm/programs.js';

const P = 1;
const W = 2;
const U = 4;
const PWT = 8;
const PCD = 16;
const A = 32;
const D = 64;
const PS = 128;
const G = 256;
/** Bit 12 of an entry for a large page. */
const LARGE_PAT = 0x1000;
const RESERVED_LOW = 0x2000;
/** Reserved bits of the upper word of a PAE entry: 36 to 63. */
const WIDE_RESERVED = 0xfffffff0;
const BIT_36 = 0x10;
const BIT_63 = 0x80000000;

const LOAD = 0x100000;
const DIRECTORY = 0x200000;
const TABLE = 0x201000;
const SMALL_PAGE = 0x202000;
const LOW_TABLE = 0x203000;
const LARGE_PAGE = 0x400000;
const POINTERS = 0x208000;
const DATA = 0x00c03040;
const CODE = 0x00c03080;

const CR4_PSE = 0x10;
const CR4_PAE = 0x20;
const CR4_PGE = 0x80;

/** Lower and upper word; the latter is 0 where entries have one. */
type Entry = readonly [low: number, high: number];

/** Every subset of these bits, or'ed with `base`. */
const subsets = (base: number, bits: readonly number[], high = 0): Entry[] =>
  Array.from({ length: 1 << bits.length }, (_, n) => [
    bits.reduce((sum, bit, i) => sum | ((n >> i) & 1 ? bit : 0), base),
    high,
  ]);

interface Pass {
  readonly cr4: number;
  readonly pdes: readonly Entry[];
  readonly ptes: readonly Entry[];
}

/** What differs between the formats. */
interface Format {
  readonly entryBytes: 4 | 8;
  /** Linear bytes of a directory entry. */
  readonly span: number;
  readonly cr4: number;
  readonly cr3: number;
  readonly largeReserved: number;
  readonly passes: readonly Pass[];
}

const IGNORED = D | G | PCD | PWT;

/** Directory entries with each page-table entry, under each setting of CR4. */
const TWO_LEVEL_PASSES: readonly Pass[] = [
  // 4 KiB pages; dirty, global and cache bits of the directory entry mean nothing.
  {
    cr4: CR4_PSE | CR4_PGE,
    pdes: [...subsets(TABLE, [P, W, U, A]), ...subsets(TABLE | P | IGNORED, [W, U, A])],
    ptes: subsets(SMALL_PAGE, [P, W, U, A, D, G]),
  },
  // 4 MiB pages.
  {
    cr4: CR4_PSE | CR4_PGE,
    pdes: [0, P, P | LARGE_PAT | PCD | PWT, P | RESERVED_LOW, P | 0x200000].flatMap(more =>
      subsets(LARGE_PAGE | PS | more, [W, U, A, D, G]),
    ),
    ptes: [[0, 0]],
  },
  // Without PSE the page-size bit is ignored, and without PGE the global bits are.
  {
    cr4: 0,
    pdes: subsets(TABLE | P | PS, [W, U, A]),
    ptes: subsets(SMALL_PAGE | P | PCD, [W, U, A, D, G]),
  },
];

const PAE_PASSES: readonly Pass[] = [
  // 4 KiB pages, with reserved bits in either entry.
  {
    cr4: CR4_PAE | CR4_PGE,
    pdes: [
      ...subsets(TABLE, [P, W, U, A]),
      ...subsets(TABLE | P | IGNORED, [W, U, A]),
      ...subsets(TABLE | W | U, [P], BIT_36),
      ...subsets(TABLE | W | U, [P], BIT_63),
    ],
    ptes: [
      ...subsets(SMALL_PAGE, [P, W, U, A, D, G]),
      ...subsets(SMALL_PAGE | W | U, [P], BIT_36),
      ...subsets(SMALL_PAGE | W | U, [P], BIT_63),
    ],
  },
  // 2 MiB pages, without CR4.PSE.
  {
    cr4: CR4_PAE | CR4_PGE,
    pdes: [
      ...[0, P, P | LARGE_PAT | PCD | PWT, P | RESERVED_LOW, P | 0x100000].flatMap(more =>
        subsets(LARGE_PAGE | PS | more, [W, U, A, D, G]),
      ),
      ...subsets(LARGE_PAGE | PS | W, [P, U], BIT_36),
    ],
    ptes: [[0, 0]],
  },
  // Without PGE the global bits are ignored.
  {
    cr4: CR4_PAE,
    pdes: subsets(TABLE | P, [W, U, A]),
    ptes: subsets(SMALL_PAGE | P | PCD, [W, U, A, D, G]),
  },
];

export const FORMATS = {
  'two-level': {
    entryBytes: 4,
    span: 0x400000,
    cr4: 0,
    cr3: DIRECTORY,
    largeReserved: 0x3fe000,
    passes: TWO_LEVEL_PASSES,
  },
  PAE: {
    entryBytes: 8,
    span: 0x200000,
    cr4: CR4_PAE,
    cr3: POINTERS,
    largeReserved: 0x1fe000,
    passes: PAE_PASSES,
  },
} as const satisfies Readonly<Record<string, Format>>;
export type FormatName = keyof typeof FORMATS;

const ACCESSES = ['read', 'write', 'change', 'fetch'] as const;
const BEFORE = 0x11111111;
const STORED = 0x22222222;

/** What one access does, by the manual: an error code or undefined, and the lower words of both entries afterwards. */
function attempt(
  format: Format,
  [pde, pdeHigh]: Entry,
  [pte, pteHigh]: Entry,
  cr4: number,
  { wp, user, access }: { wp: boolean; user: boolean; access: (typeof ACCESSES)[number] },
) {
  const write = access === 'write' || access === 'change';
  const code = (write ? 2 : 0) + (user ? 4 : 0);
  const large = (cr4 & (CR4_PSE | CR4_PAE)) !== 0 && (pde & PS) !== 0;
  if (!(pde & P)) return { error: code, pde, pte };
  if (pdeHigh & WIDE_RESERVED || (large && pde & format.largeReserved)) return { error: code + 9, pde, pte };
  // The processor sets the flag of each entry that it uses on the way to the one which maps the page.
  const usedPde = large ? pde : pde | A;
  if (!large && !(pte & P)) return { error: code, pde: usedPde, pte };
  if (!large && pteHigh & WIDE_RESERVED) return { error: code + 9, pde: usedPde, pte };
  const rights = large ? pde : pde & pte;
  const forbidden = (user && !(rights & U)) || (write && !(rights & W) && (user || wp));
  if (forbidden) return { error: code + 1, pde: usedPde, pte };
  const leaf = A | (write ? D : 0);
  return { error: undefined, pde: large ? pde | leaf : usedPde, pte: large ? pte : pte | leaf };
}

/** Each line of what the guest has to print, with what it tries. */
export function expectedLines(name: FormatName): { readonly name: string; readonly text: string }[] {
  const format: Format = FORMATS[name];
  const lines: { name: string; text: string }[] = [];
  for (const { cr4, pdes, ptes } of format.passes) {
    for (const wp of [false, true]) {
      for (const user of [false, true]) {
        for (const access of ACCESSES) {
          for (const pde of pdes) {
            let text = '';
            for (const pte of ptes) {
              const after = attempt(format, pde, pte, cr4, { wp, user, access });
              const flags = ((after.pde >> 5) & 3) | (((after.pte >> 5) & 3) << 2);
              const stored = { read: BEFORE, fetch: BEFORE, write: STORED, change: BEFORE + STORED }[access];
              const word = after.error === undefined ? stored : BEFORE;
              text += after.error === undefined ? '.' : String.fromCharCode(97 + after.error);
              text += String.fromCharCode(64 + flags) + String(word & 15);
            }
            const entry = pde.map(word => (word >>> 0).toString(16)).reverse();
            lines.push({ name: `CR4 ${cr4.toString(16)} WP ${wp} user ${user} ${access} PDE ${entry}`, text });
          }
        }
      }
    }
  }
  return lines;
}

const words = (entries: readonly Entry[], bytes: 4 | 8): string =>
  entries.map(([low, high]) => (bytes === 8 ? `dd ${low >>> 0}, ${high}` : `dd ${low >>> 0}`)).join('\n');

/** Runs natively, under a monitor, and under VMI where there is a ROM, which it then asks to take over. Powers off at the end. */
export function pagingImage(name: FormatName): Uint8Array {
  const { entryBytes, span, cr4, cr3, passes }: Format = FORMATS[name];
  const wide = entryBytes === 8;
  const PDE_AT = DIRECTORY + ((DATA / span) | 0) * entryBytes;
  const PTE_AT = TABLE + 3 * entryBytes;
  const offsetInLarge = (linear: number): number => linear & (span - 1);
  return flatImage(
    assemble(
      LOAD + 32,
      `${PROLOGUE}
 main:  lgdt [own_gdtr]
        mov eax, 0x23
        mov ds, eax
        mov es, eax
        mov eax, tss
        mov [own_gdt+0x2a], ax
        shr eax, 16
        mov [own_gdt+0x2c], al
        mov eax, 0x28
        ltr ax
        mov eax, fault
        mov ecx, 14
        call gate
        mov eax, done
        mov ecx, 0x80
        call gate
        or byte [edi+5], 0x60           ; DPL 3
        mov eax, 7
        mov edi, ${LOW_TABLE}
 map:   mov [edi], eax
        add edi, ${entryBytes}
        add eax, 4096
        cmp eax, 0x800000
        jb map
        ${Array.from(
          { length: 0x800000 / span },
          (_, i) => `mov dword [${DIRECTORY + i * entryBytes}], ${(LOW_TABLE + i * 0x1000) | P | W | U}`,
        ).join('\n')}
        mov dword [${POINTERS}], ${DIRECTORY | P}
        mov byte [${SMALL_PAGE + (CODE & 0xfff)}], 0xc3
        mov byte [${LARGE_PAGE + offsetInLarge(CODE)}], 0xc3
        mov eax, ${cr4}
        mov cr4, eax
        mov eax, ${cr3}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        cmp word [0xc0000], 0xaa55
        jne bare
        mov eax, 0xc0080                ; Init
        call eax
 bare:  mov dword [pass], passes
 do_pass:
        mov eax, [pass]
        mov eax, [eax]
        mov cr4, eax
        mov dword [wp], 0
 do_wp: mov eax, cr0
        and eax, 0xfffeffff
        or eax, [wp]
        mov cr0, eax
        xor ebp, ebp
 do_level:
        mov dword [access], accesses
 do_access:
        mov eax, [access]
        mov edi, [eax]
        mov eax, [pass]
        mov ebx, [eax+4]
 do_pde: mov eax, [pass]
        mov esi, [eax+12]
 do_pte: ${wide ? `mov eax, [esi+4]\nmov [${PTE_AT + 4}], eax` : ''}
        mov eax, [esi]
        mov [${PTE_AT}], eax
        ${wide ? `mov eax, [ebx+4]\nmov [${PDE_AT + 4}], eax` : ''}
        mov eax, [ebx]
        mov [${PDE_AT}], eax
        invlpg [${DATA}]
        mov dword [${SMALL_PAGE + (DATA & 0xfff)}], ${BEFORE}
        mov dword [${LARGE_PAGE + offsetInLarge(DATA)}], ${BEFORE}
        xor eax, eax
        test ebp, ebp
        jnz outer
        jmp edi
 outer: push 0x23
        push 0x70000
        push 2
        push 0x1b
        push edi
        iretd

 read:  mov eax, [${DATA}]
        int 0x80
 write: mov dword [${DATA}], ${STORED}
        int 0x80
 change: add dword [${DATA}], ${STORED}
        int 0x80
 fetch: mov eax, ${CODE}
        call eax
        int 0x80

 done:  mov ecx, 46
        cmp edi, read
        jne report
        cmp eax, ${BEFORE}
        je report
        jmp wrong
 fault: pop ecx
        add ecx, 97
        mov eax, cr2
        cmp edi, fetch
        jne data
        sub eax, ${CODE - DATA}
 data:  cmp eax, ${DATA}
        je report
 wrong: mov ecx, 63
 report: mov esp, 0x90000
        mov eax, ecx
        call put
        mov eax, [${PDE_AT}]
        mov ecx, eax
        xor eax, [ebx]
        mov edx, [${PTE_AT}]
        xor edx, [esi]
        or eax, edx
        and eax, ${~(A | D) >>> 0}
        ${wide ? `mov edx, [${PDE_AT + 4}]\nxor edx, [ebx+4]\nor eax, edx\nmov edx, [${PTE_AT + 4}]\nxor edx, [esi+4]\nor eax, edx` : 'test eax, eax'}
        mov eax, 33
        jnz flags
        shr ecx, 5
        and ecx, 3
        mov eax, [${PTE_AT}]
        shr eax, 5
        and eax, 3
        lea eax, [eax*4+ecx+64]
 flags: call put
        mov eax, [${SMALL_PAGE + (DATA & 0xfff)}]
        test byte [ebx], ${PS}
        jz small
        mov eax, [pass]
        test byte [eax], ${CR4_PSE | CR4_PAE}
        mov eax, [${SMALL_PAGE + (DATA & 0xfff)}]
        jz small
        mov eax, [${LARGE_PAGE + offsetInLarge(DATA)}]
 small: and eax, 15
        add eax, 48
        call put
        mov eax, [pass]
        add esi, ${entryBytes}
        cmp esi, [eax+16]
        jb do_pte
        mov al, 10
        call put
        mov eax, [pass]
        add ebx, ${entryBytes}
        cmp ebx, [eax+8]
        jb do_pde
        add dword [access], 4
        cmp dword [access], accesses_end
        jb do_access
        inc ebp
        cmp ebp, 2
        jb do_level
        add dword [wp], 0x10000
        cmp dword [wp], 0x20000
        jb do_wp
        add dword [pass], 20
        cmp dword [pass], passes_end
        jb do_pass
        jmp off

 own_gdtr: dw 0x2f
        dd own_gdt
 own_gdt: dd 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300
        dd 0x0000ffff, 0x00cffb00, 0x0000ffff, 0x00cff300, 0x00000067, 0x00008900
 tss:   dd 0, 0x90000, 0x10
        ${'dd 0\n'.repeat(23)}
 pass:  dd 0
 wp:    dd 0
 access: dd 0
 accesses: dd read, write, change, fetch
 accesses_end: dd 0
 passes:
 ${passes.map(({ cr4 }, n) => `dd ${cr4}, pdes_${n}, pdes_${n}_end, ptes_${n}, ptes_${n}_end`).join('\n')}
 passes_end: dd 0
 ${passes
   .map(
     ({ pdes, ptes }, n) => `
   pdes_${n}: ${words(pdes, entryBytes)}
   pdes_${n}_end: dd 0
   ptes_${n}: ${words(ptes, entryBytes)}
   ptes_${n}_end: dd 0`,
   )
   .join('\n')}`,
    ).bytes,
    LOAD,
  );
}
