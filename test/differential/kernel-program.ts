/**
 * Random kernels: one ring-0 program made of everything that binary translation has to follow while it goes on: code that is stored to
 * (in the running unit, in the next, in another page, through another address), pages that are mapped elsewhere under running code,
 * address spaces that change, bus masters that write code, sites that store to watched tables, to device memory and to plain memory
 * in turn, faults, single steps, breakpoints, far returns to the same ring, and a timer whose handler rewrites code and reloads CR3.
 *
 *     0x100000            the program
 *     0x200000, 0x201000  directories A and B; behind them the tables of linear 0 to 8 MiB and, for each, of the window
 *     0x210000            data: the first KiB is part of what a mark shows
 *     0x400000            frames that the window is mapped to; function `i` of each frame has another constant
 *     0x40000000          the window, linear: each of its pages may be mapped to any frame, and in B to another one than in A
 *
 * The program prints its registers, flags and a sum of its data at marks. What its timer does cannot be seen there: it
 * stores what is there already and invalidates translations. So everybody who runs it has to print the same.
 */
import { Prng } from '../../src/hypervisor/base/prng.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { DMA_MMIO, DMA_PORT, DmaRegister } from '../vm/dma-device.js';
import { image, PROLOGUE } from '../vm/programs.js';

const DIRECTORY_A = 0x200000;
const DIRECTORY_B = 0x201000;
const LOW_TABLES = 0x202000;
const WINDOW_TABLE_A = 0x204000;
const WINDOW_TABLE_B = 0x205000;
const DATA = 0x210000;
const TABLE_OF_TARGETS = DATA + 0x800;
/** Vector, EIP, error code and flags of each fault, folded together. */
const FAULTS = DATA + 0x3f0;
/** Where a fault handler goes on. */
const RESUME_AT = DATA + 0x900;
/** A target for indirect transfers, as an offset into the data. */
const TARGET = 0xa00;
const FRAMES = 0x400000;
const WINDOW = 0x40000000;
const FRAME_COUNT = 6;
const WINDOW_PAGES = 4;
/** Functions in each frame, this far apart. */
const WINDOW_FUNCTIONS = 4;
const FUNCTION_BYTES = 64;
const FUNCTIONS = 5;
/** Bytes of a mark: general registers, EFLAGS, the sum of the data. */
export const MARK_BYTES = 40;

const REGISTERS = ['eax', 'ebx', 'edx', 'esi', 'edi'] as const;
const ALU = ['add', 'sub', 'adc', 'sbb', 'and', 'or', 'xor', 'cmp', 'mov'] as const;
const CONDITIONS = ['z', 'nz', 'c', 'nc', 's', 'ns', 'o', 'no', 'p', 'np', 'l', 'ge', 'le', 'g', 'be', 'a'] as const;

/** A program as lists of statements, so that one that fails can be made smaller. */
export interface KernelProgram {
  readonly main: readonly string[];
  readonly functions: readonly (readonly string[])[];
  /** Ticks of the timer's clock between interrupts. */
  readonly period: number;
  /** It single-steps itself and sets breakpoints. */
  readonly debugged: boolean;
  /** What its handler does. */
  readonly disturbance: readonly string[];
}

/** What the DMA device writes: function 1 of a frame with constants of its own. */
export const DMA_BLOCKS: readonly Uint8Array[] = [0x1111, 0x2222, 0x3333].map(value => windowFunction(1, value));

/** Programs of odd seeds debug themselves. */
export function generateKernel(seed: number): KernelProgram {
  return new Generator(new Prng(seed), seed % 2 === 1).program();
}

/** Position-independent: loads a constant, mixes it into two registers, counts. Kind 3 remaps the page that it is in. */
function windowFunction(kind: number, constant: number): Uint8Array {
  const body = [
    `mov eax, ${constant}\n xor esi, eax\n ret`,
    `add edi, ${constant}\n pushf\n pop eax\n and eax, 0x8d5\n add edx, eax\n ret`,
    `push ${constant}\n pop ebx\n sti\n cmc\n cli\n lea edx, [edx+ebx*2]\n ret 0`,
    // Its own page goes to the frame in EAX, with the flags in the low bits, while it runs; EDX: the entry, EBX: the page.
    `mov [edx], eax\n invlpg [ebx]\n mov eax, ${constant}\n add esi, eax\n xor ebx, ebx\n xor edx, edx\n ret`,
  ][kind]!;
  const { bytes } = assemble(0, body);
  if (bytes.length > FUNCTION_BYTES) throw new Error('a function of the window is too long');
  return bytes;
}

