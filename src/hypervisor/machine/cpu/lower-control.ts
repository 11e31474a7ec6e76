/** Lowering of control transfers and of everything that a helper executes. */
import { Code, type Instruction, MemorySize, Mnemonic, OpKind } from 'iced-x86';
import { ExitReason } from '../vmx/exit-reasons.js';
import { Op } from './ir.js';
import { ZERO } from './layout.js';
import { conditionOf, isMemory, type Lower, type Lowering, registerNumber, registerSize } from './lower.js';
import { S } from './state.js';

/** Distance of a direct target from the block's EIP: blocks are decoded as if they began at 0. */
const target = (ins: Instruction): number => ins.nearBranch32 | 0;
const LOOP_CX = new Set<Code>([
  Code.Loop_rel8_16_CX,
  Code.Loop_rel8_32_CX,
  Code.Loope_rel8_16_CX,
  Code.Loope_rel8_32_CX,
  Code.Loopne_rel8_16_CX,
  Code.Loopne_rel8_32_CX,
]);
const backward = (low: Lowering, to: number): number => (to <= low.delta ? 1 : 0);

const jmp: Lower = (low, ins) => {
  switch (ins.opKind(0)) {
    case OpKind.NearBranch32:
      low.spend('branch');
      return low.jump(target(ins));
    case OpKind.NearBranch16:
      low.spend('branch');
      return low.end(Op.JUMP_INDIRECT, 0, narrowTarget(low, ins));
    case OpKind.FarBranch32:
      return low.system('jumpFar', low.constant(ins.farBranchSelector), low.constant(ins.farBranch32 | 0));
    case OpKind.FarBranch16:
      return low.system('jumpFar', low.constant(ins.farBranchSelector), low.constant(ins.farBranch16));
    default:
  }
  if (ins.isJmpFarIndirect) return farIndirect(low, ins, 'jumpFar');
  low.spend('indirectBranch');
  low.end(Op.JUMP_INDIRECT, 0, indirectTarget(low, ins));
};

/** Target of a direct branch with a 16-bit operand: EIP is cut to 16 bits (SDM vol. 2, "JMP"). */
function narrowTarget(low: Lowering, ins: Instruction): number {
  const to = low.temp();
  low.emit(Op.EIP, to, ins.nearBranch16);
  low.emit(Op.AND_MASK, to, to, 0xffff);
  return to;
}

/** Target of a near branch through a register or memory. */
function indirectTarget(low: Lowering, ins: Instruction): number {
  if (!narrowNear(ins)) return low.read(ins, 0, 4);
  const to = low.temp();
  low.emit(Op.AND_MASK, to, low.read(ins, 0, 2), 0xffff);
  return to;
}

/**
 * A conditional branch with a 16-bit operand: its target is no distance, since EIP is cut to 16 bits. `taken` is a word that is
 * not zero if the branch is taken.
 */
function branchNarrow(low: Lowering, to: number, taken: number): void {
  low.end(Op.BRANCH_INDIRECT, 0, to, taken);
}

/** A near indirect branch through a 16-bit operand. */
function narrowNear(ins: Instruction): boolean {
  if (!isMemory(ins, 0)) return registerSize(ins.opRegister(0)) !== 4;
  return ins.memorySize === MemorySize.WordOffset;
}

function farIndirect(low: Lowering, ins: Instruction, helper: 'jumpFar' | 'callFar'): void {
  const size = ins.memorySize === MemorySize.SegPtr16 ? 2 : 4;
  const place = low.place(ins);
  const offset = low.loadZero(place, size);
  const selector = low.load({ ...place, disp: (place.disp + size) | 0 }, 2);
  low.system(helper, selector, offset, size);
}

const jcc: Lower = (low, ins) => {
  low.spend('branch');
  if (ins.opKind(0) === OpKind.NearBranch16) {
    const taken = low.temp();
    low.emit(Op.SET_CONDITION, taken, conditionOf(ins));
    return branchNarrow(low, narrowTarget(low, ins), taken);
  }
  low.end(Op.BRANCH, target(ins), backward(low, target(ins)), conditionOf(ins));
};

const jecxz: Lower = (low, ins) => {
  low.spend('branch');
  const count = ins.mnemonic === Mnemonic.Jcxz ? low.temp() : S.ECX;
  if (count !== S.ECX) low.emit(Op.AND_MASK, count, S.ECX, 0xffff);
  if (ins.opKind(0) === OpKind.NearBranch16) {
    const taken = low.temp();
    low.emit(Op.SELECT_EQUAL, taken, count, ZERO, low.constant(1), ZERO);
    return branchNarrow(low, narrowTarget(low, ins), taken);
  }
  low.end(Op.BRANCH_IF, target(ins), backward(low, target(ins)), count, 0);
};

