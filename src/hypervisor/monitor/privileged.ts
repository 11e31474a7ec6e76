/**
 * Privileged and sensitive instructions on the virtual CPU: what BT callouts and VMI traps have in common. `emulate` decodes
 * and dispatches; the parts that a caller may want with operands of its own are exported from here too.
 *
 * All need the guest out (captured). Semantics are those of the processor (`machine/cpu/system.ts`, `far.ts`) at the guest's
 * own privilege level. Nothing is changed by an instruction that faults.
 */
import { Mnemonic, OpKind, Register } from 'iced-x86';
import { Attr, Cr0, Cr4, Flag, S, Seg, Vector } from '../machine/cpu/state.js';
import { debugRegisterIndex, readDebugRegister, writeDebugRegister } from './debug-registers.js';
import type { Decoded } from './decoded.js';
import { type Effect, HALT, JUMPED, NEXT } from './effect.js';
import { callFar, iret, jumpFar, returnFar, sysenter, sysexit } from './far-transfer.js';
import { fault, type GuestFault, isFault } from './guest-fault.js';
import type { Width } from './guest-memory.js';
import { dplOf, isNull, moveStack, peekStack, push } from './guest-segments.js';
import { deliver, type Event } from './inject.js';
import {
  addressOf,
  decodeAt,
  linearOf,
  load,
  numberIn,
  readOperand,
  readRegister,
  segmentOf,
  store,
  writeRegister,
  writeWordOperand,
} from './operands.js';
import { portIn, portOut, stringPort } from './port-access.js';
import {
  loadLocalTable,
  loadMachineStatus,
  loadSegment,
  loadTaskRegister,
  popFlags,
  readControlRegister,
  readMsr,
  setInterruptFlag,
  splitCycles,
  writeControlRegister,
  writeMsr,
} from './system-registers.js';
import type { VirtualCpu } from './virtual-cpu.js';

export type { Effect } from './effect.js';
export { iret, sysenter, sysexit } from './far-transfer.js';
export { loadSegment, popFlags, setInterruptFlag, writeControlRegister } from './system-registers.js';

const gp = (code = 0): GuestFault => fault(Vector.GP, code);
const effectOf = (broken: GuestFault | undefined): Effect => broken ?? NEXT;
const isKernel = (vcpu: VirtualCpu): boolean => vcpu.cpl === vcpu.kernelCpl;

type Handler = (vcpu: VirtualCpu, instruction: Decoded) => Effect | undefined;

/** The handler runs only at the guest's kernel level; else #GP(0). */
const privileged =
  (handler: Handler): Handler =>
  (vcpu, instruction) =>
    isKernel(vcpu) ? handler(vcpu, instruction) : gp();

const behind = (vcpu: VirtualCpu, instruction: Decoded): number => (vcpu.eip + instruction.length) | 0;

function delivered(vcpu: VirtualCpu, event: Event): Effect {
  const delivery = deliver(vcpu, event);
  return delivery.kind === 'stopped' ? delivery : JUMPED;
}

/** INT n, INT3, INTO: EIP moves behind the instruction and the event goes through the guest's IDT. */
function softwareInterrupt(vcpu: VirtualCpu, instruction: Decoded, vector: number): Effect {
  vcpu.eip = behind(vcpu, instruction);
  return delivered(vcpu, { kind: 'software', vector, instructionBytes: instruction.length });
}

/** INT1: a debug exception behind the instruction, whatever the gate's privilege level (SDM vol. 2, "INT n"). */
function int1(vcpu: VirtualCpu, instruction: Decoded): Effect {
  vcpu.eip = behind(vcpu, instruction);
  return delivered(vcpu, { kind: 'exception', vector: Vector.DB });
}

