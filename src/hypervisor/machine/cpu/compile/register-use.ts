/** Which registers and flags a region touches: what it loads on entry and stores on leaving. */
import { OP_WORDS, Op } from '../ir.js';
import { S } from '../state.js';
import { opShape } from '../verify.js';
import { inlineRegisters } from './emit-system.js';
import { isGeneric, isNarrowArithmetic } from './op-facts.js';
import type { Node } from './region-plan.js';

export interface Usage {
  /** Bit masks of registers 0..7. A register that is written is used too: some path may leave without writing it. */
  readonly used: number;
  readonly written: number;
  readonly writesFlags: boolean;
}

export function usage(code: Int32Array, nodes: readonly Node[]): Usage {
  let used = 0;
  let written = 0;
  let writesFlags = false;
  const note = (word: number) => (word < 8 ? 1 << word : 0);
  for (const { block } of nodes) {
    for (let at = block.start; at < block.marks; at += OP_WORDS) {
      const op = code[at]!;
      const shape = opShape(op);
      if (op === Op.SYSTEM) written |= inlineRegisters(code, at);
      for (const position of shape.reads) used |= note(code[at + position]!);
      const spilled = isGeneric(op) || isNarrowArithmetic(op, code[at + 4]!);
      if (spilled) {
        // The op works on the state words; afterwards the locals are loaded again, and only temporaries are written natively.
        for (const position of shape.writes) used |= note(code[at + position]!);
        continue;
      }
      for (const position of shape.writes) written |= note(code[at + position]!);
      if (op === Op.MULTIPLY || op === Op.DIVIDE) {
        written |= (1 << S.EAX) | (1 << S.EDX);
      }
      if (shape.flags) writesFlags = true;
    }
  }
  return { used: used | written, written, writesFlags };
}
