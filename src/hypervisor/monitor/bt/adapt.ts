/**
 * Adaptive retranslation: a store that keeps hitting traces is translated anew into a callout, whose handler performs it by
 * software. That saves the fault's detour: classification, the lift and return of the protection, the single step.
 *
 * Only stores whose meaning is stated here are adapted; other sites go on faulting. Where a store turns out not to be plain
 * (its segment, or a fault), the handler leaves it to the copy of the instruction behind the callout.
 */
import { MemorySize, Mnemonic, OpKind, RegisterExt } from 'iced-x86';
import { Flag } from '../../machine/cpu/state.js';
import { type Decoded, decode } from '../decoded.js';
import { isFault } from '../guest-fault.js';
import { addressOf, linearOf, readRegister, writeRegister } from '../operands.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import type { GuestInstruction } from './classify.js';

/** Trace hits after which a site is retranslated. */
export const HITS_TO_ADAPT = 4;

const LOGIC: ReadonlyMap<Mnemonic, (a: number, b: number) => number> = new Map([
  [Mnemonic.And, (a: number, b: number) => a & b],
  [Mnemonic.Or, (a: number, b: number) => a | b],
  [Mnemonic.Xor, (a: number, b: number) => a ^ b],
]);
/** With an immediate bit number, which is taken modulo the operand's size; CF becomes the bit, other flags stay. */
const BITS: ReadonlyMap<Mnemonic, (value: number, mask: number) => number> = new Map([
  [Mnemonic.Bts, (value: number, mask: number) => value | mask],
  [Mnemonic.Btr, (value: number, mask: number) => value & ~mask],
  [Mnemonic.Btc, (value: number, mask: number) => value ^ mask],
]);
const ADAPTABLE: ReadonlySet<Mnemonic> = new Set([Mnemonic.Mov, Mnemonic.Xchg, ...LOGIC.keys(), ...BITS.keys()]);

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
    if (hits < HITS_TO_ADAPT) return false;
    const instruction = decode(guest.bytes, guest.eip);
    if (instruction === undefined || !isAdaptable(instruction)) return false;
    this.#hits.delete(linear);
    this.#adapted.add(linear);
    return true;
  }

  /**
   * Performs the store; the guest must be out, at the instruction. False when nothing was done: the instruction has to run
   * by itself. Charges the walk, the accesses and the search for
   * traces.
   */
  perform(instruction: Decoded): boolean {
    const vcpu = this.#vcpu;
    // The code may have changed since the site was counted.
    if (!isAdaptable(instruction)) return false;
    const width = operandBytes(instruction)!;
    const { seg, offset } = addressOf(vcpu, instruction);
    const linear = linearOf(vcpu, seg, offset, width, true);
    // A store across pages could fail half way.
    if (isFault(linear) || (linear & 4095) + width > 4096) return false;
    const store = (value: number): boolean => {
      vcpu.thread.charge(vcpu.costs.traceLookup);
      return !isFault(vcpu.memory.write(linear, width, value, false));
    };
    const { mnemonic } = instruction;
    const source =
      instruction.op1Kind === OpKind.Register
        ? readRegister(vcpu, instruction.op1Register)
        : instruction.secondImmediate;
    if (mnemonic === Mnemonic.Mov) return store(source);
    const before = vcpu.memory.read(linear, width, false);
    if (isFault(before)) return false;
    const bit = BITS.get(mnemonic);
    if (bit !== undefined) {
      const mask = 1 << (source & (width * 8 - 1));
      if (!store(bit(before, mask))) return false;
      setFlags(vcpu, Flag.CF, (before & mask) !== 0 ? Flag.CF : 0);
      return true;
    }
    const logic = LOGIC.get(mnemonic);
    const after = logic === undefined ? source : logic(before, source);
    if (!store(after)) return false;
    if (logic === undefined) writeRegister(vcpu, instruction.op1Register, before);
    else setFlags(vcpu, Flag.ARITHMETIC, logicFlags(after, width));
    return true;
  }
}

/** A store that `perform` knows, with its destination in memory. */
function isAdaptable(instruction: Decoded): boolean {
  if (!ADAPTABLE.has(instruction.mnemonic) || instruction.opCount !== 2) return false;
  if (instruction.op0Kind !== OpKind.Memory || operandBytes(instruction) === undefined) return false;
  const { op1Kind, mnemonic } = instruction;
  if (BITS.has(mnemonic)) return op1Kind === OpKind.Immediate8;
  if (op1Kind === OpKind.Register)
    return (
      RegisterExt.size(instruction.op1Register) === operandBytes(instruction) &&
      RegisterExt.isGPR(instruction.op1Register)
    );
  return op1Kind >= OpKind.Immediate8 && op1Kind <= OpKind.Immediate8to32 && mnemonic !== Mnemonic.Xchg;
}

/** 1, 2 or 4; undefined for anything else. */
function operandBytes(instruction: Decoded): 1 | 2 | 4 | undefined {
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

/** SF, ZF and PF of a result; CF and OF are clear, and AF as this processor leaves it: clear. */
function logicFlags(result: number, width: number): number {
  const value = result & (width === 4 ? -1 : width === 2 ? 0xffff : 0xff);
  let parity = value & 0xff;
  parity ^= parity >>> 4;
  parity ^= parity >>> 2;
  parity ^= parity >>> 1;
  const sign = (value >>> (width * 8 - 1)) & 1;
  return (value === 0 ? Flag.ZF : 0) | (sign !== 0 ? Flag.SF : 0) | ((parity & 1) === 0 ? Flag.PF : 0);
}

function setFlags(vcpu: VirtualCpu, mask: number, flags: number): void {
  vcpu.thread.writeEflags((vcpu.thread.readEflags() & ~mask) | flags);
}
