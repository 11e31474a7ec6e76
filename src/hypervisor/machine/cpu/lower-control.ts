/** Lowering of control transfers and of everything that a helper executes. */
import { Code, type Instruction, MemorySize, Mnemonic, OpKind } from 'iced-x86';
import { Op } from './ir.js';
import { ZERO } from './layout.js';
import { conditionOf, isMemory, type Lower, type Lowering, registerNumber, registerSize } from './lower.js';
import { S } from './state.js';
import { Coprocessor } from './system.js';

/** Distance of a direct target from the block's EIP: blocks are decoded as if they began at 0. */
const target = (ins: Instruction): number => ins.nearBranch32 | 0;
const LOOP_CX = new Set<Code>([Code.Loop_rel8_32_CX, Code.Loope_rel8_32_CX, Code.Loopne_rel8_32_CX]);
const backward = (low: Lowering, to: number): number => (to <= low.delta ? 1 : 0);

const jmp: Lower = (low, ins) => {
  switch (ins.opKind(0)) {
    case OpKind.NearBranch32:
      low.spend('branch');
      return low.jump(target(ins));
    case OpKind.FarBranch32:
      return low.system('jumpFar', low.constant(ins.farBranchSelector), low.constant(ins.farBranch32 | 0));
    case OpKind.NearBranch16:
    case OpKind.FarBranch16:
      return low.system('unimplemented', Coprocessor.NONE);
    default:
  }
  if (ins.isJmpFarIndirect) return farIndirect(low, ins, 'jumpFar');
  if (narrowNear(ins)) return low.system('unimplemented', Coprocessor.NONE);
  low.spend('branch');
  const to = low.read(ins, 0, 4);
  low.end(Op.JUMP_INDIRECT, 0, to);
};

/** A near indirect branch through a 16-bit operand. Not built. */
function narrowNear(ins: Instruction): boolean {
  if (!isMemory(ins, 0)) return registerSize(ins.opRegister(0)) !== 4;
  return ins.memorySize === MemorySize.WordOffset;
}

function farIndirect(low: Lowering, ins: Instruction, helper: 'jumpFar' | 'callFar'): void {
  if (ins.memorySize === MemorySize.SegPtr16) {
    low.system('unimplemented', Coprocessor.NONE);
    return;
  }
  const place = low.place(ins);
  const offset = low.load(place, 4);
  const selector = low.load({ ...place, disp: (place.disp + 4) | 0 }, 2);
  low.system(helper, selector, offset);
}

const jcc: Lower = (low, ins) => {
  if (ins.opKind(0) !== OpKind.NearBranch32) return low.system('unimplemented', Coprocessor.NONE);
  low.spend('branch');
  low.end(Op.BRANCH, target(ins), backward(low, target(ins)), conditionOf(ins));
};

const jecxz: Lower = (low, ins) => {
  low.spend('branch');
  const count = ins.mnemonic === Mnemonic.Jcxz ? low.temp() : S.ECX;
  if (count !== S.ECX) low.emit(Op.AND_MASK, count, S.ECX, 0xffff);
  low.end(Op.BRANCH_IF, target(ins), backward(low, target(ins)), count, 0);
};

/** LOOP, LOOPE, LOOPNE with ECX. The target is checked before ECX is written. */
const loop: Lower = (low, ins) => {
  if (ins.opKind(0) !== OpKind.NearBranch32 || narrowCount(ins)) return low.system('unimplemented', Coprocessor.NONE);
  low.spend('branch', 'simple');
  low.emit(Op.CHECK_TARGET_DIRECT, target(ins));
  low.emit(Op.LEA, S.ECX, 0, S.ECX, ZERO, 0, -1);
  if (ins.mnemonic === Mnemonic.Loop) {
    low.end(Op.BRANCH_IF, target(ins), backward(low, target(ins)), S.ECX, 1);
  } else {
    low.end(Op.BRANCH_LOOP, target(ins), backward(low, target(ins)), S.ECX, conditionOf(ins));
  }
};

