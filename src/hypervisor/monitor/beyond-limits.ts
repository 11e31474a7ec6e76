/**
 * Accesses that the guest's segments allow and hardware's do not. The monitor keeps the top of linear space for itself and cuts every
 * guest segment off below it (`descriptors.harden`). Two kinds of guest code notice, with #GP or #SS where a real machine has none:
 *
 *     offsets that wrap     a segment with a base other than 0 and a limit of 4 GiB, at a negative offset: thread-local variables of
 *                           programs. The linear address is an ordinary one.
 *     the hole itself       a kernel's own mappings at the top of linear space: fixmaps. What is there is the monitor's.
 *
 * Either way the one instruction is stepped with the guest's own limit in the segment register. Where its operand is in the hole, the
 * base is moved as well, so that the operand falls into two window pages, which lead for this one step to what the guest's page tables
 * say. The price is that of software that decodes and emulates it.
 *
 * A user program that the guest lets reach into the hole (the vsyscall page of the first 2.6 kernels) gets its #GP.
 */
import {
  Decoder,
  type Instruction,
  InstructionInfoFactory,
  MemorySize,
  MemorySizeExt,
  OpAccess,
  type Register,
} from 'iced-x86';
import { PAGE_SIZE } from '../base/pages.js';
import { DECODER_OPTIONS } from '../machine/cpu/decoder-options.js';
import { Attr, PfError, S } from '../machine/cpu/state.js';
import { isNull, roomFor } from './guest-segments.js';
import { HOLE_WINDOW_LINEAR } from './hole.js';
import { readRegister, segmentOf } from './operands.js';
import type { PageFault } from './page-fault.js';
import type { SingleStep, StepResult } from './single-step.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** One memory operand of an instruction, implicit ones included. */
interface Operand {
  readonly seg: number;
  readonly base: Register;
  readonly index: Register;
  readonly scale: number;
  /** As an int32. */
  readonly displacement: number;
  readonly bytes: number;
  readonly write: boolean;
}

/** An operand that hardware's limit refuses and the guest's does not. */
interface Beyond {
  readonly operand: Operand;
  readonly base: number;
  /** Of the first byte. */
  readonly linear: number;
  /** What the guest's tables say of the pages of an operand in the hole; empty elsewhere. */
  readonly pages: readonly { readonly at: number; readonly fault: Mapped }[];
}

type Mapped = Exclude<PageFault, { kind: 'true' }>;

const PLACES_MAX = 512;
const WRITES: ReadonlySet<OpAccess> = new Set([
  OpAccess.Write,
  OpAccess.CondWrite,
  OpAccess.ReadWrite,
  OpAccess.ReadCondWrite,
]);

export class BeyondLimits {
  readonly #vcpu: VirtualCpu;
  readonly #step: SingleStep;
  /** Of instructions that were carried out before, by their bytes. */
  readonly #known = new Map<string, readonly Operand[]>();

  constructor(vcpu: VirtualCpu, step: SingleStep) {
    this.#vcpu = vcpu;
    this.#step = step;
  }

