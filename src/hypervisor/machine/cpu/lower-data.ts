/** Lowering of moves, stack instructions and unrepeated string instructions. */
import { Code, type Instruction, Mnemonic, OpKind, Register } from 'iced-x86';
import { Op } from './ir.js';
import { ZERO } from './layout.js';
import {
  isGeneral32,
  isMemory,
  isSegment,
  type Lower,
  type Lowering,
  type Place,
  registerNumber,
  type Size,
} from './lower.js';
import { S, Seg } from './state.js';
import { NARROW_STRING, Repeat, StringKind } from './strings.js';

const mov: Lower = (low, ins) => {
  const kind0 = ins.opKind(0);
  const kind1 = ins.opKind(1);
  if (kind0 === OpKind.Register) {
    const to = ins.opRegister(0);
    if (isControl(to)) {
      return controlExists(to)
        ? low.system('writeControl', to - Register.CR0, source(ins))
        : low.system('invalidOpcode');
    }
    if (to >= Register.DR0 && to <= Register.DR15)
      return low.system('debugRegister', to - Register.DR0, source(ins), 1);
    if (isSegment(to)) {
      if (to === Register.CS) return low.system('invalidOpcode');
      const value = kind1 === OpKind.Memory ? low.load(low.place(ins), 2) : low.readRegister(ins.opRegister(1));
      return low.system('loadSegment', to - Register.ES, value, 0, 0);
    }
    if (kind1 === OpKind.Register) {
      const from = ins.opRegister(1);
      if (isControl(from)) {
        return controlExists(from)
          ? low.system('readControl', from - Register.CR0, registerNumber(to))
          : low.system('invalidOpcode');
      }
      if (from >= Register.DR0 && from <= Register.DR15) {
        return low.system('debugRegister', from - Register.DR0, registerNumber(to), 0);
      }
    }
    if (isGeneral32(to) && low.isImmediate(ins, 1)) {
      low.spend('simple');
      low.emit(Op.MOVI, registerNumber(to), low.immediate(ins, 1));
      return;
    }
    if (isGeneral32(to) && kind1 === OpKind.Memory) {
      low.spend('load');
      low.loadInto(registerNumber(to), low.place(ins), 4);
      return;
    }
    const size = low.size(ins, 0);
    if (kind1 !== OpKind.Memory) low.spend('simple');
    low.writeRegister(to, low.read(ins, 1, size));
    return;
  }
  // MOV to memory: a selector is always stored as a word.
  low.spend('store');
  const size =
    kind1 === OpKind.Register && isSegment(ins.opRegister(1)) ? 2 : low.size(ins, kind1 === OpKind.Register ? 1 : 0);
  const value = low.read(ins, 1, size);
  low.store(low.place(ins), size, value);
};

const isControl = (register: Register): boolean => register >= Register.CR0 && register <= Register.CR15;
/** CR0, CR2, CR3 and CR4; the others are invalid opcodes. */
const controlExists = (register: Register): boolean => [0, 2, 3, 4].includes(register - Register.CR0);
const source = (ins: Instruction): number => registerNumber(ins.opRegister(1));

/** MOVZX and MOVSX. */
function extend(zero: boolean): Lower {
  return (low, ins) => {
    const to = ins.opRegister(0);
    const size = low.size(ins, 1);
    const wide = isGeneral32(to);
    const result = wide ? registerNumber(to) : low.temp();
    if (isMemory(ins, 1)) {
      low.spend('load');
      const op = zero ? (size === 1 ? Op.LOAD8Z : Op.LOAD16Z) : size === 1 ? Op.LOAD8 : Op.LOAD16;
      low.loadInto(result, low.place(ins), size, op);
    } else {
      low.spend('simple');
      const from = ins.opRegister(1);
      const left = size === 2 ? 16 : from >= Register.AH && from <= Register.BH ? 16 : 24;
      low.emit(zero ? Op.ZERO_EXTEND : Op.SIGN, result, registerNumber(from), left, size === 2 ? 16 : 24);
    }
    if (!wide) low.writeRegister(to, result);
  };
}

const lea: Lower = (low, ins) => {
  low.spend('simple');
  const place = low.place(ins);
  const to = ins.opRegister(0);
  if (isGeneral32(to)) {
    low.emit(Op.LEA, registerNumber(to), 0, place.base, place.index, place.shift, place.disp);
  } else {
    low.writeRegister(to, low.address(place));
  }
};