/** LOOP with an address-size prefix counts in CX. */
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
    case OpKind.FarBranch32:
      return low.system('callFar', low.constant(ins.farBranchSelector), low.constant(ins.farBranch32 | 0));
    case OpKind.NearBranch16:
    case OpKind.FarBranch16:
      return low.system('unimplemented', Coprocessor.NONE);
    default:
  }
  if (ins.isCallFarIndirect) return farIndirect(low, ins, 'callFar');
  if (narrowNear(ins)) return low.system('unimplemented', Coprocessor.NONE);
  low.spend('call');
  let to = low.read(ins, 0, 4);
  if (to === S.ESP) {
    to = low.temp();
    low.emit(Op.MOV, to, S.ESP);
  }
  low.emit(Op.CHECK_TARGET, 0, to);
  const back = low.temp();
  low.emit(Op.EIP, back, low.nextDelta);
  low.push(back, 4);
  low.end(Op.JUMP_INDIRECT, 0, to);
};

const ret: Lower = (low, ins) => {
  const release = ins.opCount > 0 ? ins.immediate16 : 0;
  if (ins.stackPointerIncrement - release !== 4) return low.system('unimplemented', Coprocessor.NONE);
  low.spend('ret');
  const to = low.load(low.stackPlace(0), 4);
  low.emit(Op.CHECK_TARGET, 0, to);
  low.moveStack(4 + release);
  low.end(Op.JUMP_INDIRECT, 0, to);
};

const retf: Lower = (low, ins) => {
  const release = ins.opCount > 0 ? ins.immediate16 : 0;
  if (ins.stackPointerIncrement - release !== 8) return low.system('unimplemented', Coprocessor.NONE);
  return low.system('returnFar', release);
};

const input: Lower = (low, ins) => {
  const width = registerSize(ins.opRegister(0));
  return low.system('input', width, ins.opKind(1) === OpKind.Immediate8 ? ins.immediate8 : -1);
};

const output: Lower = (low, ins) => {
  const width = registerSize(ins.opRegister(1));
  return low.system('output', width, ins.opKind(0) === OpKind.Immediate8 ? ins.immediate8 : -1);
};

const descriptorTable =
  (helper: 'loadTable' | 'storeTable', which: number): Lower =>
  (low, ins) => {
    const place = low.place(ins);
    const narrow = ins.memorySize === MemorySize.Fword6 ? 0 : 1;
    return low.system(helper, which, place.seg, low.address(place), helper === 'loadTable' ? narrow : 0);
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
  [Mnemonic.Iretd, low => low.system('interruptReturn')],
  [Mnemonic.Int, (low, ins) => low.system('interrupt', ins.immediate8)],
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
  [Mnemonic.Lldt, wordOperand('loadLocalTable')],
  [Mnemonic.Ltr, wordOperand('loadTaskRegister')],
  [Mnemonic.Sldt, systemWord(0)],
  [Mnemonic.Str, systemWord(1)],
  [Mnemonic.Smsw, systemWord(2)],
  [Mnemonic.Lgdt, descriptorTable('loadTable', 0)],
  [Mnemonic.Lidt, descriptorTable('loadTable', 1)],
  [Mnemonic.Sgdt, descriptorTable('storeTable', 0)],
  [Mnemonic.Sidt, descriptorTable('storeTable', 1)],
  [Mnemonic.Lar, describe(0)],
  [Mnemonic.Lsl, describe(1)],
  [Mnemonic.Verr, verify(0)],
  [Mnemonic.Verw, verify(1)],
  [Mnemonic.Arpl, arpl],
  [Mnemonic.Invlpg, invlpg],
  [Mnemonic.Wbinvd, low => low.system('writeBack')],
  [Mnemonic.Invd, low => low.system('writeBack')],
  [Mnemonic.Rdtsc, low => low.system('readTimeStamp')],
  [Mnemonic.Rdmsr, low => low.system('readMsr')],
  [Mnemonic.Wrmsr, low => low.system('writeMsr')],
  [Mnemonic.Cpuid, low => low.system('cpuid')],
  [Mnemonic.Cmpxchg8b, compareExchange8],
  [Mnemonic.Wait, low => low.system('unimplemented', Coprocessor.WAIT)],
  [Mnemonic.Salc, salc],
  // Invalid on every processor, by definition or by encoding (a LOCK where none may be): #UD without a report. An
  // instruction of more than 15 bytes comes here too, where hardware has #GP.
  [Mnemonic.INVALID, low => low.system('invalidOpcode')],
  [Mnemonic.Ud0, low => low.system('invalidOpcode')],
  [Mnemonic.Ud1, low => low.system('invalidOpcode')],
  [Mnemonic.Ud2, low => low.system('invalidOpcode')],
  ...CONDITIONAL_JUMPS.map(mnemonic => [mnemonic, jcc] as const),
];
