/**
 * Random IA-32 programs for comparing engines: machine code with every opcode and operand form that the decoder lowers, laid out
 * in chunks that branch to one another, plus the episodes that run it (ring, segments, paging, registers, budgets,
 * interrupts). Everything follows from a seed. Faults are welcome: what the guest's handlers do not repair ends an episode.
 */
import { Prng } from '../../src/hypervisor/base/prng.js';

/** Physical and, where paging is off or identical, linear addresses. */
export const CODE_AT = 0x10000;
export const CODE_PAGES = 8;
export const DATA_AT = 0x30000;
export const DATA_BYTES = 0x10000;
/** Linear pages of `episode.paging`: code pages in another order, data pages 256 KiB apart, and pages with other rights. */
export const ALIAS_CODE = 0x810000;
export const CONFLICT_AT = 0xc00000;
export const CONFLICT_STRIDE = 0x40000;
export const ODD_AT = 0xa00000;
export const ODD_PAGES = 16;
/** Mapped by the guest's page-fault handler. */
export const LAZY_AT = 0xb00000;
export const LAZY_PAGES = 16;
export const DEVICE_AT = 0xa0000;
/** Page-table entries of the pages at `ODD_AT`. */
export const ODD_TABLE_AT = 0x45000 + ((ODD_AT >>> 12) & 1023) * 4;

export interface Span {
  /** Offset from `CODE_AT`. */
  readonly at: number;
  readonly length: number;
}

export interface Episode {
  readonly ring: 0 | 3;
  readonly paging: 'off' | 'on' | 'large';
  readonly writeProtect: boolean;
  /** Bases of ES, SS, DS, FS, GS; limits of all (byte granular), and which are read-only or expand-down. */
  readonly bases: readonly number[];
  readonly limits: readonly number[];
  readonly types: readonly number[];
  readonly codeBase: number;
  readonly codeLimit: number;
  readonly stack16: boolean;
  readonly alias: boolean;
  readonly entry: number;
  readonly registers: readonly number[];
  readonly eflags: number;
  /** Cycles of each `run`, relative to the clock, and what happens before it. */
  readonly slices: readonly { readonly cycles: number; readonly interrupt: boolean }[];
}

export interface Program {
  readonly seed: number;
  readonly code: Uint8Array;
  readonly spans: readonly Span[];
  readonly chunks: readonly number[];
  readonly episodes: readonly Episode[];
  /** Executions after which the second engine compiles; infinite: never. */
  readonly threshold: number;
  /** Number of the page behind each alias code page. */
  readonly permutation: readonly number[];
  /** What the handlers of #DE and of other faults do: go on somewhere, or halt. */
  readonly divideHandlerSkips: boolean;
  readonly faultsGoOn: boolean;
}

const R = { EAX: 0, ECX: 1, EDX: 2, EBX: 3, ESP: 4, EBP: 5, ESI: 6, EDI: 7 } as const;
const VALUES = [
  0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x80808080,
];

class Generator {
  readonly code = new Uint8Array(CODE_PAGES * 4096);
  readonly spans: Span[] = [];
  readonly chunks: number[] = [];
  /** Offsets of immediates that stores may change with good sense. */
  readonly #patchable: number[] = [];
  /** rel32 fields to be pointed at chunks. */
  readonly #toChunk: number[] = [];
  #at = 0;
  #begin = 0;
  /** The address-size prefix has been emitted. */
  #narrow = false;
  readonly flat: boolean;

  constructor(
    readonly prng: Prng,
    readonly short: boolean,
  ) {
    this.flat = this.chance(60);
  }

  chance(percent: number): boolean {
    return this.prng.below(100) < percent;
  }

  value(): number {
    return this.chance(50) ? this.prng.pick(VALUES) : this.prng.u32();
  }