function mov(vcpu: VirtualCpu, instruction: Decoded): Effect | undefined {
  const { op0Register: to, op1Register: from } = instruction;
  const toSegment = segmentOf(to);
  if (toSegment !== undefined) {
    if (toSegment === Seg.CS) return fault(Vector.UD);
    const selector = readOperand(vcpu, instruction, 1, 2);
    return isFault(selector) ? selector : effectOf(loadSegment(vcpu, toSegment, selector));
  }
  const fromSegment = segmentOf(from);
  if (fromSegment !== undefined) {
    return effectOf(writeWordOperand(vcpu, instruction, 0, vcpu.selector(fromSegment) & 0xffff));
  }
  if (to >= Register.CR0 && to <= Register.CR4) {
    return isKernel(vcpu) ? writeControlRegister(vcpu, numberIn(to, Register.CR0), readRegister(vcpu, from) | 0) : gp();
  }
  if (from >= Register.CR0 && from <= Register.CR4) {
    if (!isKernel(vcpu)) return gp();
    writeRegister(vcpu, to, readControlRegister(vcpu, numberIn(from, Register.CR0)));
    return NEXT;
  }
  const writes = to >= Register.DR0 && to <= Register.DR7;
  if (!writes && !(from >= Register.DR0 && from <= Register.DR7)) return undefined;
  if (!isKernel(vcpu)) return gp();
  const index = debugRegisterIndex(vcpu, numberIn(writes ? to : from, Register.DR0));
  if (isFault(index)) return index;
  if (writes) writeDebugRegister(vcpu, index, readRegister(vcpu, from) | 0);
  else writeRegister(vcpu, to, readDebugRegister(vcpu, index));
  return NEXT;
}

/** LGDT and LIDT. */
function loadTable(vcpu: VirtualCpu, instruction: Decoded, which: 'gdt' | 'idt'): Effect {
  const { seg, offset } = addressOf(vcpu, instruction);
  const limit = load(vcpu, seg, offset, 2);
  if (isFault(limit)) return limit;
  const base = load(vcpu, seg, (offset + 2) | 0, 4);
  if (isFault(base)) return base;
  if (which === 'idt') {
    vcpu.idtBase = base | 0;
    vcpu.idtLimit = limit;
  } else {
    vcpu.gdtBase = base | 0;
    vcpu.gdtLimit = limit;
    vcpu.descriptors.setGdt(vcpu.watchesDescriptors);
  }
  return NEXT;
}

/** SGDT and SIDT. */
function storeTable(vcpu: VirtualCpu, instruction: Decoded, limit: number, base: number): Effect {
  const { seg, offset } = addressOf(vcpu, instruction);
  const last = linearOf(vcpu, seg, (offset + 2) | 0, 4, true);
  if (isFault(last)) return last;
  const unmapped = vcpu.memory.translate((last + 3) >>> 0, true, vcpu.isUser);
  if (isFault(unmapped)) return unmapped;
  return store(vcpu, seg, offset, 2, limit & 0xffff) ?? effectOf(store(vcpu, seg, (offset + 2) | 0, 4, base));
}

/** PUSH and POP of segment registers; with 16-bit operands the stack moves by 2. */
function pushSegment(vcpu: VirtualCpu, instruction: Decoded): Effect | undefined {
  const seg = segmentOf(instruction.op0Register);
  if (instruction.op0Kind !== OpKind.Register || seg === undefined) return undefined;
  const width = instruction.stackPointerIncrement === -2 ? 2 : 4;
  return effectOf(push(vcpu, width, vcpu.selector(seg) & 0xffff));
}

function popSegment(vcpu: VirtualCpu, instruction: Decoded): Effect | undefined {
  const seg = segmentOf(instruction.op0Register);
  if (instruction.op0Kind !== OpKind.Register || seg === undefined) return undefined;
  const width = instruction.stackPointerIncrement === 2 ? 2 : 4;
  const selector = peekStack(vcpu, 0, 2);
  if (isFault(selector)) return selector;
  const before = vcpu.esp;
  // ESP moves by the size of the old stack segment: POP SS may change it.
  moveStack(vcpu, width);
  const broken = loadSegment(vcpu, seg, selector);
  if (broken !== undefined) vcpu.esp = before;
  return effectOf(broken);
}

/** LDS, LES, LFS, LGS, LSS. */
const loadPair =
  (seg: number): Handler =>
  (vcpu, instruction) => {
    const bytes: Width = instruction.op0Register >= Register.EAX ? 4 : 2;
    const at = addressOf(vcpu, instruction);
    const offset = load(vcpu, at.seg, at.offset, bytes);
    if (isFault(offset)) return offset;
    const selector = load(vcpu, at.seg, (at.offset + bytes) | 0, 2);
    if (isFault(selector)) return selector;
    const broken = loadSegment(vcpu, seg, selector);
    if (broken !== undefined) return broken;
    writeRegister(vcpu, instruction.op0Register, offset);
    // Unlike MOV and POP, LSS is one instruction for both halves and needs no shadow.
    if (seg === Seg.SS) vcpu.interruptShadow = false;
    return NEXT;
  };

