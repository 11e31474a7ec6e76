/**
 * The intermediate representation: what an instruction means, said once. The interpreter executes it, a compiler may
 * translate it.
 *
 * An op is eight words: its number and up to seven arguments. Arguments named `d`, `a`, `b` are word indices into
 * `Context.s` (guest registers 0..7, `ZERO`, temporaries); all others are constants. Values are 32-bit words; 8- and 16-bit
 * quantities that feed flag-setting operations are sign-extended (`flags.ts` says why).
 *
 * Memory ops: `[op, d, seg, base, index, shift, disp]`, address = base + (index << shift) + disp.
 * Blocks are position-independent: `S.EIP` holds the EIP of the block's start while it runs, and every code address is a
 * distance from it.
 *
 * The interpreter changes guest registers and flags only in ops after the last one of the instruction that can fault
 * (`verify.ts` checks it). A `STORE_CHECKED` follows a `LOAD_FOR_STORE` of the same address and so cannot fault.
 */
export const OP_WORDS = 8;

export const Op = {
  // data movement
  MOV: 0, // d a
  MOVI: 1, // d imm
  SIGN: 2, // d a left right: (a << left) >> right
  ZERO_EXTEND: 3, // d a left right: (a << left) >>> right
  INSERT: 4, // d a shift mask: d = d & ~(mask << shift) | (a & mask) << shift
  LEA: 5, // d - base index shift disp
  EIP: 6, // d delta: EIP of block start + delta
  SELECTOR: 7, // d seg
  SELECT: 8, // d a b cc: condition ? a : b
  SELECT_EQUAL: 9, // d x y a b: x == y ? a : b
  NOT: 10, // d a
  BSWAP: 11, // d a
  AND_MASK: 12, // d a imm: no flags
  SHIFT_RIGHT_SIGNED: 13, // d a count: no flags
  STRING_STEP: 14, // d size: DF ? -size : size
  CHECK_IOPL: 26, // faults with #GP(0) in virtual-8086 mode with an IOPL below 3
  CHECK_PROTECTED: 15, // faults with #UD in real and virtual-8086 mode
  // memory
  LOAD32: 16,
  LOAD16: 17, // sign-extended
  LOAD8: 18, // sign-extended
  LOAD16Z: 19,
  LOAD8Z: 20,
  STORE32: 21, // d is the value
  STORE16: 22,
  STORE8: 23,
  LOAD_FOR_STORE: 24, // as LOADn; size in the last word; sign-extended
  STORE_CHECKED: 25, // as STOREn; size in the last word; cannot fault
  // flag-setting arithmetic, 32 bits
  ADD32: 28, // d a b
  ADD32I: 29, // d a imm
  SUB32: 30,
  SUB32I: 31,
  CMP32: 32, // - a b
  CMP32I: 33, // - a imm
  AND32: 34,
  AND32I: 35,
  OR32: 36,
  OR32I: 37,
  XOR32: 38,
  XOR32I: 39,
  TEST32: 40, // - a b
  TEST32I: 41, // - a imm
  INC32: 42, // d a
  DEC32: 43, // d a
  SHL32I: 44, // d a count (1..31)
  SHR32I: 45,
  SAR32I: 46,
  // flag-setting arithmetic, any size: last argument is 32 - bits
  ADD: 48, // d a b up
  SUB: 49,
  CMP: 50, // - a b: operands sign-extended, size is of no matter
  ADC: 51,
  SBB: 52,
  AND: 53, // d a b: operands sign-extended
  OR: 54,
  XOR: 55,
  TEST: 56, // - a b
  INC: 57, // d a - up
  DEC: 58, // d a - up
  NEG: 59, // d a - up
  SHL: 60, // d a b up: count in b
  SHR: 61,
  SAR: 62,
  ROL: 63,
  ROR: 64,
  RCL: 65,
  RCR: 66,
  SHLD: 67, // d a b up c: a:b shifted by c
  SHRD: 68,
  IMUL: 69, // d a b up: truncated
  MULTIPLY: 70, // - a - up signed: accumulator times a, into AX, DX:AX or EDX:EAX
  DIVIDE: 71, // - a - up signed: can fault
  BIT: 72, // d a b up kind: bit b mod size of a into CF; kind 0 test, 1 set, 2 reset, 3 complement
  BSF: 73, // d a b up: b keeps its value in d where a is zero
  BSR: 74,
  SET_CONDITION: 75, // d cc
  // flags as data
  CARRY: 76, // kind: 0 clear, 1 set, 2 complement
  DIRECTION: 77, // value
  LAHF: 78,
  SAHF: 79,
  READ_FLAGS: 80, // d: EFLAGS as PUSHF stores it
  DECIMAL: 81, // kind argument: DAA DAS AAA AAS AAM AAD; AAM 0 faults
  CHECK_TARGET: 82, // - a: faults with #GP(0) if a is beyond the code segment's limit
  CHECK_TARGET_DIRECT: 83, // delta
  FETCH_NEXT_PAGE: 84, // machine page: the instruction continues on the next linear page, decoded from this machine page
  HELPER: 85, // helper a b c d: the last op of its instruction; `inline-helpers.ts` says what it may do
  // terminators
  JUMP: 88, // delta backward
  BRANCH: 89, // delta backward cc
  BRANCH_IF: 90, // delta backward a wanted: taken if (a != 0) == wanted
  BRANCH_LOOP: 91, // delta backward a cc: taken if a != 0 and condition cc
  JUMP_INDIRECT: 92, // - a
  NEXT: 93, // delta: the block ends without a branch
  SYSTEM: 94, // helper a b c d delta length
  BRANCH_INDIRECT: 96, // - a b: taken to a if b is not 0; else the block ends without a branch
  STEP: 97, // behind the ops of a template that is executed where it lies: on to the next instruction
  CUT: 95, // delta cycles instructions: written over a block that its own store has invalidated
} as const;

export const isTerminator = (op: number): boolean => op >= Op.JUMP;

/** Kinds of `DECIMAL`. */
export const Decimal = { DAA: 0, DAS: 1, AAA: 2, AAS: 3, AAM: 4, AAD: 5 } as const;