  byte(...bytes: number[]): void {
    for (const byte of bytes) this.code[this.#at++] = byte;
  }

  word(value: number, size: number): void {
    for (let i = 0; i < size; i++) this.byte((value >>> (8 * i)) & 0xff);
  }

  /** One instruction, whose place is noted. */
  ins(emit: () => void): void {
    this.#begin = this.#at;
    this.#narrow = false;
    emit();
    this.spans.push({ at: this.#begin, length: this.#at - this.#begin });
  }

  register(): number {
    // Rarely the stack pointer: without it most programs end at once.
    for (;;) {
      const register = this.prng.below(8);
      if (register !== R.ESP || this.chance(4)) return register;
    }
  }

  pointer(): number {
    const { prng } = this;
    const kind = prng.below(100);
    const near = (base: number) => base + prng.below(64);
    if (kind < 50) return near(DATA_AT + prng.below(4) * 64);
    if (kind < 65) return DATA_AT + (1 + prng.below(8)) * 4096 - 1 - prng.below(4);
    if (kind < 74) return CONFLICT_AT + prng.below(8) * CONFLICT_STRIDE + prng.below(64);
    if (kind < 82)
      return ODD_AT + prng.below(ODD_PAGES) * 4096 + (this.chance(30) ? 4093 + prng.below(3) : prng.below(64));
    if (kind < 88)
      return LAZY_AT + prng.below(LAZY_PAGES) * 4096 + (this.chance(30) ? 4093 + prng.below(3) : prng.below(64));
    if (kind < 91) return DEVICE_AT + prng.below(0x100) - (this.chance(20) ? 3 : 0);
    if (kind < 95) return CODE_AT + prng.below(this.code.length);
    if (kind < 97) return (this.chance(50) ? ALIAS_CODE : CODE_AT) + this.patch();
    return prng.u32();
  }

  patch(): number {
    return this.#patchable.length > 0 ? this.prng.pick(this.#patchable) : this.prng.below(this.code.length);
  }

  /** ModRM, SIB and displacement: reg field given, operand random. `memory` forbids a register operand. */
  modrm(reg: number, memory = false): void {
    const { prng } = this;
    if (this.#narrow) {
      this.modrm16(reg);
      return;
    }
    if (!memory && this.chance(40)) {
      this.byte(0xc0 | (reg << 3) | this.register());
      return;
    }
    const kind = prng.below(100);
    if (kind < 45) {
      this.byte((reg << 3) | 5);
      this.word(this.pointer(), 4);
    } else if (kind < 75) {
      // Any base, without SIB.
      const base = prng.pick([0, 1, 2, 3, 5, 6, 7]);
      const mod = base === 5 ? 1 + prng.below(2) : prng.below(3);
      this.byte((mod << 6) | (reg << 3) | base);
      if (mod === 1) this.byte(prng.below(256));
      else if (mod === 2) this.word(this.chance(70) ? this.pointer() : prng.below(4096), 4);
    } else {
      const mod = prng.below(3);
      this.byte((mod << 6) | (reg << 3) | 4);
      const base = this.chance(30) ? 5 : prng.below(8);
      this.byte((prng.below(4) << 6) | (prng.below(8) << 3) | base);
      if (mod === 1) this.byte(prng.below(256));
      else if (mod === 2 || base === 5) this.word(this.chance(80) ? this.pointer() : prng.u32(), 4);
    }
  }

  /** 16-bit addressing: offsets reach the data only through a segment base. */
  modrm16(reg: number): void {
    const mod = this.prng.below(4);
    const rm = this.prng.below(8);
    this.byte((mod << 6) | (reg << 3) | rm);
    if (mod === 1) this.byte(this.prng.below(256));
    else if (mod === 2 || (mod === 0 && rm === 6)) this.word(this.prng.below(0x10000), 2);
  }

  /** Sets registers so that addresses make sense. */
  prepare(): void {
    const { prng } = this;
    const register = prng.pick([0, 1, 2, 3, 5, 6, 7]);
    this.ins(() => {
      const kind = prng.below(3);
      if (kind === 0) {
        this.byte(0xb8 + register);
        this.word(this.pointer(), 4);
      } else if (kind === 1) {
        this.byte(0x81, 0xe0 | register); // and r, imm32
        this.word(this.chance(50) ? 0xff : 0x7ff, 4);
      } else {
        this.byte(0x0f, 0xb6, 0xc0 | (register << 3) | prng.below(8)); // movzx
      }
    });
  }

  /** Operand-size, segment, lock and repeat prefixes. Answers the operand size. */
  prefixes(): 2 | 4 {
    let size: 2 | 4 = 4;
    if (this.chance(1)) this.byte(0xf0);
    if (this.chance(12)) this.byte(this.prng.pick([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x64, 0x65, 0x65]));
    if (this.chance(1)) this.byte(this.prng.pick([0xf2, 0xf3]));
    if (this.chance(14)) {
      this.byte(0x66);
      size = 2;
    }
    if (this.chance(3)) {
      this.byte(0x67);
      this.#narrow = true;
    }
    return size;
  }

  immediate(size: number): void {
    this.#patchable.push(this.#at);
    this.word(this.value(), size);
  }

  alu(): void {
    this.ins(() => {
      const size = this.prefixes();
      const operation = this.prng.below(8);
      const wide = this.prng.below(3) > 0 ? 1 : 0;
      switch (this.prng.below(4)) {
        case 0:
          this.byte((operation << 3) | wide);
          this.modrm(this.register());
          return;
        case 1:
          this.byte((operation << 3) | 2 | wide);
          this.modrm(this.register());
          return;
        case 2:
          this.byte((operation << 3) | 4 | wide);
          this.immediate(wide ? size : 1);
          return;
        default: {
          const form = this.prng.pick([0x80, 0x81, 0x83]);
          this.byte(form);
          this.modrm(operation);
          this.immediate(form === 0x81 ? size : 1);
        }
      }
    });
  }

  unary(): void {
    const { prng } = this;
    this.ins(() => {
      const size = this.prefixes();
      const wide = prng.below(3) > 0 ? 1 : 0;
      switch (prng.below(5)) {
        case 0:
          this.byte(0x40 + prng.below(2) * 8 + this.register());
          return;
        case 1:
          this.byte(0xfe | wide);
          this.modrm(prng.below(2));
          return;
        case 2:
          this.byte(0xf6 | wide);
          this.modrm(prng.below(2));
          this.immediate(wide ? size : 1);
          return;
        case 3:
          this.byte(0xf6 | wide);
          this.modrm(2 + prng.below(2));
          return;
        default:
          this.byte(0xf6 | wide);
          this.modrm(4 + prng.below(4));
      }
    });
  }

  shift(): void {
    const { prng } = this;
    this.ins(() => {
      this.prefixes();
      const wide = prng.below(3) > 0 ? 1 : 0;
      switch (prng.below(4)) {
        case 0:
          this.byte(0xc0 | wide);
          this.modrm(prng.below(8));
          this.byte(this.chance(20) ? prng.pick([0, 32]) : prng.below(64));
          return;
        case 1:
          this.byte(0xd0 | wide);
          this.modrm(prng.below(8));
          return;
        case 2:
          this.byte(0xd2 | wide);
          this.modrm(prng.below(8));
          return;
        default: {
          const opcode = prng.pick([0xa4, 0xa5, 0xac, 0xad]);
          this.byte(0x0f, opcode);
          this.modrm(this.register());
          if ((opcode & 1) === 0) this.byte(prng.below(64));
        }
      }
    });
  }

  bits(): void {
    const { prng } = this;
    this.ins(() => {
      this.prefixes();
      switch (prng.below(4)) {
        case 0:
          this.byte(0x0f, prng.pick([0xa3, 0xab, 0xb3, 0xbb]));
          this.modrm(this.register());
          return;
        case 1:
          this.byte(0x0f, 0xba);
          this.modrm(4 + prng.below(4));
          this.byte(prng.below(64));
          return;
        case 2:
          this.byte(0x0f, 0xbc + prng.below(2));
          this.modrm(this.register());
          return;
        default:
          this.byte(0x0f, 0xc8 + this.register());
      }
    });
  }

  move(): void {
    const { prng } = this;
    this.ins(() => {
      const size = this.prefixes();
      const wide = prng.below(3) > 0 ? 1 : 0;
      switch (prng.below(15)) {
        case 0:
        case 1:
          this.byte(0x88 | wide);
          this.modrm(this.register());
          return;
        case 2:
        case 3:
          this.byte(0x8a | wide);
          this.modrm(this.register());
          return;
        case 4:
          this.byte(0xb0 + prng.below(8));
          this.immediate(1);
          return;
        case 5:
          this.byte(0xb8 + this.register());
          this.immediate(size);
          return;
        case 6:
          this.byte(0xc6 | wide);
          this.modrm(0);
          this.immediate(wide ? size : 1);
          return;
        case 7:
          this.byte(0xa0 + prng.below(4));
          this.word(this.pointer(), 4);
          return;
        case 8:
          this.byte(0x0f, prng.pick([0xb6, 0xb7, 0xbe, 0xbf]));
          this.modrm(this.register());
          return;
        case 9:
          this.byte(0x8d);
          this.modrm(this.register(), true);
          return;
        case 10:
          this.byte(0x86 | wide);
          this.modrm(this.register());
          return;
        case 11:
          if (this.chance(50)) {
            this.byte(0x84 | wide);
            this.modrm(this.register());
          } else this.byte(0x90 + this.register());
          return;
        case 12:
          this.byte(0x0f, prng.pick([0xb0, 0xc0]) | wide);
          this.modrm(this.register());
          return;
        case 13:
          this.byte(
            ...prng.pick([[0xd7], [0x98], [0x99], [0x0f, 0xaf, 0xc0 | (this.register() << 3) | this.register()]]),
          );
          return;
        default:
          if (this.chance(30)) {
            this.byte(0x0f, 0xc7);
            this.modrm(1, true);
          } else {
            this.byte(prng.pick([0x69, 0x6b]));
            const form = this.code[this.#at - 1];
            this.modrm(this.register());
            this.immediate(form === 0x6b ? 1 : size);
          }
      }
    });
  }

  flags(): void {
    const { prng } = this;
    this.ins(() => {
      this.prefixes();
      switch (prng.below(7)) {
        case 0:
        case 1:
          this.byte(0x0f, 0x90 + prng.below(16));
          this.modrm(0);
          return;
        case 2:
        case 3:
          this.byte(0x0f, 0x40 + prng.below(16));
          this.modrm(this.register());
          return;
        case 4:
          this.byte(prng.pick([0xf5, 0xf8, 0xf9, 0xfc, 0xfd, 0x9e, 0x9e, 0x9f, 0x9f]));
          return;
        case 5:
          this.byte(prng.pick([0x27, 0x2f, 0x37, 0x3f]));
          return;
        default:
          this.byte(prng.pick([0xd4, 0xd5]), prng.pick([10, 10, 10, 0, 7]));
      }
    });
  }

  stack(): void {
    const { prng } = this;
    this.ins(() => {
      const size = this.prefixes();
      switch (prng.below(11)) {
        case 0:
        case 1:
          this.byte(0x50 + prng.below(8));
          return;
        case 2:
        case 3:
          this.byte(0x58 + this.register());
          return;
        case 4:
          this.byte(0x68);
          this.immediate(size);
          return;
        case 5:
          this.byte(0x6a, prng.below(256));
          return;
        case 6:
          this.byte(0xff);
          this.modrm(6);
          return;
        case 7:
          this.byte(0x8f);
          this.modrm(0);
          return;
        case 8:
          this.byte(prng.pick([0x60, 0x61, 0x9c]));
          return;
        case 9:
          this.byte(0x9d);
          return;
        default:
          if (this.chance(50)) this.byte(0xc9);
          else this.byte(0xc8, prng.below(64), 0, prng.below(4));
      }
    });
  }

  /** REP STOS of one-byte instructions over code, mostly from where none is yet into the first instructions. */
  fillCode(): void {
    const { prng } = this;
    const to = (this.chance(75) ? this.chunks[0]! : this.patch()) + prng.below(24);
    const at = Math.max(0, to - prng.below(1200));
    const load = (register: number, value: number) =>
      this.ins(() => {
        this.byte(0xb8 + register);
        this.word(value, 4);
      });
    load(R.EDI, (this.chance(60) ? CODE_AT : ALIAS_CODE) + at);
    const words = this.chance(50);
    load(R.ECX, words ? (to - at) >> 2 : to - at);
    load(R.EAX, prng.pick([0x90, 0x40, 0x4b, 0xf8]) * 0x01010101);
    this.ins(() => this.byte(0xf3, words ? 0xab : 0xaa));
  }

  strings(): void {
    const { prng } = this;
    if (this.chance(6)) {
      this.fillCode();
      return;
    }
    const narrow = this.chance(8);
    const set = (register: number, value: number) => {
      if (this.chance(15)) return;
      this.ins(() => {
        this.byte(0xb8 + register);
        this.word(value, 4);
      });
    };
    set(R.ESI, this.pointer());
    set(R.EDI, this.pointer());
    const repeated = this.chance(60);
    if (repeated) set(R.ECX, prng.below(this.chance(10) ? 3000 : 40));
    this.ins(() => {
      if (narrow) this.byte(0x67);
      if (repeated) this.byte(prng.pick([0xf2, 0xf3, 0xf3]));
      this.prefixes();
      this.byte(prng.pick([0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]));
    });
  }

  segments(): void {
    const { prng } = this;
    if (this.chance(40)) {
      // mov reg, selector; mov sreg, reg
      const register = prng.pick([0, 1, 2, 3]);
      this.ins(() => {
        this.byte(0xb8 + register);
        this.word(prng.pick([0x10, 0x33, 0x33, 0x33, 0x23, 0, 0x43, 0x4b, 0x53, 0x5b]), 4);
      });
      this.ins(() => this.byte(0x8e, 0xc0 | (prng.pick([0, 3, 4, 5, 5, this.chance(10) ? 2 : 4]) << 3) | register));
      return;
    }
    this.ins(() => {
      this.prefixes();
      switch (prng.below(6)) {
        case 0:
          this.byte(0x8c);
          this.modrm(prng.below(6));
          return;
        case 1:
          this.byte(...prng.pick([[0x06], [0x0e], [0x16], [0x1e], [0x0f, 0xa0], [0x0f, 0xa8]]));
          return;
        case 2:
          this.byte(...prng.pick([[0x07], [0x1f], [0x0f, 0xa1], [0x0f, 0xa9]]));
          return;
        case 3:
          this.byte(0x0f, prng.pick([0x02, 0x03]));
          this.modrm(this.register());
          return;
        case 4:
          this.byte(0x0f, 0x00);
          this.modrm(4 + prng.below(2));
          return;
        default:
          this.byte(prng.pick([0x62, 0x63]));
          this.modrm(this.register(), true);
      }
    });
  }

  system(): void {
    const { prng } = this;
    switch (prng.below(12)) {
      case 0:
        this.ins(() => this.byte(0xcd, 0x80));
        return;
      case 1:
        this.ins(() => this.byte(0xcc));
        return;
      case 2:
        this.ins(() => this.byte(0xce));
        return;
      case 3:
        this.ins(() => this.byte(0x0f, 0x31));
        return;
      case 4:
        this.ins(() => this.byte(0x0f, 0xa2));
        return;
      case 5:
        this.ins(() => {
          this.byte(0xba);
          this.word(0x3f8, 4);
        });
        this.ins(() => {
          this.prefixes();
          this.byte(prng.pick([0xec, 0xed, 0xee, 0xef]));
        });
        return;
      case 6:
        this.ins(() => this.byte(prng.pick([0xfa, 0xfb])));
        return;
      case 7: {
        const pointer = this.pointer();
        this.ins(() => {
          this.byte(0x0f, 0x01, 0x3d);
          this.word(pointer, 4);
        });
        return;
      }
      case 8:
        // The pages' own table entries: change one, without INVLPG.
        this.ins(() => {
          this.byte(0x83, prng.pick([0x35, 0x25, 0x0d])); // xor, and, or dword [imm32], imm8
          this.word(ODD_TABLE_AT + prng.below(ODD_PAGES) * 4, 4);
          this.byte(prng.pick([0x02, 0xfd, 0xfe, 0x07, 0xdf, 0xbf]));
        });
        return;
      case 9:
        this.ins(() => this.byte(0x0f, 0x20, 0xd8)); // mov eax, cr3; mov cr3, eax
        this.ins(() => this.byte(0x0f, 0x22, 0xd8));
        return;
      case 10:
        this.ins(() => this.byte(...prng.pick([[0x0f, 0x0b], [0xf4], [0x0f, 0x06], [0x9b], [0x0f, 0x09]])));
        return;
      default:
        this.ins(() => {
          this.byte(0xd8 + prng.below(8));
          this.modrm(prng.below(8));
        });
    }
  }

  /** A store to code: to an immediate of some instruction, or anywhere. */
  patchStore(): void {
    const target =
      (this.chance(70) ? CODE_AT : ALIAS_CODE) + (this.chance(85) ? this.patch() : this.prng.below(this.code.length));
    this.ins(() => {
      switch (this.prng.below(4)) {
        case 0:
          this.byte(0xc6, 0x05);
          this.word(target, 4);
          this.byte(this.prng.below(256));
          return;
        case 1:
          this.byte(0xfe, 0x05); // inc byte
          this.word(target, 4);
          return;
        case 2:
          this.byte(0x00, 0x05 | (this.prng.below(8) << 3)); // add byte, r8
          this.word(target, 4);
          return;
        default:
          this.byte(0x88, 0x05 | (this.prng.below(8) << 3)); // mov byte, r8
          this.word(target, 4);
      }
    });
  }

  simple(): void {
    const kind = this.prng.below(100);
    if (this.chance(18)) this.prepare();
    if (kind < 27) this.alu();
    else if (kind < 39) this.unary();
    else if (kind < 49) this.shift();
    else if (kind < 55) this.bits();
    else if (kind < 71) this.move();
    else if (kind < 81) this.flags();
    else if (kind < 89) this.stack();
    else if (kind < 92) this.strings();
    else if (kind < 95) this.segments();
    else if (kind < 97) this.system();
    else if (kind < 99) this.patchStore();
    else
      this.ins(() => {
        for (let i = 1 + this.prng.below(5); i > 0; i--) this.byte(this.prng.below(256));
      });
  }

  /** A short conditional branch or a jump over what `body` emits. */
  over(body: () => void): void {
    let field = 0;
    this.ins(() => {
      const kind = this.prng.below(10);
      if (kind === 0) this.byte(0xeb);
      else if (kind === 1) this.byte(0xe3);
      else this.byte(0x70 + this.prng.below(16));
      field = this.#at;
      this.byte(0);
    });
    body();
    this.code[field] = Math.min(127, this.#at - field - 1);
  }

  back(to: number, opcode: readonly number[]): void {
    this.ins(() => {
      const near = to - (this.#at + opcode.length + 1);
      if (near >= -128 || opcode[0]! >= 0xe0) {
        this.byte(...opcode, Math.max(-128, near) & 0xff);
      } else {
        this.byte(0x0f, opcode[0]! + 0x10);
        this.word(to - (this.#at + 4), 4);
      }
    });
  }

  loop(depth: number): void {
    const { prng } = this;
    const kind = prng.below(5);
    const cell = DATA_AT + DATA_BYTES - 64 - depth * 8 - prng.below(2) * 4;
    const rounds = 1 + prng.below(this.chance(10) ? 200 : 20);
    if (kind < 2) {
      this.ins(() => {
        this.byte(0xb9);
        this.word(rounds, 4);
      });
    } else {
      this.ins(() => {
        this.byte(0xc7, 0x05);
        this.word(cell, 4);
        this.word(rounds, 4);
      });
    }
    const top = this.#at;
    this.body(depth + 1, 1 + prng.below(8));
    if (kind === 0) this.back(top, [prng.pick([0xe0, 0xe1, 0xe2])]);
    else if (kind === 1) {
      this.ins(() => this.byte(0x49)); // dec ecx
      this.back(top, [0x75]);
    } else {
      this.ins(() => {
        this.byte(0xff, 0x0d);
        this.word(cell, 4);
      });
      this.back(top, [prng.pick([0x75, 0x75, 0x79, 0x7f])]);
    }
  }

  body(depth: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const kind = this.prng.below(100);
      if (kind < 8) this.over(() => this.body(depth + 1, 1 + this.prng.below(4)));
      else if (kind < 12 && depth < 3) this.loop(depth);
      else if (kind < 15) this.transfer();
      else this.simple();
    }
  }

  /** To another chunk: call or jump, direct or through a register or a table in memory. */
  transfer(): void {
    const { prng } = this;
    switch (prng.below(6)) {
      case 0:
      case 1:
      case 2:
        this.ins(() => {
          this.byte(0xe8);
          this.#toChunk.push(this.#at);
          this.word(0, 4);
        });
        return;
      case 3:
        this.ins(() => {
          this.byte(0x0f, 0x80 + prng.below(16));
          this.#toChunk.push(this.#at);
          this.word(0, 4);
        });
        return;
      default: {
        // The table of chunks is 64 dwords in the data's last page.
        const register = prng.pick([0, 1, 2, 3, 5, 6, 7]);
        this.ins(() => this.byte(0x83, 0xe0 | register, 63));
        this.ins(() => {
          if (this.chance(6)) this.byte(0x66);
          this.byte(0xff, (this.chance(60) ? 0x10 : 0x20) | 4, 0x80 | (register << 3) | 5);
          this.word(TABLE_AT, 4);
        });
      }
    }
  }

  chunk(): void {
    this.chunks.push(this.#at);
    const { prng } = this;
    this.body(0, 2 + prng.below(!this.short && this.chance(8) ? 80 : 14));
    const kind = prng.below(10);
    if (kind < 5) {
      this.ins(() => {
        if (this.chance(15)) {
          this.byte(0xc2);
          this.word(prng.below(3) * 4, 2);
        } else this.byte(0xc3);
      });
    } else if (kind < 8) {
      this.ins(() => {
        this.byte(0xe9);
        this.#toChunk.push(this.#at);
        this.word(0, 4);
      });
    }
    // Else into the next chunk. Code that ends a page or begins one is worth more than chance gives it.
    if (!this.short && this.chance(30)) {
      const gap = 4096 - (this.#at & 4095);
      if (gap < 1200) {
        const stop = Math.max(0, gap - prng.below(12));
        while (stop - 1 > 0 && (this.#at & 4095) !== 0 && 4096 - (this.#at & 4095) > 12)
          this.ins(() => this.byte(0x40 + prng.pick([0, 1, 2, 3, 5, 6, 7])));
      }
    }
  }

  build(): void {
    this.#at = this.prng.below(4096);
    const bytes = this.short ? 20 + this.prng.below(140) : this.chance(20) ? 9000 : 400 + this.prng.below(2500);
    const end = Math.min(this.code.length - 3000, this.#at + bytes);
    while (this.#at < end) this.chunk();
    this.ins(() => this.byte(0xf4));
    for (const field of this.#toChunk) {
      const relative = this.prng.pick(this.chunks) - (field + 4);
      for (let i = 0; i < 4; i++) this.code[field + i] = (relative >> (8 * i)) & 0xff;
    }
  }
}

/** Of short programs, of which most are for the interpreter. */
const COMPILED_PERCENT = 15;
const NEVER = Number.POSITIVE_INFINITY;

/** 64 code addresses. */
export const TABLE_AT = DATA_AT + DATA_BYTES - 0x400;

/**
 * A program and how it is to be run. `short`: some dozens of instructions, run for some hundreds of cycles, mostly by interpreters: a
 * thousand of them take as long as ten others, and hit other corners.
 */
export function generate(seed: number, short = false): Program {
  const prng = new Prng(seed);
  const g = new Generator(prng, short);
  g.build();
  const episodes: Episode[] = [];
  const wish = short ? 1 + prng.below(2) : 3 + prng.below(6);
  for (let i = 0; i < wish; i++) episodes.push(episode(g));
  const permutation = Array.from({ length: CODE_PAGES }, (_, i) => i);
  for (let i = CODE_PAGES - 1; i > 0; i--) {
    const j = prng.below(i + 1);
    [permutation[i], permutation[j]] = [permutation[j]!, permutation[i]!];
  }
  return {
    seed,
    code: g.code,
    spans: g.spans,
    chunks: g.chunks,
    episodes,
    threshold: short && !g.chance(COMPILED_PERCENT) ? NEVER : prng.pick([1, 1, 5, 5, 20, 20, NEVER]),
    permutation: g.chance(50) ? permutation : permutation.map((_, i) => i),
    divideHandlerSkips: g.chance(70),
    faultsGoOn: g.chance(85),
  };
}

function episode(g: Generator): Episode {
  const { prng } = g;
  const ring = g.chance(50) ? 0 : 3;
  const paging = prng.pick(['off', 'on', 'on', 'large'] as const);
  const odd = !g.flat && g.chance(60);
  const base = () => (odd && g.chance(50) ? prng.pick([0x1000, 0x10, 0xffff0000, 3]) : 0);
  const limit = () => (odd && g.chance(40) ? prng.pick([0x3ffff, 0x30003, 0x33fff, 0xfffff]) : 0xffffffff);
  // Types of data descriptors: writable, read-only, expand-down.
  const type = () => (odd && g.chance(25) ? prng.pick([1, 7]) : 3);
  const slices = [];
  const many = g.chance(30);
  const [count, most] = g.short ? (many ? [6, 60] : [2, 500]) : many ? [40, 400] : [6, 6000];
  for (let left = count; left > 0; left--) {
    const cycles = prng.below(most);
    slices.push({ cycles, interrupt: g.chance(25) });
  }
  const registers = [0, 1, 2, 3, 4, 5, 6, 7].map(() => (g.chance(60) ? g.pointer() : g.value()));
  return {
    ring,
    paging,
    writeProtect: g.chance(60),
    bases: [
      base(),
      g.chance(80) ? 0 : base(),
      base(),
      prng.pick([0, 0x1000, DATA_AT, 5]),
      prng.pick([0, 0x2000, 0xffffff00]),
    ],
    limits: [limit(), g.chance(80) ? 0xffffffff : limit(), limit(), limit(), limit()],
    types: [type(), 3, type(), type(), type()],
    codeBase: odd && g.chance(8) ? 0x1000 : 0,
    codeLimit: odd && g.chance(15) ? CODE_AT + 0xfff + prng.below(0x3000) : 0xffffffff,
    stack16: odd && g.chance(8),
    alias: paging !== 'off' && g.chance(30),
    entry: g.chance(90) ? prng.pick(g.chunks) : prng.pick(g.spans).at,
    registers,
    eflags:
      (prng.u32() & 0x8d5) |
      (g.chance(70) ? 0x200 : 0) |
      (g.chance(10) ? 0x400 : 0) |
      (g.chance(30) ? 0x3000 : 0) |
      (g.chance(2) ? 0x100 : 0),
    slices,
  };
}