function pushFlags(vcpu: VirtualCpu, width: 2 | 4): Effect {
  return effectOf(push(vcpu, width, vcpu.eflags & ~(Flag.RF | Flag.VM)));
}

function popFlagsFrom(vcpu: VirtualCpu, width: 2 | 4): Effect {
  const image = peekStack(vcpu, 0, width);
  if (isFault(image)) return image;
  moveStack(vcpu, width);
  popFlags(vcpu, image | 0, width);
  return NEXT;
}

/** Direct and indirect far CALL and JMP; near forms are no business of the monitor. */
function farBranch(vcpu: VirtualCpu, instruction: Decoded, call: boolean): Effect | undefined {
  let selector: number | GuestFault;
  let offset: number | GuestFault;
  if (instruction.op0Kind === OpKind.FarBranch32) {
    selector = instruction.farBranchSelector;
    offset = instruction.farBranch32;
  } else if (
    instruction.op0Kind === OpKind.Memory &&
    (call ? instruction.isCallFarIndirect : instruction.isJmpFarIndirect)
  ) {
    const at = addressOf(vcpu, instruction);
    offset = load(vcpu, at.seg, at.offset, 4);
    if (isFault(offset)) return offset;
    selector = load(vcpu, at.seg, (at.offset + 4) | 0, 2);
    if (isFault(selector)) return selector;
  } else {
    return undefined;
  }
  return (call ? callFar : jumpFar)(vcpu, selector, offset, behind(vcpu, instruction));
}

const LAR_TYPES = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12);
const LSL_TYPES = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 9) | (1 << 11);

type Question = 'lar' | 'lsl' | 'verr' | 'verw';

/** LAR, LSL, VERR, VERW: they read descriptors without trapping, and must see the guest's, not the monitor's. */
const ask =
  (question: Question): Handler =>
  (vcpu, instruction) => {
    const writes = question === 'lar' || question === 'lsl';
    const selector = readOperand(vcpu, instruction, writes ? 1 : 0, 2);
    if (isFault(selector)) return selector;
    const found = isNull(selector) ? undefined : vcpu.descriptors.read(selector);
    if (isFault(found)) return found;
    const good = found !== undefined && answers(vcpu, question, selector, found.attr);
    if (good && writes) {
      writeRegister(vcpu, instruction.op0Register, question === 'lar' ? found.high & 0x00f0ff00 : found.limit);
    }
    vcpu.eflags = good ? vcpu.eflags | Flag.ZF : vcpu.eflags & ~Flag.ZF;
    return NEXT;
  };

function answers(vcpu: VirtualCpu, question: Question, selector: number, attr: number): boolean {
  const isSegment = (attr & Attr.S) !== 0;
  const isCode = isSegment && (attr & Attr.CODE) !== 0;
  const conforming = isCode && (attr & Attr.DOWN_CONFORMING) !== 0;
  const dpl = dplOf(vcpu, attr);
  if (!conforming && (dpl < vcpu.cpl || dpl < (selector & 3))) return false;
  const right = (attr & Attr.WRITE_READ) !== 0;
  if (question === 'verr') return isSegment && (!isCode || right);
  if (question === 'verw') return isSegment && !isCode && right;
  return isSegment || (((question === 'lar' ? LAR_TYPES : LSL_TYPES) >>> (attr & 15)) & 1) !== 0;
}

/** CPUID, as the virtual processor answers it. */
export function cpuid(vcpu: VirtualCpu): Effect {
  const s = vcpu.thread.s;
  const [a, b, c, d] = vcpu.vm.cpuid(s[S.EAX]! >>> 0, s[S.ECX]! >>> 0);
  s[S.EAX] = a;
  s[S.EBX] = b;
  s[S.ECX] = c;
  s[S.EDX] = d;
  return NEXT;
}