class Generator {
  #labels = 0;

  constructor(
    readonly random: Prng,
    readonly debugged: boolean,
  ) {}

  program(): KernelProgram {
    const { random } = this;
    const functions = Array.from({ length: FUNCTIONS }, (_, i) => this.#statements(i, 6 + random.below(10)));
    const main = this.#statements(-1, 30 + random.below(40));
    const disturbance = Array.from({ length: 1 + random.below(3) }, () => this.#disturbance());
    return { main, functions, period: 40 + random.below(200), debugged: this.debugged, disturbance };
  }

  #statements(of: number, count: number): string[] {
    return Array.from({ length: count }, () => this.#statement(of));
  }

  #label(): string {
    this.#labels += 1;
    return `x${this.#labels}`;
  }

  #register(): string {
    return this.random.pick(REGISTERS);
  }

  #constant(): number {
    return this.random.u32() | 0;
  }

  #memory(): string {
    const { random } = this;
    return random.below(4) === 0
      ? `[${DATA + random.below(200) * 4}]`
      : `[ebp+${random.below(190) * 4 + random.below(3)}]`;
  }

  #windowTarget(): number {
    const { random } = this;
    return WINDOW + random.below(WINDOW_PAGES) * 4096 + random.below(3) * FUNCTION_BYTES;
  }

  #frame(): number {
    return FRAMES + this.random.below(FRAME_COUNT) * 4096;
  }

  /** What the timer's handler does: nothing that a mark shows. */
  #disturbance(): string {
    const { random } = this;
    switch (random.below(7)) {
      case 0:
        return 'mov eax, cr3\n mov cr3, eax';
      case 1:
        return `invlpg [${this.#windowTarget()}]`;
      case 2:
        return `mov eax, [${this.#frame() + random.below(64)}]\n lock or dword [${this.#frame() + random.below(64)}], 0`;
      case 3:
        return `mov eax, [esp+16]\n mov edx, [eax]\n mov [eax], edx`;
      case 4:
        return `mov edi, f${random.below(FUNCTIONS)}\n mov esi, edi\n mov ecx, 40\n rep movsb`;
      case 5:
        return `mov eax, [${WINDOW_TABLE_A}]\n mov [${WINDOW_TABLE_A}], eax\n invlpg [${WINDOW}]`;
      default:
        return `mov edx, [esp+16]\n and edx, 0xfffffff0\n mov ecx, 8\n mov edi, edx\n mov esi, edx\n rep movsd`;
    }
  }

  #statement(of: number): string {
    const { random } = this;
    switch (random.below(41)) {
      case 0:
      case 1:
        return `${random.pick(ALU)} ${this.#register()}, ${this.#register()}`;
      case 2:
        return `${random.pick(ALU)} ${this.#register()}, dword ${this.#memory()}`;
      case 3:
        return `${random.pick(ALU)} dword ${this.#memory()}, ${this.#register()}`;
      case 4:
        return `${random.pick(['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr'])} ${this.#register()}, ${random.below(32)}`;
      case 5: {
        const over = this.#label();
        return `j${random.pick(CONDITIONS)} ${over}\n ${this.#statement(of)}\n ${over}:`;
      }
      case 6: {
        const back = this.#label();
        const turns = random.pick([2, 3, 20, 90]);
        return `push ecx\n mov ecx, ${turns}\n ${back}: ${this.#short()}\n ${random.pick(['loop', 'loop', 'loope', 'loopne'])} ${back}\n pop ecx`;
      }
      case 7:
      case 8:
        return this.#call(of);
      case 9:
        return random.pick(['cli', 'sti', 'stc', 'clc', 'cmc']);
      case 10:
        return `pushf\n ${this.#statement(of)}\n popf`;
      case 11:
        return `push ${this.#constant() & 0x3ad7}\n popf`;
      case 12:
        return `mov ${this.#register()}, ${random.pick(['cs', 'ss', 'ds', 'gs', 'cr0', 'cr3', 'cr4'])}`;
      case 13:
        return `${random.pick(['mov', 'add', 'xor'])} ${this.#register()}, gs:[${random.below(100) * 4}]`;
      case 14:
        return `push ${random.pick(['cs', 'ss', 'gs', 'fs'])}\n pop ${this.#register()}`;
      case 15:
        return this.#ownCode(of);
      case 16:
        return this.#nextUnit(of);
      case 17:
        return this.#pokedText();
      case 18:
        return this.#staticKey(of);
      case 19:
        return `mov byte [${this.#frame() + random.pick([1, FUNCTION_BYTES + 2, 2 * FUNCTION_BYTES + 1])}], ${random.below(256)}\n call ${this.#windowTarget()}`;
      case 20:
        return `call ${this.#windowTarget()}`;
      case 21:
        return `mov ebx, ${this.#windowTarget()}\n call ebx`;
      case 22:
        return this.#remap();
      case 23:
        return this.#remapUnderItself();
      case 24:
        return `mov eax, ${random.pick([DIRECTORY_A, DIRECTORY_B])}\n mov cr3, eax\n call ${this.#windowTarget()}`;
      case 25:
      case 26:
        return this.#site();
      case 27:
        return this.#dma();
      case 28:
        return this.#port();
      case 29:
      case 30:
        return this.#fault();
      case 31:
        return this.#farReturn();
      case 32:
        return `mov esi, ${this.#frame()}\n mov edi, ${this.#frame()}\n push ecx\n mov ecx, ${FUNCTION_BYTES * 3}\n rep movsb\n pop ecx\n call ${this.#windowTarget()}`;
      case 33: {
        const there = this.#label();
        return random.pick([
          `mov eax, ${there}\n jmp eax\n ud2\n ${there}:`,
          `push ${there}\n ret\n ud2\n ${there}:`,
          `mov dword [ebp+${TARGET}], ${there}\n jmp dword [ebp+${TARGET}]\n ${there}:`,
          `call ${there}\n ${there}: pop eax`,
        ]);
      }
      case 34:
        return this.#crossingPages();
      case 36:
        return this.debugged ? this.#traced(of) : 'call mark';
      case 37:
        return this.debugged ? this.#breakpoint() : 'call mark';
      case 35:
        return 'pushf\n sti\n hlt\n popf';
      default:
        return 'call mark';
    }
  }

  /** Harmless in a loop. */
  #short(): string {
    const { random } = this;
    switch (random.below(4)) {
      case 0:
        return `inc ${this.#register()}`;
      case 1:
        return `add dword ${this.#memory()}, ${this.#register()}`;
      case 2:
        return `call ${this.#windowTarget()}`;
      default:
        return `call dword [${TABLE_OF_TARGETS + 4 * random.below(4)}]`;
    }
  }

  #call(of: number): string {
    const { random } = this;
    if (of + 1 >= FUNCTIONS) return 'cmc';
    const callee = of + 1 + random.below(FUNCTIONS - of - 1);
    return random.pick([
      `call f${callee}`,
      `mov edx, f${callee}\n call edx`,
      `mov dword [${TABLE_OF_TARGETS + 16}], f${callee}\n call dword [${TABLE_OF_TARGETS + 16}]`,
      `mov dword [ebp+${TARGET}], f${callee}\n mov edx, 0x200\n call dword [ebp+edx+${TARGET - 0x200}]`,
    ]);
  }

  /** Rewrites an immediate further on in the same unit. */
  #ownCode(of: number, between = this.random.below(2) === 0 ? '' : this.#statement(of)): string {
    const patched = this.#label();
    return `mov dword [${patched}+1], ${this.#constant()}\n ${between}\n ${patched}: mov eax, 1`;
  }

  /** Rewrites code that a jump leads to, and comes by several times. */
  #nextUnit(of: number): string {
    const [top, patched] = [this.#label(), this.#label()];
    return `push ecx\n mov ecx, ${2 + this.random.below(4)}\n ${top}: add [${patched}+2], ecx\n jmp ${patched}\n ud2
      ${patched}: add edx, 0x12345678\n dec ecx\n jnz ${top}\n pop ecx\n ${this.#call(of)}`;
  }

  /** As kernels patch text that runs: a breakpoint first, then the rest, then the first byte. */
  #pokedText(): string {
    const [poked, hit, over] = [this.#label(), this.#label(), this.#label()];
    return `mov byte [${poked}], 0xcc
      mov dword [${RESUME_AT}], ${hit}
      ${poked}: mov esi, 0x01010101
      ${hit}: mov dword [${poked}+1], ${this.#constant()}
      mov byte [${poked}], 0xbe
      jmp ${over}
      ud2
      ${over}: mov dword [${RESUME_AT}], 0
      mov eax, [${poked}+1]
      cmp ecx, ecx`;
  }

  /** A five-byte NOP becomes a jump, and a NOP again. */
  #staticKey(of: number): string {
    const [key, on, out, top] = [this.#label(), this.#label(), this.#label(), this.#label()];
    return `push ecx\n mov ecx, 3\n ${top}:
      test ecx, 1\n jz ${out}p\n mov byte [${key}], 0xe9\n mov dword [${key}+1], ${on}-${key}-5\n jmp ${out}q
      ${out}p: mov byte [${key}], 0x0f\n mov dword [${key}+1], 0x0000441f\n ${out}q:
      ${key}: db 0x0f, 0x1f, 0x44, 0x00, 0x00
      sub edi, ecx\n jmp ${out}
      ${on}: add edi, 0x77
      ${out}: dec ecx\n jnz ${top}\n pop ecx\n ${this.#call(of)}`;
  }

  /** Maps a page of the window elsewhere, with INVLPG or a load of CR3, and calls it. */
  #remap(): string {
    const { random } = this;
    const page = random.below(WINDOW_PAGES);
    const table = random.pick([WINDOW_TABLE_A, WINDOW_TABLE_B]);
    const linear = WINDOW + page * 4096;
    const flush = random.below(3) === 0 ? 'mov eax, cr3\n mov cr3, eax' : `invlpg [${linear}]`;
    return `mov dword [${table + page * 4}], ${this.#frame() | 3}\n ${flush}\n call ${linear + random.below(3) * FUNCTION_BYTES}`;
  }

  #remapUnderItself(): string {
    const page = this.random.below(WINDOW_PAGES);
    const linear = WINDOW + page * 4096;
    return `mov eax, cr3
      mov edx, ${WINDOW_TABLE_A + page * 4}
      cmp eax, ${DIRECTORY_A}
      je ${this.#label()}
      mov edx, ${WINDOW_TABLE_B + page * 4}
      x${this.#labels}: mov eax, ${this.#frame() | 3}
      mov ebx, ${linear}
      call ${linear + 3 * FUNCTION_BYTES}`;
  }

  /** One store or load that everybody shares, with what it reaches changing. */
  #site(): string {
    const { random } = this;
    const [top] = [this.#label()];
    const where = random.pick([
      // Entries of a watched table that map nothing anybody uses.
      WINDOW_TABLE_A + 0x800 + random.below(64) * 4,
      WINDOW_TABLE_B + 0x800 + random.below(64) * 4,
      DMA_MMIO + DmaRegister.ADDRESS,
      DATA + random.below(100) * 4,
      // Behind the functions of a page that has units.
      FRAMES + random.below(FRAME_COUNT) * 4096 + 0x400,
    ]);
    return `mov ebx, ${where}\n push ecx\n mov ecx, ${random.pick([3, 6, 30, 80])}
      ${top}: call site${random.below(4)}\n dec ecx\n jnz ${top}\n pop ecx`;
  }

  #dma(): string {
    const { random } = this;
    const to = this.#frame() + FUNCTION_BYTES;
    const block = random.below(DMA_BLOCKS.length);
    const wait = this.#label();
    const delay = random.pick([0, 0, 700, 5000]);
    if (random.below(2) === 0)
      return `mov dword [${DMA_MMIO + DmaRegister.ADDRESS}], ${to}\n mov dword [${DMA_MMIO + DmaRegister.BLOCK}], ${block}
        mov dword [${DMA_MMIO + DmaRegister.GO}], ${delay}
        ${wait}: cmp dword [${DMA_MMIO + DmaRegister.BUSY}], 0\n jne ${wait}\n call ${this.#windowTarget()}`;
    const out = (register: number, value: number) =>
      `mov edx, ${DMA_PORT + register}\n mov eax, ${value}\n out dx, eax`;
    return `${out(DmaRegister.ADDRESS, to)}\n ${out(DmaRegister.BLOCK, block)}\n ${out(DmaRegister.GO, delay)}
      mov edx, ${DMA_PORT + DmaRegister.BUSY}\n ${wait}: in eax, dx\n test eax, eax\n jnz ${wait}\n call ${this.#windowTarget()}`;
  }

  #port(): string {
    const { random } = this;
    return random.pick([
      'in al, 0x21',
      `mov al, ${random.below(256)}\n mov edx, 0x3ff\n out dx, al\n inc al\n in al, dx`,
      'in al, 0xa1\n mov bl, al',
      `mov ax, ${random.below(65536)}\n out 0x80, al`,
    ]);
  }

  #fault(): string {
    const { random } = this;
    const after = this.#label();
    const faulting = random.pick([
      'xor ecx, ecx\n div ecx',
      'ud2',
      'int3',
      'int 0x41',
      'mov eax, 0x7b\n mov es, ax',
      'mov eax, [0x40100000]',
      'add dword [0x40100ffe], 5',
      'stc\n call 0x40101000\n ud2',
      'mov eax, 0x80000000\n mov cr4, eax',
      `mov edx, 0x40100010\n jmp edx`,
      `cld\n mov edi, ${DATA + 0x380}\n mov esi, ${WINDOW + WINDOW_PAGES * 4096 - 16}\n mov ecx, 8\n rep movsd`,
      'call dword [0x40100000]',
    ]);
    return `push ecx\n mov [${RESUME_AT + 4}], esp\n mov dword [${RESUME_AT}], ${after}\n ${faulting}
      ${after}: mov esp, [${RESUME_AT + 4}]\n pop ecx\n mov dword [${RESUME_AT}], 0`;
  }

  /** Single-stepped: nothing that waits, since a mark shows how many steps there were. */
  #traced(of: number): string {
    const { random } = this;
    const statement = random.pick([
      () => `${random.pick(ALU)} ${this.#register()}, dword ${this.#memory()}`,
      () => this.#short(),
      () => this.#ownCode(of, this.#short()),
      () => this.#pokedText(),
      () => this.#remap(),
      () => this.#remapUnderItself(),
      () => this.#crossingPages(),
      () => this.#port(),
      () => this.#fault(),
      () => this.#farReturn(),
      () => `mov edi, ${this.#frame() + 0x400}\n push ecx\n mov ecx, 5\n cld\n rep stosb\n pop ecx`,
    ])();
    return `pushf\n or dword [esp], 0x100\n popf\n ${statement}\n pushf\n and dword [esp], 0xfffffeff\n popf`;
  }

  /** On an instruction that is copied or performed, or on data. */
  #breakpoint(): string {
    const { random } = this;
    const here = this.#label();
    const at = DATA + random.below(32) * 4;
    const [linear, kind] = random.pick([
      [here, 0],
      [String(at), 0xd],
      [String(at), 0xf],
    ] as const);
    const watched = random.pick([
      'inc edi',
      'cli',
      'push cs\n pop eax',
      'pushf\n pop eax\n and eax, 0xcff',
      'in al, 0x21',
    ]);
    return `mov eax, ${linear}\n mov dr3, eax\n mov eax, ${(0x400 | 0x40 | (kind << 28)) >>> 0}\n mov dr7, eax
      mov [${at}], edx\n ${here}: ${watched}\n add esi, [${at}]\n mov eax, 0x400\n mov dr7, eax`;
  }

  #farReturn(): string {
    const there = this.#label();
    return this.random.pick([
      `push cs\n push ${there}\n retf\n ud2\n ${there}:`,
      `pushf\n push cs\n push ${there}\n iretd\n ud2\n ${there}:`,
      `jmp 0x08:${there}\n ud2\n ${there}:`,
      `push cs\n call ${there}\n jmp ${there}q\n ${there}: retf\n ${there}q:`,
    ]);
  }

  /** Calls a LEA that begins at the end of a window page; the constant of the next page's first function is its displacement, and a RET. */
  #crossingPages(): string {
    const page = this.random.below(WINDOW_PAGES - 1);
    return `mov eax, ${this.random.below(256)}\n call ${WINDOW + page * 4096 + 4094}`;
  }
}

