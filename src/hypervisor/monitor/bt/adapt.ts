/**
 * Adaptive retranslation: a store that keeps hitting traces, or an access that keeps reaching device memory, is translated anew into the
 * call of a routine that performs it by software. That saves the fault's detour: classification, the lift and return of the protection,
 * the single step.
 *
 *     copied --HITS_TO_ADAPT faults--> adapted --IDLE_TO_REVERT accesses in a row that needed nobody--> copied
 *
 * A site that comes back has to fault four times as often before it is adapted again, so that one that alternates does not make the
 * translator work for ever.
 *
 * Only accesses whose meaning is stated here are adapted; other sites go on faulting. Where one turns out not to be plain (its
 * segment, or a fault), the routine leaves it to the copy of the instruction behind the call.
 */
import { MemorySize, Mnemonic, OpKind, RegisterExt } from 'iced-x86';
import type { Ppn } from '../../base/pages.js';
import { Flag } from '../../machine/cpu/state.js';
import { type Decoded, decode } from '../decoded.js';
import { isFault } from '../guest-fault.js';
import { walk } from '../guest-walk.js';
import { addressOf, linearOf, readRegister, writeRegister } from '../operands.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import type { GuestInstruction } from './classify.js';

/** Faults after which a site is retranslated for the first time. */
export const HITS_TO_ADAPT = 4;
/** Accesses in a row to memory that nobody watches, after which it is translated plainly again. */
export const IDLE_TO_REVERT = 64;
const HITS_FACTOR = 4;
const HITS_MAX = 4096;

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

interface Site {
  /** Faults since it was last translated plainly, and how many it takes. */
  hits: number;
  needed: number;
  adapted: boolean;
  /** Accesses in a row that needed no monitor. */
  idle: number;
}

export class Adaptation {
  readonly #vcpu: VirtualCpu;
  /** By linear address of the instruction. */
  readonly #sites = new Map<number, Site>();

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  isAdapted(linear: number): boolean {
    return this.#sites.get(linear)?.adapted === true;
  }

  get adaptedSites(): readonly number[] {
    return [...this.#sites].filter(([, { adapted }]) => adapted).map(([linear]) => linear);
  }

  /** Counts a fault on watched or device memory; true when the site has just become one to adapt. */
  countHit(guest: GuestInstruction, csBase: number): boolean {
    const linear = (guest.eip + csBase) >>> 0;
    let site = this.#sites.get(linear);
    if (site === undefined) {
      site = { hits: 0, needed: HITS_TO_ADAPT, adapted: false, idle: 0 };
      this.#sites.set(linear, site);
    }
    if (site.adapted) return false;
    site.hits += 1;
    if (site.hits < site.needed) return false;
    const instruction = decode(guest.bytes, guest.eip);
    if (instruction === undefined || !isAdaptable(instruction)) return false;
    site.adapted = true;
    site.idle = 0;
    return true;
  }

  /** After an access of an adapted site; true when it has just become one to translate plainly again. */
  countAccess(linear: number, needed: boolean): boolean {
    const site = this.#sites.get(linear);
    if (site?.adapted !== true) return false;
    site.idle = needed ? 0 : site.idle + 1;
    if (site.idle < IDLE_TO_REVERT) return false;
    site.adapted = false;
    site.hits = 0;
    site.needed = Math.min(site.needed * HITS_FACTOR, HITS_MAX);
    return true;
  }

  /**
   * Performs the access; the guest must be out, at the instruction. `left`: nothing was done, the instruction has to run by itself.
   * `plain`: done, and hardware could have done it. Charges the walk, the accesses, and the search for traces or the device.
   */
  perform(instruction: Decoded): 'needed' | 'plain' | 'left' {
    const vcpu = this.#vcpu;
    const found = this.#target(instruction);
    if (found === undefined || !this.#access(instruction)) return 'left';
    const kind = vcpu.vm.pmap.kindOf(found);
    const device = kind === 'device' || kind === 'absent';
    const stores = instruction.op0Kind === OpKind.Memory;
    if (device) vcpu.thread.charge(vcpu.costs.deviceAccess);
    else if (stores) vcpu.thread.charge(vcpu.costs.traceLookup);
    return device || (stores && vcpu.traces.isWatched(found)) ? 'needed' : 'plain';
  }

  /** Guest page that the access goes to; undefined where it faults. Free: the access itself pays for its walk. */
  #target(instruction: Decoded): Ppn | undefined {
    const vcpu = this.#vcpu;
    const { seg, offset } = addressOf(vcpu, instruction);
    const linear = (vcpu.base(seg) + offset) >>> 0;
    const found = walk(vcpu.physical, vcpu, linear, { write: instruction.op0Kind === OpKind.Memory, user: false });
    return found.kind === 'fault' ? undefined : found.ppn;
  }

  #access(instruction: Decoded): boolean {
    const vcpu = this.#vcpu;
    // The code may have changed since the site was counted.
    if (!isAdaptable(instruction)) return false;
    const width = operandBytes(instruction)!;
    const { seg, offset } = addressOf(vcpu, instruction);
    const stores = instruction.op0Kind === OpKind.Memory;
    const linear = linearOf(vcpu, seg, offset, width, stores);
    // A store across pages could fail half way.
    if (isFault(linear) || (linear & 4095) + width > 4096) return false;
    const store = (value: number): boolean => !isFault(vcpu.memory.write(linear, width, value, false));
    const { mnemonic } = instruction;
    if (!stores) {
      const value = vcpu.memory.read(linear, width, false);
      if (isFault(value)) return false;
      writeRegister(vcpu, instruction.op0Register, value);
      return true;
    }
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

/** A store, or a load by MOV, that `perform` knows. */
function isAdaptable(instruction: Decoded): boolean {
  if (!ADAPTABLE.has(instruction.mnemonic) || instruction.opCount !== 2) return false;
  if (operandBytes(instruction) === undefined) return false;
  const { op0Kind, op1Kind, mnemonic } = instruction;
  if (op0Kind === OpKind.Register && op1Kind === OpKind.Memory && mnemonic === Mnemonic.Mov)
    return (
      RegisterExt.size(instruction.op0Register) === operandBytes(instruction) &&
      RegisterExt.isGPR(instruction.op0Register)
    );
  if (op0Kind !== OpKind.Memory) return false;
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