/** LOOP, LOOPE, LOOPNE with ECX or CX. The target is checked before the counter is written. */
const loop: Lower = (low, ins) => {
  low.spend('branch', 'simple');
  if (ins.opKind(0) === OpKind.NearBranch16) return loopNarrow(low, ins);
  low.emit(Op.CHECK_TARGET_DIRECT, target(ins));
  let count: number = S.ECX;
  if (narrowCount(ins)) {
    count = decremented(low, ins);
    low.emit(Op.INSERT, S.ECX, count, 0, 0xffff);
  } else {
    low.emit(Op.LEA, S.ECX, 0, S.ECX, ZERO, 0, -1);
  }
  if (ins.mnemonic === Mnemonic.Loop) {
    low.end(Op.BRANCH_IF, target(ins), backward(low, target(ins)), count, 1);
  } else {
    low.end(Op.BRANCH_LOOP, target(ins), backward(low, target(ins)), count, conditionOf(ins));
  }
};

/** The counter less one, in a temporary. */
function decremented(low: Lowering, ins: Instruction): number {
  const count = low.temp();
  low.emit(Op.LEA, count, 0, S.ECX, ZERO, 0, -1);
  if (narrowCount(ins)) low.emit(Op.AND_MASK, count, count, 0xffff);
  return count;
}

function loopNarrow(low: Lowering, ins: Instruction): void {
  const to = narrowTarget(low, ins);
  const count = decremented(low, ins);
  let taken = count;
  if (ins.mnemonic !== Mnemonic.Loop) {
    taken = low.temp();
    low.emit(Op.SELECT, taken, count, ZERO, conditionOf(ins));
  }
  const checked = low.temp();
  low.emit(Op.SELECT_EQUAL, checked, taken, ZERO, ZERO, to);
  low.emit(Op.CHECK_TARGET, 0, checked);
  if (narrowCount(ins)) low.emit(Op.INSERT, S.ECX, count, 0, 0xffff);
  else low.emit(Op.MOV, S.ECX, count);
  branchNarrow(low, to, taken);
}

/** LOOP whose address size is 16 bits counts in CX. */
function narrowCount(ins: Instruction): boolean {
  return LOOP_CX.has(ins.code);
}

const call: Lower = (low, ins) => {
  switch (ins.opKind(0)) {
    case OpKind.NearBranch32: {
      low.spend('call');
      low.emit(Op.CHECK_TARGET_DIRECT, target(ins));
      const back = low.temp();
      low.emit(Op.EIP, back, low.nextDelta);
      low.push(back, 4);
      return low.jump(target(ins));
    }
    case OpKind.NearBranch16:
      low.spend('call');
      return callIndirect(low, narrowTarget(low, ins), 2);
    case OpKind.FarBranch32:
      return low.system('callFar', low.constant(ins.farBranchSelector), low.constant(ins.farBranch32 | 0), 4);
    case OpKind.FarBranch16:
      return low.system('callFar', low.constant(ins.farBranchSelector), low.constant(ins.farBranch16), 2);
    default:
  }
  if (ins.isCallFarIndirect) return farIndirect(low, ins, 'callFar');
  low.spend('call');
  let to = indirectTarget(low, ins);
  if (to === S.ESP) {
    to = low.temp();
    low.emit(Op.MOV, to, S.ESP);
  }
  callIndirect(low, to, narrowNear(ins) ? 2 : 4);
};

function callIndirect(low: Lowering, to: number, size: 2 | 4): void {
  low.emit(Op.CHECK_TARGET, 0, to);
  const back = low.temp();
  low.emit(Op.EIP, back, low.nextDelta);
  low.push(back, size);
  low.end(Op.JUMP_INDIRECT, 0, to);
}

const ret: Lower = (low, ins) => {
  const release = ins.opCount > 0 ? ins.immediate16 : 0;
  const size = ins.stackPointerIncrement - release === 2 ? 2 : 4;
  low.spend('ret');
  const to = low.loadZero(low.stackPlace(0), size);
  low.emit(Op.CHECK_TARGET, 0, to);
  low.moveStack(size + release);
  low.end(Op.JUMP_INDIRECT, 0, to);
};

const retf: Lower = (low, ins) => {
  const release = ins.opCount > 0 ? ins.immediate16 : 0;
  return low.system('returnFar', release, ins.stackPointerIncrement - release === 4 ? 2 : 4);
};

const input: Lower = (low, ins) => {
  const width = registerSize(ins.opRegister(0));
  return low.system('input', width, ins.opKind(1) === OpKind.Immediate8 ? ins.immediate8 : -1);
};