const dump = (bytes: Uint8Array): string => `db ${[...bytes].join(', ')}`;

/** The image: tables, frames and handlers set up, then the program with a mark at its end; it powers off. */
export function kernelImage({ main, functions, period, disturbance }: KernelProgram): Uint8Array {
  const handlers = [0, 3, 6, 13, 14, 0x41]
    .map(vector => `mov eax, fault${vector}\n mov ecx, ${vector}\n call gate`)
    .join('\n');
  const stubs = [0, 3, 6, 13, 14, 0x41]
    .map(vector => `fault${vector}: ${vector === 13 || vector === 14 ? '' : 'push 0'}\n push ${vector}\n jmp faulted`)
    .join('\n');
  const frames = Array.from({ length: FRAME_COUNT }, (_, frame) =>
    Array.from({ length: WINDOW_FUNCTIONS }, (_, kind) => {
      const label = `w${frame}x${kind}`;
      return `mov esi, ${label}\n mov edi, ${FRAMES + frame * 4096 + kind * FUNCTION_BYTES}\n mov ecx, ${FUNCTION_BYTES}\n rep movsb`;
    }).join('\n'),
  ).join('\n');
  const blobs = Array.from({ length: FRAME_COUNT }, (_, frame) =>
    Array.from({ length: WINDOW_FUNCTIONS }, (_, kind) => {
      const bytes = new Uint8Array(FUNCTION_BYTES).fill(0xcc);
      // The first one's constant ends in a RET: see `#crossingPages`.
      bytes.set(windowFunction(kind, (kind === 0 ? 0xc3000000 : 0x01000000) + 0x010101 * (frame + 1) + kind));
      return `w${frame}x${kind}: ${dump(bytes)}`;
    }).join('\n'),
  ).join('\n');
  return image(`${PROLOGUE}
 own_gdtr: dw 0x1f
        dd own_gdt
 own_gdt: dd 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300
        dd ${((DATA & 0xffff) << 16) | 0xffff}, ${0x00409300 | ((DATA >>> 16) & 0xff)}
 main:  lgdt [own_gdtr]
        mov eax, 0x18
        mov gs, ax
        mov fs, ax
        ${handlers}
        mov eax, tick
        mov ecx, 0x20
        call gate
        mov eax, debugged
        mov ecx, 1
        call gate
        mov edi, ${LOW_TABLES}
        mov eax, 3
 low:   stosd
        add eax, 4096
        cmp eax, 0x800000
        jb low
        mov edi, 0
        ${[DIRECTORY_A, DIRECTORY_B]
          .map(
            (directory, i) => `mov dword [${directory}], ${LOW_TABLES | 3}
        mov dword [${directory + 4}], ${(LOW_TABLES + 4096) | 3}
        mov dword [${directory + 4 * (WINDOW >>> 22)}], ${(i === 0 ? WINDOW_TABLE_A : WINDOW_TABLE_B) | 3}`,
          )
          .join('\n')}
        ${Array.from({ length: WINDOW_PAGES }, (_, page) => `mov dword [${WINDOW_TABLE_A + page * 4}], ${(FRAMES + page * 4096) | 3}\n mov dword [${WINDOW_TABLE_B + page * 4}], ${(FRAMES + (5 - page) * 4096) | 3}`).join('\n')}
        ${frames}
        ; LEA EAX, [disp32] over the end of each frame, its displacement in the next.
        ${Array.from({ length: FRAME_COUNT }, (_, frame) => `mov word [${FRAMES + frame * 4096 + 4094}], 0x058d`).join('\n')}
        ${Array.from({ length: 4 }, (_, i) => `mov dword [${TABLE_OF_TARGETS + 4 * i}], ${WINDOW + i * 4096 + (i % 3) * FUNCTION_BYTES}`).join('\n')}
        mov eax, ${DIRECTORY_A}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        mov al, 0x34
        out 0x43, al
        mov al, ${period & 255}
        out 0x40, al
        mov al, ${period >> 8}
        out 0x40, al
        mov al, 0xfe
        out 0x21, al
        mov ebp, ${DATA}
        xor eax, eax
        xor ebx, ebx
        xor edx, edx
        xor esi, esi
        xor edi, edi
        mov ecx, 3
        sti
 again: ${main.join('\n')}
        call mark
        dec ecx
        jz last
        jmp again
 last:  cli
        jmp off
        ${functions.map((body, i) => `f${i}: push ecx\n ${body.join('\n')}\n pop ecx\n ret`).join('\n')}
 site0: mov [ebx], ecx
        ret
 site1: mov eax, [ebx]
        ret
 site2: xor dword [ebx], 0x5000
        ret
 site3: bts dword [ebx], 9
        mov dl, [ebx+1]
        ret
 mark:  pushf
        pushad
        mov esi, esp
        mov ecx, 36
        mov edx, 0x3f8
        cld
 byte:  lodsb
        out dx, al
        loop byte
        mov esi, ${DATA}
        mov ecx, 256
        xor ebx, ebx
 sum:   lodsd
        rol ebx, 5
        xor ebx, eax
        loop sum
        mov ecx, 4
 more:  mov al, bl
        out dx, al
        shr ebx, 8
        loop more
        popad
        popf
        ret
        ; Vector, error code, EIP, CS, EFLAGS
 faulted: push eax
        push ebx
        mov ebx, [${FAULTS}]
        rol ebx, 7
        xor ebx, [esp+8]
        rol ebx, 7
        xor ebx, [esp+12]
        rol ebx, 7
        xor ebx, [esp+16]
        rol ebx, 7
        xor ebx, [esp+24]
        cmp dword [esp+8], 14
        jne fold
        mov eax, cr2
        rol ebx, 3
        xor ebx, eax
 fold:  mov [${FAULTS}], ebx
        mov eax, [${RESUME_AT}]
        test eax, eax
        jz lost
        mov [esp+16], eax
        pop ebx
        pop eax
        add esp, 8
        iretd
        ${stubs}
        ; A fault that nobody expects: a last byte says so.
 lost:  mov eax, 70
        call put
        jmp off
        ; EIP, EFLAGS and DR6. RF, so that the instruction of a breakpoint is executed.
 debugged: push eax
        push ebx
        mov ebx, [${FAULTS}]
        rol ebx, 7
        xor ebx, [esp+8]
        rol ebx, 7
        xor ebx, [esp+16]
        mov eax, dr6
        rol ebx, 7
        xor ebx, eax
        mov [${FAULTS}], ebx
        xor eax, eax
        mov dr6, eax
        or dword [esp+16], 0x10000
        pop ebx
        pop eax
        iretd
 tick:  push eax
        push ecx
        push edx
        push esi
        push edi
        mov al, 0x20
        out 0x20, al
        ; The place that was interrupted is at ESP+16 for what disturbs.
        push dword [esp+20]
        sub esp, 16
        cld
        ${disturbance.join('\n')}
        add esp, 20
        pop edi
        pop esi
        pop edx
        pop ecx
        pop eax
        iretd
        ${blobs}
  `);
}

/** Readable statements, for a report. */
export const kernelListing = ({ main, functions, disturbance }: KernelProgram): string =>
  [
    ...functions.flatMap((body, i) => [`f${i}:`, ...body.map(text => `  ${text.replaceAll(/\s*\n\s*/g, '; ')}`)]),
    'main:',
    ...main.map(text => `  ${text.replaceAll(/\s*\n\s*/g, '; ')}`),
    'timer:',
    ...disturbance.map(text => `  ${text.replaceAll(/\s*\n\s*/g, '; ')}`),
  ].join('\n');