/** XCHG with memory is locked with or without the prefix. */
const xchg: Lower = (low, ins) => {
  const size = low.size(ins, 1);
  const register = ins.opRegister(1);
  if (isMemory(ins, 0)) {
    low.spend('lockedAccess');
    const place = low.place(ins);
    const old = low.loadForStore(place, size);
    low.store(place, size, low.readRegister(register), true);
    low.writeRegister(register, old);
    return;
  }
  low.spend('simple');
  const other = ins.opRegister(0);
  const a = low.temp();
  const b = low.temp();
  low.emit(Op.MOV, a, low.readRegister(register));
  low.emit(Op.MOV, b, low.readRegister(other));
  low.writeRegister(register, b);
  low.writeRegister(other, a);
};

const bswap: Lower = (low, ins) => {
  const register = ins.opRegister(0);
  // BSWAP of a 16-bit register is undefined; processors clear it.
  low.spend('simple');
  if (isGeneral32(register)) low.emit(Op.BSWAP, registerNumber(register), registerNumber(register));
  else low.writeRegister(register, low.constant(0));
};

const xlat: Lower = (low, ins) => {
  low.spend('load');
  const index = low.temp();
  low.emit(Op.ZERO_EXTEND, index, S.EAX, 24, 24);
  const seg = ins.memorySegment - Register.ES;
  let place: Place = { seg, base: S.EBX, index, shift: 0, disp: 0 };
  if (ins.memoryBase === Register.BX) {
    place = low.indexed({ seg, base: S.EBX, index: ZERO, shift: 0, disp: 0, narrow: true }, index, 0);
  }
  const value = low.load(place, 1);
  low.emit(Op.INSERT, S.EAX, value, 0, 0xff);
};

/** Bytes that a PUSH or POP moves. */
const pushBytes = (ins: Instruction): 2 | 4 => (Math.abs(ins.stackPointerIncrement) === 2 ? 2 : 4);

const push: Lower = (low, ins) => {
  low.spend('store');
  const size = pushBytes(ins);
  low.push(low.read(ins, 0, size), size);
};

const pop: Lower = (low, ins) => {
  const size = pushBytes(ins);
  if (ins.opKind(0) === OpKind.Memory) {
    low.spend('load', 'store');
    const value = low.load(low.stackPlace(0), size);
    // The address is computed with ESP as it is after the pop (SDM vol. 2, "POP").
    const place = low.place(ins);
    low.store(place.base === S.ESP ? behindPop(low, place, size) : place, size, value);
    low.moveStack(size);
    return;
  }
  const register = ins.opRegister(0);
  const value = low.load(low.stackPlace(0), isSegment(register) ? 2 : size);
  if (isSegment(register)) return low.system('loadSegment', register - Register.ES, value, size, 0);
  low.spend('load');
  low.moveStack(size);
  low.writeRegister(register, value);
};

/** A place relative to ESP as it will be after a pop of `size` bytes. */
function behindPop(low: Lowering, place: Place, size: number): Place {
  if (!low.stack16) return { ...place, disp: (place.disp + size) | 0 };
  const sum = low.temp();
  const base = low.temp();
  low.emit(Op.LEA, sum, 0, S.ESP, ZERO, 0, size);
  low.emit(Op.MOV, base, S.ESP);
  low.emit(Op.INSERT, base, sum, 0, 0xffff);
  return { ...place, base };
}

/** PUSHA: all words relative to the ESP from before. */
function pushAll(size: 2 | 4): Lower {
  return low => {
    low.spend('pushPopAll');
    for (let register = 0; register < 8; register++) low.store(low.stackPlace(-size * (register + 1)), size, register);
    low.moveStack(-8 * size);
  };
}

/** POPA: the word for ESP is skipped. */
function popAll(size: 2 | 4): Lower {
  return low => {
    low.spend('pushPopAll');
    const values: number[] = [];
    for (let i = 0; i < 8; i++) values.push(i === 3 ? ZERO : low.load(low.stackPlace(i * size), size));
    for (let i = 0; i < 8; i++) {
      const register = 7 - i;
      if (register === S.ESP) continue;
      if (size === 4) low.emit(Op.MOV, register, values[i]!);
      else low.emit(Op.INSERT, register, values[i]!, 0, 0xffff);
    }
    low.moveStack(8 * size);
  };
}

function pushFlags(size: 2 | 4): Lower {
  return low => {
    low.checkIopl();
    low.spend('pushf');
    const image = low.temp();
    low.emit(Op.READ_FLAGS, image);
    low.push(image, size);
  };
}

function popFlags(size: 2 | 4): Lower {
  return low => {
    low.checkIopl();
    low.system('popFlags', low.load(low.stackPlace(0), size), size);
  };
}