const output: Lower = (low, ins) => {
  const width = registerSize(ins.opRegister(1));
  return low.system('output', width, ins.opKind(0) === OpKind.Immediate8 ? ins.immediate8 : -1);
};

const interruptReturn =
  (size: 2 | 4): Lower =>
  low => {
    low.checkIopl();
    low.system('interruptReturn', size);
  };

/** INT n. INT3 and INTO do not depend on IOPL. */
const interrupt: Lower = (low, ins) => {
  low.checkIopl();
  low.system('interrupt', ins.immediate8);
};

const descriptorTable =
  (helper: 'loadTable' | 'storeTable', which: number): Lower =>
  (low, ins) => {
    const place = low.place(ins);
    const narrow = ins.code === Code.Lgdt_m1632_16 || ins.code === Code.Lidt_m1632_16;
    return low.system(helper, which, place.seg, low.address(place), narrow ? 1 : 0);
  };

/** Instructions that real and virtual-8086 mode do not have: #UD before anything else. */
const protectedOnly =
  (lower: Lower): Lower =>
  (low, ins) => {
    low.emit(Op.CHECK_PROTECTED);
    lower(low, ins);
  };

/** SLDT, STR, SMSW. */
const systemWord =
  (which: number): Lower =>
  (low, ins) => {
    if (isMemory(ins, 0)) {
      const place = low.place(ins);
      return low.system('storeSystemWord', which, place.seg, low.address(place));
    }
    const register = ins.opRegister(0);
    return low.system('readSystemWord', which, registerNumber(register), registerSize(register));
  };

const wordOperand =
  (helper: 'loadLocalTable' | 'loadTaskRegister' | 'loadMachineStatus'): Lower =>
  (low, ins) =>
    low.system(helper, selectorOperand(low, ins, 0));

/** A 16-bit operand: loaded as a word also where the register form is wider. */
function selectorOperand(low: Lowering, ins: Instruction, operand: number): number {
  return isMemory(ins, operand) ? low.load(low.place(ins), 2) : low.readRegister(ins.opRegister(operand));
}

const describe =
  (which: number): Lower =>
  (low, ins) => {
    const register = ins.opRegister(0);
    return low.system(
      'describeSegment',
      which,
      selectorOperand(low, ins, 1),
      registerNumber(register),
      registerSize(register),
    );
  };

const verify =
  (write: number): Lower =>
  (low, ins) =>
    low.system('verifySegment', write, selectorOperand(low, ins, 0));

const arpl: Lower = (low, ins) => {
  const from = registerNumber(ins.opRegister(1));
  if (!isMemory(ins, 0)) return low.system('arplRegister', registerNumber(ins.opRegister(0)), from);
  const place = low.place(ins);
  const value = low.loadForStore(place, 2);
  return low.system('arplMemory', place.seg, low.address(place), value, from);
};

const compareExchange8: Lower = (low, ins) => {
  const place = low.place(ins);
  return low.system('compareExchange8', place.seg, low.address(place), ins.hasLockPrefix ? 1 : 0);
};

const bound: Lower = (low, ins) => {
  const place = low.place(ins);
  const register = ins.opRegister(0);
  return low.system('bound', place.seg, low.address(place), registerNumber(register), registerSize(register));
};

const invlpg: Lower = (low, ins) => {
  const place = low.place(ins);
  return low.system('invalidatePage', place.seg, low.address(place));
};

/** The instructions of VMX, of which a guest has none: what is told of them is for VMX non-root operation. */
const vmxInstruction =
  (reason: ExitReason): Lower =>
  (low, ins) => {
    const inMemory = isMemory(ins, 0) || isMemory(ins, 1);
    low.system('vmxInstruction', reason, inMemory ? Number(BigInt.asIntN(32, ins.memoryDisplacement)) : 0);
  };

/** SALC: undocumented, AL = CF ? FF : 0. */
const salc: Lower = low => {
  low.spend('simple');
  const carry = low.temp();
  low.emit(Op.SET_CONDITION, carry, 2);
  low.emit(Op.SIGN, carry, carry, 31, 31);
  low.emit(Op.INSERT, S.EAX, carry, 0, 0xff);
};

const CONDITIONAL_JUMPS = [
  Mnemonic.Jo,
  Mnemonic.Jno,
  Mnemonic.Jb,
  Mnemonic.Jae,
  Mnemonic.Je,
  Mnemonic.Jne,
  Mnemonic.Jbe,
  Mnemonic.Ja,
  Mnemonic.Js,
  Mnemonic.Jns,
  Mnemonic.Jp,
  Mnemonic.Jnp,
  Mnemonic.Jl,
  Mnemonic.Jge,
  Mnemonic.Jle,
  Mnemonic.Jg,
];