function readTimeStamp(vcpu: VirtualCpu): Effect {
  if ((vcpu.cr4 & Cr4.TSD) !== 0 && !isKernel(vcpu)) return gp();
  const [low, high] = splitCycles(vcpu.timeStamp);
  vcpu.thread.s[S.EAX] = low;
  vcpu.thread.s[S.EDX] = high;
  return NEXT;
}

/** Port operand of IN and OUT: an immediate or DX. */
function portOf(vcpu: VirtualCpu, instruction: Decoded, kind: OpKind): number {
  return kind === OpKind.Register ? vcpu.thread.s[S.EDX]! & 0xffff : instruction.immediate8;
}

const widthOf = (register: Register): Width => (register === Register.AL ? 1 : register === Register.AX ? 2 : 4);

const strings = (input: boolean, width: Width): Handler => {
  return (vcpu, instruction) => {
    const seg = segmentOf(instruction.memorySegment) ?? Seg.DS;
    return stringPort(vcpu, input, width, seg, instruction.hasRepeatPrefix);
  };
};

const selectorLoad =
  (loader: (vcpu: VirtualCpu, selector: number) => GuestFault | undefined): Handler =>
  (vcpu, instruction) => {
    const selector = readOperand(vcpu, instruction, 0, 2);
    return isFault(selector) ? selector : effectOf(loader(vcpu, selector));
  };

const leave = (vcpu: VirtualCpu, instruction: Decoded): Effect =>
  returnFar(vcpu, instruction.opCount === 0 ? 0 : instruction.immediate16);

/** Every instruction that the monitor can carry out, by mnemonic. */
const HANDLERS: ReadonlyMap<Mnemonic, Handler> = new Map<Mnemonic, Handler>([
  [Mnemonic.Mov, mov],
  [Mnemonic.Lgdt, privileged((vcpu, i) => loadTable(vcpu, i, 'gdt'))],
  [Mnemonic.Lidt, privileged((vcpu, i) => loadTable(vcpu, i, 'idt'))],
  [Mnemonic.Sgdt, (vcpu, i) => storeTable(vcpu, i, vcpu.gdtLimit, vcpu.gdtBase)],
  [Mnemonic.Sidt, (vcpu, i) => storeTable(vcpu, i, vcpu.idtLimit, vcpu.idtBase)],
  [Mnemonic.Lldt, privileged(selectorLoad((vcpu, s) => loadLocalTable(vcpu, s, vcpu.watchesDescriptors)))],
  [Mnemonic.Ltr, privileged(selectorLoad(loadTaskRegister))],
  [Mnemonic.Sldt, (vcpu, i) => effectOf(writeWordOperand(vcpu, i, 0, vcpu.selector(Seg.LDTR) & 0xffff))],
  [Mnemonic.Str, (vcpu, i) => effectOf(writeWordOperand(vcpu, i, 0, vcpu.selector(Seg.TR) & 0xffff))],
  [
    Mnemonic.Smsw,
    (vcpu, i) => {
      const wide = i.op0Kind === OpKind.Register;
      return effectOf(writeWordOperand(vcpu, i, 0, wide ? vcpu.cr0 : vcpu.cr0 & 0xffff));
    },
  ],
  [
    Mnemonic.Lmsw,
    privileged((vcpu, i) => {
      const value = readOperand(vcpu, i, 0, 2);
      return isFault(value) ? value : loadMachineStatus(vcpu, value);
    }),
  ],
  [Mnemonic.Clts, privileged(vcpu => writeControlRegister(vcpu, 0, vcpu.cr0 & ~Cr0.TS))],
  [
    Mnemonic.Invlpg,
    privileged((vcpu, i) => {
      const { seg, offset } = addressOf(vcpu, i);
      vcpu.shadow.invalidatePage((vcpu.base(seg) + offset) >>> 0);
      return NEXT;
    }),
  ],
  [Mnemonic.Wbinvd, privileged(() => NEXT)],
  [Mnemonic.Invd, privileged(() => NEXT)],
  [Mnemonic.Rdmsr, privileged(readMsr)],
  [Mnemonic.Wrmsr, privileged(writeMsr)],
  [Mnemonic.Cpuid, cpuid],
  [Mnemonic.Rdtsc, readTimeStamp],
  [Mnemonic.In, (vcpu, i) => portIn(vcpu, portOf(vcpu, i, i.op1Kind), widthOf(i.op0Register))],
  [Mnemonic.Out, (vcpu, i) => portOut(vcpu, portOf(vcpu, i, i.op0Kind), widthOf(i.op1Register))],
  [Mnemonic.Insb, strings(true, 1)],
  [Mnemonic.Insw, strings(true, 2)],
  [Mnemonic.Insd, strings(true, 4)],
  [Mnemonic.Outsb, strings(false, 1)],
  [Mnemonic.Outsw, strings(false, 2)],
  [Mnemonic.Outsd, strings(false, 4)],
  [Mnemonic.Hlt, privileged(() => HALT)],
  [Mnemonic.Cli, vcpu => setInterruptFlag(vcpu, false)],
  [Mnemonic.Sti, vcpu => setInterruptFlag(vcpu, true)],
  [Mnemonic.Pushfd, vcpu => pushFlags(vcpu, 4)],
  [Mnemonic.Pushf, vcpu => pushFlags(vcpu, 2)],
  [Mnemonic.Popfd, vcpu => popFlagsFrom(vcpu, 4)],
  [Mnemonic.Popf, vcpu => popFlagsFrom(vcpu, 2)],
  [Mnemonic.Iretd, (vcpu, i) => iret(vcpu, behind(vcpu, i))],
  [Mnemonic.Sysenter, vcpu => sysenter(vcpu)],
  [Mnemonic.Sysexit, vcpu => sysexit(vcpu)],
  [Mnemonic.Push, pushSegment],
  [Mnemonic.Pop, popSegment],
  [Mnemonic.Lds, loadPair(Seg.DS)],
  [Mnemonic.Les, loadPair(Seg.ES)],
  [Mnemonic.Lfs, loadPair(Seg.FS)],
  [Mnemonic.Lgs, loadPair(Seg.GS)],
  [Mnemonic.Lss, loadPair(Seg.SS)],
  [Mnemonic.Call, (vcpu, i) => farBranch(vcpu, i, true)],
  [Mnemonic.Jmp, (vcpu, i) => farBranch(vcpu, i, false)],
  [Mnemonic.Retf, leave],
  [Mnemonic.Int, (vcpu, i) => softwareInterrupt(vcpu, i, i.immediate8)],
  [Mnemonic.Int1, int1],
  [Mnemonic.Int3, (vcpu, i) => softwareInterrupt(vcpu, i, Vector.BP)],
  [Mnemonic.Into, (vcpu, i) => ((vcpu.eflags & Flag.OF) !== 0 ? softwareInterrupt(vcpu, i, Vector.OF) : NEXT)],
  [Mnemonic.Lar, ask('lar')],
  [Mnemonic.Lsl, ask('lsl')],
  [Mnemonic.Verr, ask('verr')],
  [Mnemonic.Verw, ask('verw')],
]);