const enter: Lower = (low, ins) => {
  const bytes = ins.immediate16;
  const level = ins.immediate8_2nd & 31;
  const size = ins.code === Code.Enterw_imm16_imm8 ? 2 : 4;
  if (level > 0 || low.stack16 || size === 2) return low.system('enter', bytes, level, size);
  low.spend('store', 'simple');
  low.store(low.stackPlace(-4), 4, S.EBP);
  const frame = low.temp();
  low.emit(Op.LEA, frame, 0, S.ESP, ZERO, 0, -4);
  low.emit(Op.MOV, S.EBP, frame);
  low.emit(Op.LEA, S.ESP, 0, frame, ZERO, 0, -bytes);
};

const leave: Lower = (low, ins) => {
  const size = ins.code === Code.Leavew ? 2 : 4;
  low.spend('load', 'simple');
  let base: number = S.EBP;
  if (low.stack16) {
    base = low.temp();
    low.emit(Op.AND_MASK, base, S.EBP, 0xffff);
  }
  const value = low.load({ seg: Seg.SS, base, index: ZERO, shift: 0, disp: 0 }, size);
  if (low.stack16) {
    const behind = low.temp();
    low.emit(Op.LEA, behind, 0, base, ZERO, 0, size);
    low.emit(Op.INSERT, S.ESP, behind, 0, 0xffff);
  } else {
    low.emit(Op.LEA, S.ESP, 0, S.EBP, ZERO, 0, size);
  }
  if (size === 4) low.emit(Op.MOV, S.EBP, value);
  else low.emit(Op.INSERT, S.EBP, value, 0, 0xffff);
};

const loadFarPointer =
  (seg: number): Lower =>
  (low, ins) => {
    const size = low.size(ins, 0);
    const place = low.place(ins);
    const offset = low.load(place, size);
    const selector = low.load({ ...place, disp: (place.disp + size) | 0 }, 2);
    const pair = registerNumber(ins.opRegister(0)) | (size === 2 ? 0x100 : 0) | (offset << 16);
    return low.system('loadSegment', seg, selector, 0, pair);
  };

/** CBW CWDE and CWD CDQ. */
const signExtendAccumulator =
  (op: (low: Lowering) => void): Lower =>
  low => {
    low.spend('simple');
    op(low);
  };

function stringInstruction(kind: number, size: Size): Lower {
  return (low, ins) => {
    const seg =
      kind === StringKind.STOS || kind === StringKind.SCAS || kind === StringKind.INS
        ? Seg.ES
        : ins.memorySegment - Register.ES;
    const repeat = ins.hasRepnePrefix ? Repeat.REPNE : ins.hasRepPrefix || ins.hasRepePrefix ? Repeat.REP : Repeat.NONE;
    const narrow = narrowAddress(ins);
    if (repeat !== Repeat.NONE || kind >= StringKind.INS) {
      return low.system('string', kind | (size << 4) | (repeat << 8) | (narrow ? NARROW_STRING : 0), seg);
    }
    const pointer = (register: number): number => {
      if (!narrow) return register;
      const cut = low.temp();
      low.emit(Op.AND_MASK, cut, register, 0xffff);
      return cut;
    };
    const from: Place = { seg, base: pointer(S.ESI), index: ZERO, shift: 0, disp: 0 };
    const to: Place = { seg: Seg.ES, base: pointer(S.EDI), index: ZERO, shift: 0, disp: 0 };
    const step = low.temp();
    const accumulator = () => {
      const temp = low.temp();
      low.emit(Op.SIGN, temp, S.EAX, 32 - size * 8, 32 - size * 8);
      return temp;
    };
    switch (kind) {
      case StringKind.MOVS:
        low.spend('load', 'store');
        low.store(to, size, low.load(from, size));
        break;
      case StringKind.STOS:
        low.spend('store');
        low.store(to, size, S.EAX);
        break;
      case StringKind.LODS: {
        low.spend('load');
        const value = low.load(from, size);
        if (size === 4) low.emit(Op.MOV, S.EAX, value);
        else low.emit(Op.INSERT, S.EAX, value, 0, size === 2 ? 0xffff : 0xff);
        break;
      }
      case StringKind.SCAS:
        low.spend('load');
        low.emit(Op.CMP, 0, accumulator(), low.load(to, size), 32 - size * 8);
        break;
      default: {
        low.spend('load', 'load');
        const left = low.load(from, size);
        low.emit(Op.CMP, 0, left, low.load(to, size), 32 - size * 8);
      }
    }
    low.emit(Op.STRING_STEP, step, size);
    const advance = (register: number) => {
      const sum = narrow ? low.temp() : register;
      low.emit(Op.LEA, sum, 0, register, step, 0, 0);
      if (narrow) low.emit(Op.INSERT, register, sum, 0, 0xffff);
    };
    if (kind === StringKind.MOVS || kind === StringKind.LODS || kind === StringKind.CMPS) advance(S.ESI);
    if (kind !== StringKind.LODS) advance(S.EDI);
  };
}