export const CONTROL: readonly (readonly [Mnemonic, Lower])[] = [
  [Mnemonic.Jmp, jmp],
  [Mnemonic.Call, call],
  [Mnemonic.Ret, ret],
  [Mnemonic.Retf, retf],
  [Mnemonic.Jecxz, jecxz],
  [Mnemonic.Jcxz, jecxz],
  [Mnemonic.Loop, loop],
  [Mnemonic.Loope, loop],
  [Mnemonic.Loopne, loop],
  [Mnemonic.Iretd, interruptReturn(4)],
  [Mnemonic.Iret, interruptReturn(2)],
  [Mnemonic.Int, interrupt],
  [Mnemonic.Int3, low => low.system('interrupt', 3)],
  [Mnemonic.Int1, low => low.system('int1')],
  [Mnemonic.Into, low => low.system('overflow')],
  [Mnemonic.Bound, bound],
  [Mnemonic.Sysenter, low => low.system('sysenter')],
  [Mnemonic.Sysexit, low => low.system('sysexit')],
  [Mnemonic.Hlt, low => low.system('halt')],
  [Mnemonic.Cli, low => low.system('clearInterrupts')],
  [Mnemonic.Sti, low => low.system('setInterrupts')],
  [Mnemonic.In, input],
  [Mnemonic.Out, output],
  [Mnemonic.Clts, low => low.system('clearTaskSwitched')],
  [Mnemonic.Lmsw, wordOperand('loadMachineStatus')],
  [Mnemonic.Lldt, protectedOnly(wordOperand('loadLocalTable'))],
  [Mnemonic.Ltr, protectedOnly(wordOperand('loadTaskRegister'))],
  [Mnemonic.Sldt, protectedOnly(systemWord(0))],
  [Mnemonic.Str, protectedOnly(systemWord(1))],
  [Mnemonic.Smsw, systemWord(2)],
  [Mnemonic.Lgdt, descriptorTable('loadTable', 0)],
  [Mnemonic.Lidt, descriptorTable('loadTable', 1)],
  [Mnemonic.Sgdt, descriptorTable('storeTable', 0)],
  [Mnemonic.Sidt, descriptorTable('storeTable', 1)],
  [Mnemonic.Lar, protectedOnly(describe(0))],
  [Mnemonic.Lsl, protectedOnly(describe(1))],
  [Mnemonic.Verr, protectedOnly(verify(0))],
  [Mnemonic.Verw, protectedOnly(verify(1))],
  [Mnemonic.Arpl, protectedOnly(arpl)],
  [Mnemonic.Invlpg, invlpg],
  [Mnemonic.Wbinvd, low => low.system('writeBack')],
  [Mnemonic.Invd, low => low.system('writeBack', 1)],
  [Mnemonic.Rdtsc, low => low.system('readTimeStamp')],
  [Mnemonic.Rdmsr, low => low.system('readMsr')],
  [Mnemonic.Wrmsr, low => low.system('writeMsr')],
  [Mnemonic.Cpuid, low => low.system('cpuid')],
  [Mnemonic.Vmcall, vmxInstruction(ExitReason.VMCALL)],
  [Mnemonic.Vmclear, vmxInstruction(ExitReason.VMCLEAR)],
  [Mnemonic.Vmlaunch, vmxInstruction(ExitReason.VMLAUNCH)],
  [Mnemonic.Vmptrld, vmxInstruction(ExitReason.VMPTRLD)],
  [Mnemonic.Vmptrst, vmxInstruction(ExitReason.VMPTRST)],
  [Mnemonic.Vmread, vmxInstruction(ExitReason.VMREAD)],
  [Mnemonic.Vmresume, vmxInstruction(ExitReason.VMRESUME)],
  [Mnemonic.Vmwrite, vmxInstruction(ExitReason.VMWRITE)],
  [Mnemonic.Vmxoff, vmxInstruction(ExitReason.VMXOFF)],
  [Mnemonic.Vmxon, vmxInstruction(ExitReason.VMXON)],
  [Mnemonic.Cmpxchg8b, compareExchange8],
  [Mnemonic.Salc, salc],
  // There are no performance counters, so every number of one is wrong.
  [Mnemonic.Rdpmc, low => low.system('generalProtection')],
  // Invalid on every processor, by definition or by encoding (a LOCK where none may be): #UD without a report.
  [Mnemonic.INVALID, low => low.system('invalidOpcode')],
  [Mnemonic.Ud0, low => low.system('invalidOpcode')],
  [Mnemonic.Ud1, low => low.system('invalidOpcode')],
  [Mnemonic.Ud2, low => low.system('invalidOpcode')],
  ...CONDITIONAL_JUMPS.map(mnemonic => [mnemonic, jcc] as const),
];
