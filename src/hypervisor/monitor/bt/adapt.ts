/**
 * Adaptive retranslation: a store that keeps hitting traces is translated anew into a callout, whose handler performs it by
 * software. That saves the fault's detour: classification, the lift and return of the protection, the single step.
 *
 * Only stores whose meaning is stated here are adapted; other sites go on faulting. Where a store turns out not to be plain
 * (its segment, or a fault), the handler leaves it to the copy of the instruction behind the callout.
 */
import { Decoder, type Instruction, MemorySize, Mnemonic, OpKind, RegisterExt } from 'iced-x86';
import { Flag } from '../../machine/cpu/state.js';
import { isFault } from '../guest-fault.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import type { GuestInstruction } from './classify.js';
import { readRegister, writableOperand, writeRegister } from './operand.js';

/** Trace hits after which a site is retranslated. */
export const HITS_TO_ADAPT = 4;

const LOGIC: ReadonlyMap<Mnemonic, (a: number, b: number) => number> = new Map([
  [Mnemonic.And, (a: number, b: number) => a & b],
  [Mnemonic.Or, (a: number, b: number) => a | b],
  [Mnemonic.Xor, (a: number, b: number) => a ^ b],
]);
const ADAPTABLE: ReadonlySet<Mnemonic> = new Set([Mnemonic.Mov, Mnemonic.Xchg, ...LOGIC.keys()]);

const CODE_BYTES_MAX = 15;

export class Adaptation {
  readonly #vcpu: VirtualCpu;
  /** By linear address of the instruction. */
  readonly #hits = new Map<number, number>();
  readonly #adapted = new Set<number>();

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  isAdapted(linear: number): boolean {
    return this.#adapted.has(linear);
  }

  get adaptedSites(): readonly number[] {
    return [...this.#adapted];
  }

  /** Counts a trace hit; true when the site has just become one to adapt. */
  countHit(guest: GuestInstruction, csBase: number): boolean {
    const linear = (guest.eip + csBase) >>> 0;
    if (this.#adapted.has(linear)) return false;
    const hits = (this.#hits.get(linear) ?? 0) + 1;
    this.#hits.set(linear, hits);
    if (hits < HITS_TO_ADAPT || !decoded(guest, isAdaptable)) return false;
    this.#hits.delete(linear);
    this.#adapted.add(linear);
    return true;
  }

  /**
   * Performs the store; the guest must be out, at the instruction. False when nothing was done: the instruction has to run
   * by itself. Charges the walk and the accesses.
   */
  perform(guest: GuestInstruction): boolean {
    return decoded(guest, instruction => this.#store(instruction));
  }

  #store(instruction: Instruction): boolean {
    const vcpu = this.#vcpu;
    const s = vcpu.thread.s;
    // The code may have changed since the site was counted.
    if (!isAdaptable(instruction)) return false;
    const width = operandBytes(instruction)!;
    const linear = writableOperand(vcpu, instruction, width);
    // A store across pages could fail half way.
    if (linear === undefined || (linear & 4095) + width > 4096) return false;
    const source =
      instruction.op1Kind === OpKind.Register ? readRegister(s, instruction.op1Register) : instruction.immediate(1);
    const value = Number(BigInt.asUintN(width * 8, BigInt(source)));
    const logic = LOGIC.get(instruction.mnemonic);
    if (instruction.mnemonic === Mnemonic.Mov) return !isFault(vcpu.memory.write(linear, width, value, false));
    const before = vcpu.memory.read(linear, width, false);
    if (isFault(before)) return false;
    const after = logic === undefined ? value : logic(before, value);
    if (isFault(vcpu.memory.write(linear, width, after, false))) return false;
    if (logic === undefined) writeRegister(s, instruction.op1Register, before);
    else setLogicFlags(vcpu, after, width);
    return true;
  }
}

/** `mov`, `xchg`, `and`, `or`, `xor` with a memory destination in DS, ES, SS or FS. */
function isAdaptable(instruction: Instruction): boolean {
  if (!ADAPTABLE.has(instruction.mnemonic) || instruction.opCount !== 2) return false;
  if (instruction.op0Kind !== OpKind.Memory || operandBytes(instruction) === undefined) return false;
  const { op1Kind } = instruction;
  if (op1Kind === OpKind.Register)
    return (
      RegisterExt.size(instruction.op1Register) === operandBytes(instruction) &&
      RegisterExt.isGPR(instruction.op1Register)
    );
  return op1Kind >= OpKind.Immediate8 && op1Kind <= OpKind.Immediate8to32 && instruction.mnemonic !== Mnemonic.Xchg;
}

/** 1, 2 or 4; undefined for anything else. */
function operandBytes(instruction: Instruction): 1 | 2 | 4 | undefined {
  switch (instruction.memorySize) {
    case MemorySize.UInt8:
    case MemorySize.Int8:
      return 1;
    case MemorySize.UInt16:
    case MemorySize.Int16:
      return 2;
    case MemorySize.UInt32:
    case MemorySize.Int32:
      return 4;
    default:
      return undefined;
  }
}

/** Flags of AND, OR and XOR (SDM vol. 2): CF and OF clear, AF as this processor leaves it (clear). */
function setLogicFlags(vcpu: VirtualCpu, result: number, width: number): void {
  const { thread } = vcpu;
  const value = Number(BigInt.asUintN(width * 8, BigInt(result)));
  let parity = value & 0xff;
  parity ^= parity >>> 4;
  parity ^= parity >>> 2;
  parity ^= parity >>> 1;
  const flags =
    (value === 0 ? Flag.ZF : 0) |
    ((value / 2 ** (width * 8 - 1)) & 1 ? Flag.SF : 0) |
    ((parity & 1) === 0 ? Flag.PF : 0);
  thread.writeEflags((thread.readEflags() & ~Flag.ARITHMETIC) | flags);
}

function decoded(guest: GuestInstruction, use: (instruction: Instruction) => boolean): boolean {
  const decoder = new Decoder(32, guest.bytes.subarray(0, CODE_BYTES_MAX), 0);
  const instruction = decoder.decode();
  try {
    return use(instruction);
  } finally {
    instruction.free();
    decoder.free();
  }
}