/** An address size of 16 bits: SI, DI and CX instead of ESI, EDI and ECX. */
function narrowAddress(ins: Instruction): boolean {
  for (let i = 0; i < ins.opCount; i++) {
    const kind = ins.opKind(i);
    if (kind === OpKind.MemorySegSI || kind === OpKind.MemorySegDI || kind === OpKind.MemoryESDI) return true;
  }
  return false;
}

const strings = (kind: number, byte: Mnemonic, word: Mnemonic, dword: Mnemonic) =>
  [
    [byte, stringInstruction(kind, 1)],
    [word, stringInstruction(kind, 2)],
    [dword, stringInstruction(kind, 4)],
  ] as const;

const nothing: Lower = low => low.spend('simple');

export const DATA: readonly (readonly [Mnemonic, Lower])[] = [
  [Mnemonic.Mov, mov],
  [Mnemonic.Movzx, extend(true)],
  [Mnemonic.Movsx, extend(false)],
  [Mnemonic.Lea, lea],
  [Mnemonic.Xchg, xchg],
  [Mnemonic.Bswap, bswap],
  [Mnemonic.Xlatb, xlat],
  [Mnemonic.Push, push],
  [Mnemonic.Pop, pop],
  [Mnemonic.Pushad, pushAll(4)],
  [Mnemonic.Pusha, pushAll(2)],
  [Mnemonic.Popad, popAll(4)],
  [Mnemonic.Popa, popAll(2)],
  [Mnemonic.Pushfd, pushFlags(4)],
  [Mnemonic.Pushf, pushFlags(2)],
  [Mnemonic.Popfd, popFlags(4)],
  [Mnemonic.Popf, popFlags(2)],
  [Mnemonic.Enter, enter],
  [Mnemonic.Leave, leave],
  [Mnemonic.Lds, loadFarPointer(Seg.DS)],
  [Mnemonic.Les, loadFarPointer(Seg.ES)],
  [Mnemonic.Lfs, loadFarPointer(Seg.FS)],
  [Mnemonic.Lgs, loadFarPointer(Seg.GS)],
  [Mnemonic.Lss, loadFarPointer(Seg.SS)],
  [Mnemonic.Cwde, signExtendAccumulator(low => low.emit(Op.SIGN, S.EAX, S.EAX, 16, 16))],
  [Mnemonic.Cdq, signExtendAccumulator(low => low.emit(Op.SHIFT_RIGHT_SIGNED, S.EDX, S.EAX, 31))],
  [
    Mnemonic.Cbw,
    signExtendAccumulator(low => {
      const temp = low.temp();
      low.emit(Op.SIGN, temp, S.EAX, 24, 24);
      low.emit(Op.INSERT, S.EAX, temp, 0, 0xffff);
    }),
  ],
  [
    Mnemonic.Cwd,
    signExtendAccumulator(low => {
      const temp = low.temp();
      low.emit(Op.SIGN, temp, S.EAX, 16, 31);
      low.emit(Op.INSERT, S.EDX, temp, 0, 0xffff);
    }),
  ],
  ...strings(StringKind.MOVS, Mnemonic.Movsb, Mnemonic.Movsw, Mnemonic.Movsd),
  ...strings(StringKind.STOS, Mnemonic.Stosb, Mnemonic.Stosw, Mnemonic.Stosd),
  ...strings(StringKind.LODS, Mnemonic.Lodsb, Mnemonic.Lodsw, Mnemonic.Lodsd),
  ...strings(StringKind.SCAS, Mnemonic.Scasb, Mnemonic.Scasw, Mnemonic.Scasd),
  ...strings(StringKind.CMPS, Mnemonic.Cmpsb, Mnemonic.Cmpsw, Mnemonic.Cmpsd),
  ...strings(StringKind.INS, Mnemonic.Insb, Mnemonic.Insw, Mnemonic.Insd),
  ...strings(StringKind.OUTS, Mnemonic.Outsb, Mnemonic.Outsw, Mnemonic.Outsd),
  [Mnemonic.Nop, nothing],
  [Mnemonic.Reservednop, nothing],
  [Mnemonic.Pause, nothing],
  [Mnemonic.Lfence, nothing],
  [Mnemonic.Mfence, nothing],
  [Mnemonic.Sfence, nothing],
];