/**
 * Decodes the instruction at `vcpu.eip` and carries it out if it is one of those that this file knows; undefined if not. Moves
 * EIP. Charges `decode` and `emulate`, plus what the instruction does. Faults are returned, not delivered.
 */
export function emulate(vcpu: VirtualCpu): Effect | undefined {
  const instruction = decodeAt(vcpu);
  if (isFault(instruction)) return instruction;
  return emulateDecoded(vcpu, instruction);
}

/** As `emulate`, for an instruction at `vcpu.eip` that the caller has decoded. Charges `emulate` and what the instruction does. */
export function emulateDecoded(vcpu: VirtualCpu, instruction: Decoded): Effect | undefined {
  if (HANDLERS.has(instruction.mnemonic)) vcpu.thread.charge(vcpu.costs.emulate);
  return performDecoded(vcpu, instruction);
}

/** As `emulateDecoded`, for code that was made for this one instruction. Charges only what the instruction does. */
export function performDecoded(vcpu: VirtualCpu, instruction: Decoded): Effect | undefined {
  const handler = HANDLERS.get(instruction.mnemonic);
  if (handler === undefined) return undefined;
  const shadowed = vcpu.interruptShadow;
  vcpu.interruptShadow = false;
  const effect = handler(vcpu, instruction);
  if (effect === undefined || effect.kind === 'fault') vcpu.interruptShadow = shadowed;
  if (effect?.kind === 'next' || effect?.kind === 'halt') vcpu.eip = behind(vcpu, instruction);
  return effect;
}