  /**
   * Hardware has refused the guest instruction at its EIP, with #GP(0) or #SS(0). Undefined where the guest's own segments refuse it,
   * too: nothing was done then.
   */
  carryOut(bytes: Uint8Array): StepResult | undefined {
    const operands = this.#operandsOf(bytes);
    const beyond: Beyond[] = [];
    for (const operand of operands) {
      const found = this.#examine(operand);
      if (found === 'refused') return undefined;
      if (found === undefined) continue;
      if ('kind' in found) return found;
      beyond.push(found);
    }
    if (beyond.length === 0 || !oneForEachSegment(beyond, operands)) return undefined;
    const { thread, shadow } = this.#vcpu;
    const { s } = thread;
    const loans: Loan[] = [];
    const window: number[] = [];
    return this.#step.runWith(
      frameFor => {
        for (const { operand, base, linear, pages } of beyond) {
          const first = HOLE_WINDOW_LINEAR + window.length * PAGE_SIZE;
          for (const { at, fault } of pages) {
            const page = HOLE_WINDOW_LINEAR + window.length * PAGE_SIZE;
            shadow.mapHole(page, frameFor(fault, at), true);
            window.push(page);
          }
          const moved = pages.length === 0 ? 0 : first - (linear - (linear % PAGE_SIZE));
          const at = S.SEG + operand.seg * 4;
          const before = s.slice(at, at + 4);
          thread.setSegment(operand.seg, before[0]!, (base + moved) | 0, -1, before[3]!);
          loans.push({ seg: operand.seg, before, during: s.slice(at, at + 4) });
        }
      },
      () => {
        for (const { seg, before, during } of loans) {
          // Unless the instruction itself has loaded the register.
          if (during.some((word, i) => s[S.SEG + seg * 4 + i] !== word)) continue;
          thread.setSegment(seg, before[0]!, before[1]!, before[2]!, before[3]!);
        }
        for (const page of window) shadow.unmapHole(page);
      },
    );
  }

  /** Undefined for an operand that hardware allows, too; a true page fault where the guest maps nothing there. */
  #examine(operand: Operand): Beyond | StepResult | 'refused' | undefined {
    const vcpu = this.#vcpu;
    const { s } = vcpu.thread;
    const { seg, bytes } = operand;
    const at = S.SEG + seg * 4;
    const offset =
      (readRegister(vcpu, operand.base) + readRegister(vcpu, operand.index) * operand.scale + operand.displacement) >>>
      0;
    const attr = s[at + 3]!;
    const limit = s[at + 2]! >>> 0;
    const down = (attr & (Attr.CODE | Attr.DOWN_CONFORMING)) === Attr.DOWN_CONFORMING;
    if (down || (attr & Attr.P) === 0) return 'refused';
    if (offset + bytes - 1 <= limit) return undefined;
    const selector = s[at]!;
    if (isNull(selector)) return 'refused';
    const own = vcpu.descriptors.peek(selector);
    if (own === undefined || own.base !== s[at + 1]!) return 'refused';
    if (!roomFor(own.limit >>> 0, Attr.DB, offset, bytes)) return 'refused';
    const linear = (own.base + offset) >>> 0;
    const pages: { at: number; fault: Mapped }[] = [];
    if (linear + bytes - 1 >= vcpu.holeBase) {
      const user = s[S.CPL] === 3;
      const access = (user ? PfError.U : 0) | (operand.write ? PfError.W : 0);
      for (const at of pagesOf(linear, bytes)) {
        const fault = vcpu.shadow.classifyHole(at, access);
        if (fault.kind === 'true') return { kind: 'true', errorCode: fault.errorCode, linear: at };
        if (user) return 'refused';
        pages.push({ at, fault });
      }
    }
    return { operand, base: own.base, linear, pages };
  }

  #operandsOf(bytes: Uint8Array): readonly Operand[] {
    const key = bytes.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const operands = decodeOperands(bytes);
    if (this.#known.size >= PLACES_MAX) this.#known.clear();
    this.#known.set(key, operands);
    return operands;
  }
}

/** A segment register as it was and as one instruction sees it. */
interface Loan {
  readonly seg: number;
  readonly before: Int32Array;
  readonly during: Int32Array;
}

/** A segment register can be lent to one operand only, and no other operand may go through it meanwhile. */
const oneForEachSegment = (beyond: readonly Beyond[], all: readonly Operand[]): boolean =>
  beyond.every(({ operand }) => all.filter(({ seg }) => seg === operand.seg).length === 1);

/** An address in each page that a range touches. */
function pagesOf(linear: number, bytes: number): number[] {
  const last = linear + bytes - 1;
  const crosses = Math.floor(last / PAGE_SIZE) > Math.floor(linear / PAGE_SIZE);
  return crosses ? [linear, (last - (last % PAGE_SIZE)) >>> 0] : [linear];
}

/** Empty where the bytes are no instruction, or one whose operands cannot be told. */
function decodeOperands(bytes: Uint8Array): readonly Operand[] {
  const decoder = new Decoder(32, bytes, DECODER_OPTIONS);
  const instruction = decoder.decode();
  const operands = instruction.isInvalid ? [] : usedMemory(instruction);
  instruction.free();
  decoder.free();
  return operands;
}

function usedMemory(instruction: Instruction): readonly Operand[] {
  const factory = new InstructionInfoFactory();
  const info = factory.info(instruction);
  const operands: Operand[] = [];
  let known = true;
  for (const used of info.usedMemory()) {
    // A repeated string instruction is stepped element by element.
    const size = used.memorySize === MemorySize.Unknown ? instruction.memorySize : used.memorySize;
    const bytes = MemorySizeExt.size(size);
    const seg = segmentOf(used.segment);
    if (used.access !== OpAccess.NoMemAccess) {
      if (bytes === 0 || seg === undefined) known = false;
      else {
        operands.push({
          seg,
          base: used.base,
          index: used.index,
          scale: used.scale,
          displacement: Number(BigInt.asIntN(32, used.displacement)),
          bytes,
          write: WRITES.has(used.access),
        });
      }
    }
    used.free();
  }
  info.free();
  factory.free();
  return known ? operands : [];
}
