/**
 * Checks a lowered block against the rules that engines rely on: temporaries are defined before they are used, within one
 * instruction; exactly one terminator, at the end; guest registers and flags are written only after the last op of their
 * instruction that can fault.
 */
import { MARK_WORDS } from './cache-layout.js';
import type { Block } from './code-cache.js';
import { isTerminator, OP_WORDS, Op } from './ir.js';
import { TEMPS, ZERO } from './layout.js';
import { S } from './state.js';

export interface OpShape {
  /** Positions of argument words that name state words: read, written. */
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  readonly faults: boolean;
  readonly flags: boolean;
}

const NAMES = new Map<number, string>(Object.entries(Op).map(([name, op]) => [op, name]));
const shapes = new Map<number, OpShape>();
function shape(names: readonly (keyof typeof Op)[], reads: number[], writes: number[], faults = false, flags = false) {
  for (const name of names) shapes.set(Op[name], { reads, writes, faults, flags });
}

shape(['MOV', 'SIGN', 'ZERO_EXTEND', 'NOT', 'BSWAP', 'AND_MASK', 'SHIFT_RIGHT_SIGNED'], [2], [1]);
shape(['MOVI', 'EIP', 'SELECTOR', 'STRING_STEP', 'READ_FLAGS', 'SET_CONDITION'], [], [1]);
shape(['INSERT'], [1, 2], [1]);
shape(['LEA'], [3, 4], [1]);
shape(['SELECT'], [2, 3], [1]);
shape(['SELECT_EQUAL'], [2, 3, 4, 5], [1]);
shape(['LOAD32', 'LOAD16', 'LOAD8', 'LOAD16Z', 'LOAD8Z', 'LOAD_FOR_STORE'], [3, 4], [1], true);
shape(['STORE32', 'STORE16', 'STORE8'], [1, 3, 4], [], true);
shape(['STORE_CHECKED'], [1, 3, 4], []);
shape(
  ['ADD32', 'SUB32', 'AND32', 'OR32', 'XOR32', 'ADD', 'SUB', 'ADC', 'SBB', 'AND', 'OR', 'XOR'],
  [2, 3],
  [1],
  false,
  true,
);
shape(['ADD32I', 'SUB32I', 'AND32I', 'OR32I', 'XOR32I', 'INC32', 'DEC32', 'INC', 'DEC', 'NEG'], [2], [1], false, true);
shape(['SHL32I', 'SHR32I', 'SAR32I'], [2], [1], false, true);
shape(['CMP32', 'TEST32', 'CMP', 'TEST'], [2, 3], [], false, true);
shape(['CMP32I', 'TEST32I'], [2], [], false, true);
shape(['SHL', 'SHR', 'SAR', 'ROL', 'ROR', 'RCL', 'RCR', 'IMUL', 'BIT', 'BSF', 'BSR'], [2, 3], [1], false, true);
shape(['SHLD', 'SHRD'], [2, 3, 5], [1], false, true);
shape(['MULTIPLY'], [2], [], false, true);
shape(['DIVIDE'], [2], [], true, true);
shape(['CARRY', 'SAHF'], [], [], false, true);
shape(['DIRECTION', 'LAHF'], [], []);
shape(['DECIMAL'], [], [], true, true);
// A helper writes registers and flags by itself, after nothing of it can fault any more.
shape(['HELPER'], [], [], true, true);
shape(['CHECK_TARGET'], [2], [], true);
shape(['CHECK_IOPL', 'CHECK_PROTECTED', 'CHECK_TARGET_DIRECT', 'FETCH_NEXT_PAGE'], [], [], true);
// The target checks of terminators are repeated by CHECK ops wherever something was committed before them.
shape(['JUMP', 'NEXT', 'CUT', 'SYSTEM'], [], []);
shape(['BRANCH'], [], []);
shape(['BRANCH_IF', 'BRANCH_LOOP'], [3], []);
shape(['JUMP_INDIRECT'], [2], []);
shape(['BRANCH_INDIRECT'], [2, 3], []);

/** Which argument words of an op name state words, and what else the op touches. */
export function opShape(op: number): OpShape {
  const shape = shapes.get(op);
  if (shape === undefined) throw new Error(`op ${op} has no shape`);
  return shape;
}

/** One line for each rule that the block breaks; empty for a good block. */
export function verify(block: Block, code: Int32Array): string[] {
  const findings: string[] = [];
  let at = block.start;
  for (let i = 0; i < block.instructions; i++) {
    const last = i === block.instructions - 1;
    const begin = code[block.marks + i * MARK_WORDS]!;
    const end = last ? block.marks : code[block.marks + (i + 1) * MARK_WORDS]!;
    if (begin !== at) findings.push(`instruction ${i} begins at op ${begin}, not ${at}`);
    const defined = new Set<number>();
    let committed: string | undefined;
    for (at = begin; at < end; at += OP_WORDS) {
      const op = code[at]!;
      const name = NAMES.get(op) ?? `${op}`;
      const where = `instruction ${i}: ${name}`;
      const form = shapes.get(op);
      if (form === undefined) {
        findings.push(`${where} is no op`);
        continue;
      }
      const final = last && at + OP_WORDS === end;
      if (isTerminator(op) !== final) findings.push(`${where} ${final ? 'does not end' : 'ends'} the block`);
      for (const position of form.reads) {
        const word = code[at + position]!;
        if (isTemp(word) && !defined.has(word)) findings.push(`${where} reads an undefined temporary`);
        if (!isTemp(word) && word !== ZERO && !isGeneral(word)) findings.push(`${where} reads word ${word}`);
      }
      if (form.faults && committed !== undefined) findings.push(`${where} can fault after ${committed}`);
      for (const position of form.writes) {
        const word = code[at + position]!;
        if (isTemp(word)) defined.add(word);
        else if (isGeneral(word)) committed = name;
        else findings.push(`${where} writes word ${word}`);
      }
      if (form.flags) committed ??= name;
    }
  }
  return findings;
}

const isTemp = (word: number): boolean => word >= S.TEMP && word < S.TEMP + TEMPS;
const isGeneral = (word: number): boolean => word >= S.EAX && word <= S.EDI;
