/** Random kernel programs that end in HLT with interrupts off. */
import type { Prng } from '../../../src/hypervisor/base/prng.js';
import { DATA, Selectors } from './bt-machine.js';

const REGISTERS = ['eax', 'ebx', 'edx', 'esi', 'edi'] as const;
const ALU = ['add', 'sub', 'adc', 'sbb', 'and', 'or', 'xor', 'cmp', 'mov'] as const;
const CONDITIONS = ['z', 'nz', 'c', 'nc', 's', 'ns', 'o', 'no', 'p', 'np', 'l', 'ge', 'le', 'g', 'be', 'a'] as const;
const FUNCTIONS = 6;
const STATEMENTS = 20;

export class Generator {
  #labels = 0;

  constructor(readonly random: Prng) {}

  program(): string {
    const functions: string[] = [];
    for (let i = 0; i < FUNCTIONS; i++) {
      functions.push(`f${i}: ${this.#body(i, STATEMENTS)}\n ${this.random.below(3) === 0 ? 'sti\n ret' : 'ret'}`);
    }
    const table = Array.from({ length: FUNCTIONS }, (_, i) => `mov dword [${DATA + 0x800 + i * 4}], f${i}`).join('\n');
    return `
      mov ax, ${Selectors.TLS}
      mov gs, ax
      ${table}
      mov ebp, ${DATA}
      mov ecx, 6
again: push ecx
      call f0
      pop ecx
      dec ecx
      jnz again
      cli
      hlt
      ${functions.join('\n')}`;
  }

  #label(): string {
    this.#labels += 1;
    return `l${this.#labels}`;
  }

  #register(): string {
    return this.random.pick(REGISTERS);
  }

  /** A dword or byte in the first 512 bytes of the data page. */
  #memory(): string {
    return this.random.below(4) === 0
      ? `[${DATA + this.random.below(128) * 4}]`
      : `[ebp+${this.random.below(127) * 4 + this.random.below(3)}]`;
  }

  #body(of: number, count: number): string {
    return Array.from({ length: count }, () => this.#statement(of)).join('\n');
  }

  #statement(of: number): string {
    const { random } = this;
    switch (random.below(22)) {
      case 0:
      case 1:
      case 2:
        return `${random.pick(ALU)} ${this.#register()}, ${this.#register()}`;
      case 3:
      case 4:
        return `${random.pick(ALU)} ${this.#register()}, dword ${this.#memory()}`;
      case 5:
        return `${random.pick(ALU)} dword ${this.#memory()}, ${this.#register()}`;
      case 6:
        return `${random.pick(ALU)} ${this.#register()}, ${random.u32() | 0}`;
      case 7:
        return `${random.pick(['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr'])} ${this.#register()}, ${random.below(32)}`;
      case 8:
        return `imul ${this.#register()}, ${this.#register()}`;
      case 9: {
        const over = this.#label();
        return `j${random.pick(CONDITIONS)} ${over}\n ${this.#statement(of)}\n ${over}:`;
      }
      case 10: {
        const back = this.#label();
        return `push ecx\n mov ecx, ${1 + random.below(6)}\n ${back}: inc ${this.#register()}\n ${random.pick(['loop', 'loop', 'loope', 'loopne'])} ${back}\n pop ecx`;
      }
      case 11:
        return of + 1 < FUNCTIONS && random.below(2) === 0
          ? `call f${of + 1 + random.below(FUNCTIONS - of - 1)}`
          : 'nop';
      case 12:
        return of + 1 < FUNCTIONS && random.below(3) === 0
          ? `call dword [${DATA + 0x800 + 4 * (of + 1 + random.below(FUNCTIONS - of - 1))}]`
          : 'cmc';
      case 13:
        return random.pick(['cli', 'sti', 'stc', 'clc']);
      case 14:
        return `pushf\n ${this.#statement(of)}\n popf`;
      case 15:
        return `push ${this.#register()}\n ${this.#statement(of)}\n pop ${this.#register()}`;
      case 16:
        return `mov ${this.#register()}, ${random.pick(['cs', 'ss', 'ds', 'gs', 'cr0', 'cr2', 'cr3', 'cr4'])}`;
      case 17:
        return `${random.pick(['mov', 'add', 'xor'])} ${this.#register()}, gs:[${random.below(100) * 4}]`;
      case 18:
        return `push ${random.pick(['cs', 'ss', 'gs'])}\n pop ${this.#register()}`;
      case 19: {
        const there = this.#label();
        return `push eax\n mov eax, ${there}\n jmp eax\n ${there}: pop eax`;
      }
      case 20: {
        // Rewrites the immediate of an instruction further on.
        const patched = this.#label();
        return `mov dword [${patched}+1], ${random.u32() | 0}\n ${this.#statement(of)}\n ${patched}: mov eax, 1`;
      }
      default:
        return `set${random.pick(CONDITIONS)} byte ${this.#memory()}`;
    }
  }
}
