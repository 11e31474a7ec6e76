/**
 * How each guest instruction is translated.
 *
 * At CPL 1 most kernel instructions do exactly what they do at CPL 0: they are copied (`ident`). What is left either traps
 * (privileged), does not trap but shows or changes state that is not the guest's (sensitive: Popek and Goldberg's problem
 * with this architecture), or names an address (control flow). The tables list only what is not `ident`.
 */
import { Code, type Decoder, FlowControl, type Instruction, Mnemonic, OpKind, Register } from 'iced-x86';

export const GUEST_CLASSES = {
  ident: 'copied: harmless at CPL 1',
  cli: 'virtual interrupt flag cleared in the vCPU page',
  sti: 'virtual interrupt flag set, pending events tested behind the next instruction',
  pushf: 'image built from hardware flags and virtual IF, IOPL, NT',
  popf: 'arithmetic flags by hardware, virtual IF from the image; IOPL, NT, TF by callout',
  pushCs: 'pushes the guest selector as a constant',
  movFromCs: 'stores the guest selector as a constant',
  pushSs: 'hardware selector with the virtual RPL',
  movFromSs: 'hardware selector with the virtual RPL',
  pushGs: 'virtual GS from the vCPU page',
  movFromGs: 'virtual GS from the vCPU page',
  movFromCr: 'virtual CR0, CR2, CR3 or CR4 from the vCPU page',
  override: 'memory access through GS or CS: one step with the guest segment in hardware GS',
  jmp: 'direct: chained on first use',
  jcc: 'direct: both ways chained on first use',
  loop: 'JECXZ and LOOP: short jump to a chained exit',
  call: 'pushes the guest return address, then as jmp',
  jmpIndirect: 'target through the hash',
  callIndirect: 'pushes the guest return address, target through the hash',
  ret: 'target from the guest stack through the hash',
  callout: 'performed by the monitor; IN and OUT by a ring-1 routine of it',
  adapted: 'store to a watched page, performed by a ring-1 routine of the monitor without a fault',
  invalid: 'no instruction: UD2',
} as const;
export type GuestClass = keyof typeof GUEST_CLASSES;

/** Classes that end a translation unit. */
export const ENDS_UNIT: ReadonlySet<GuestClass> = new Set([
  'jmp',
  'jcc',
  'loop',
  'call',
  'jmpIndirect',
  'callIndirect',
  'ret',
  'invalid',
]);

/** Privileged or sensitive instructions that the monitor performs (SDM vol. 3, 5.9 and 2.8). */
const CALLOUT_MNEMONICS: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Hlt,
  Mnemonic.In,
  Mnemonic.Out,
  Mnemonic.Insb,
  Mnemonic.Insw,
  Mnemonic.Insd,
  Mnemonic.Outsb,
  Mnemonic.Outsw,
  Mnemonic.Outsd,
  Mnemonic.Lgdt,
  Mnemonic.Lidt,
  Mnemonic.Lldt,
  Mnemonic.Ltr,
  Mnemonic.Sgdt,
  Mnemonic.Sidt,
  Mnemonic.Sldt,
  Mnemonic.Str,
  Mnemonic.Smsw,
  Mnemonic.Lmsw,
  Mnemonic.Clts,
  Mnemonic.Invd,
  Mnemonic.Wbinvd,
  Mnemonic.Invlpg,
  Mnemonic.Rdmsr,
  Mnemonic.Wrmsr,
  Mnemonic.Rdpmc,
  Mnemonic.Cpuid,
  Mnemonic.Rdtsc,
  // These read descriptors, and the shadow GDT's have other DPLs and limits.
  Mnemonic.Lar,
  Mnemonic.Lsl,
  Mnemonic.Verr,
  Mnemonic.Verw,
  Mnemonic.Lss,
  Mnemonic.Lgs,
  Mnemonic.Iret,
  Mnemonic.Iretd,
  Mnemonic.Retf,
  Mnemonic.Sysenter,
  Mnemonic.Sysexit,
  Mnemonic.Int,
  Mnemonic.Int1,
  Mnemonic.Int3,
  Mnemonic.Into,
  // 16-bit flag images.
  Mnemonic.Pushf,
  Mnemonic.Popf,
]);

/** Of these, the ones after which the guest goes on elsewhere: nothing behind them belongs to the unit. */
const LEAVING_MNEMONICS: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Iret,
  Mnemonic.Iretd,
  Mnemonic.Retf,
  Mnemonic.Sysenter,
  Mnemonic.Sysexit,
  Mnemonic.Int,
  Mnemonic.Int1,
  Mnemonic.Int3,
]);

const PLAIN_CLASSES: ReadonlyMap<Mnemonic, GuestClass> = new Map([
  [Mnemonic.Cli, 'cli'],
  [Mnemonic.Sti, 'sti'],
  [Mnemonic.Pushfd, 'pushf'],
  [Mnemonic.Popfd, 'popf'],
]);

const LOOP_MNEMONICS: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Jcxz,
  Mnemonic.Jecxz,
  Mnemonic.Loop,
  Mnemonic.Loope,
  Mnemonic.Loopne,
]);

/** One decoded guest instruction. */
export interface GuestInstruction {
  /** EIP of the instruction. */
  readonly eip: number;
  readonly bytes: Uint8Array;
  readonly guestClass: GuestClass;
  /** Direct branch target, else 0. */
  readonly target: number;
  /** The monitor decides where the guest goes on. */
  readonly leaves: boolean;
  /** Interrupts are held off until the next instruction is done (STI, loads of SS: SDM vol. 3, 6.8.3). */
  readonly shadows: boolean;
}

/** Where the parts of an instruction's bytes are. */
export interface Anatomy {
  readonly prefixes: readonly number[];
  /** Offset of the first opcode byte. */
  readonly opcodeAt: number;
}

const PREFIXES: ReadonlySet<number> = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

export function dissect(bytes: Uint8Array): Anatomy {
  let at = 0;
  while (at < bytes.length && PREFIXES.has(bytes[at]!)) at += 1;
  return { prefixes: [...bytes.subarray(0, at)], opcodeAt: at };
}

/** Control registers whose virtual values are in the vCPU page. */
const MIRRORED_REGISTERS: ReadonlySet<Register> = new Set([Register.CR0, Register.CR2, Register.CR3, Register.CR4]);

const hasMemoryOperand = (instruction: Instruction): boolean => {
  for (let i = 0; i < instruction.opCount; i++) {
    const kind = instruction.opKind(i);
    if (kind !== OpKind.Register && kind >= OpKind.MemorySegSI && kind <= OpKind.Memory) return true;
  }
  return false;
};

function classOfSegmentUse(instruction: Instruction): GuestClass | undefined {
  const { mnemonic } = instruction;
  if (mnemonic === Mnemonic.Push) {
    switch (instruction.op0Register) {
      case Register.CS:
        return instruction.code === Code.Pushd_CS ? 'pushCs' : 'callout';
      case Register.SS:
        return instruction.code === Code.Pushd_SS ? 'pushSs' : 'callout';
      case Register.GS:
        return instruction.code === Code.Pushd_GS ? 'pushGs' : 'callout';
      default:
        return undefined;
    }
  }
  if (mnemonic === Mnemonic.Pop) {
    const register = instruction.op0Kind === OpKind.Register ? instruction.op0Register : Register.None;
    return register === Register.SS || register === Register.GS ? 'callout' : undefined;
  }
  if (mnemonic === Mnemonic.Mov && instruction.op0Kind === OpKind.Register) {
    const to = instruction.op0Register;
    if (to === Register.SS || to === Register.GS) return 'callout';
    if ((to >= Register.CR0 && to <= Register.CR15) || (to >= Register.DR0 && to <= Register.DR15)) return 'callout';
  }
  if (mnemonic === Mnemonic.Mov && instruction.op1Kind === OpKind.Register) {
    const from = instruction.op1Register;
    const toRegister = instruction.op0Kind === OpKind.Register;
    if (MIRRORED_REGISTERS.has(from)) return 'movFromCr';
    if (from === Register.CS) return 'movFromCs';
    if (from === Register.SS) return toRegister ? 'movFromSs' : 'callout';
    if (from === Register.GS) return toRegister ? 'movFromGs' : 'callout';
    if ((from >= Register.CR0 && from <= Register.CR15) || (from >= Register.DR0 && from <= Register.DR15))
      return 'callout';
  }
  return undefined;
}

function classOfTransfer(instruction: Instruction, bytes: Uint8Array): GuestClass | undefined {
  const near32 = !dissect(bytes).prefixes.includes(0x66);
  switch (instruction.flowControl) {
    case FlowControl.ConditionalBranch:
      if (!near32) return 'callout';
      return LOOP_MNEMONICS.has(instruction.mnemonic) ? 'loop' : 'jcc';
    case FlowControl.UnconditionalBranch:
      return instruction.isJmpShortOrNear && near32 ? 'jmp' : 'callout';
    case FlowControl.Call:
      return instruction.isCallNear && near32 ? 'call' : 'callout';
    case FlowControl.IndirectBranch:
      return instruction.isJmpNearIndirect && near32 ? 'jmpIndirect' : 'callout';
    case FlowControl.IndirectCall:
      return instruction.isCallNearIndirect && near32 ? 'callIndirect' : 'callout';
    case FlowControl.Return:
      return instruction.mnemonic === Mnemonic.Ret && near32 ? 'ret' : 'callout';
    default:
      return undefined;
  }
}

function classOf(instruction: Instruction, bytes: Uint8Array): GuestClass {
  const { mnemonic } = instruction;
  if (instruction.isInvalid) return 'invalid';
  const plain = PLAIN_CLASSES.get(mnemonic);
  if (plain !== undefined) return plain;
  if (CALLOUT_MNEMONICS.has(mnemonic)) return 'callout';
  const special = classOfSegmentUse(instruction) ?? classOfTransfer(instruction, bytes);
  if (special !== undefined) return special;
  const touchesMemory = mnemonic !== Mnemonic.Lea && mnemonic !== Mnemonic.Nop && hasMemoryOperand(instruction);
  const segment = instruction.segmentPrefix;
  if (touchesMemory && (segment === Register.GS || segment === Register.CS)) return 'override';
  return 'ident';
}

/** REP MOVS and REP STOS. */
export const isBlockStore = ({ bytes }: GuestInstruction): boolean => {
  const { prefixes, opcodeAt } = dissect(bytes);
  const repeated = prefixes.includes(0xf3) || prefixes.includes(0xf2);
  return repeated && [0xa4, 0xa5, 0xaa, 0xab].includes(bytes[opcodeAt]!);
};

/** IN and OUT of one value: the virtual device is a few loads and stores away. */
export const isPortAccess = ({ bytes }: GuestInstruction): boolean => {
  const op = bytes[dissect(bytes).opcodeAt]!;
  return (op & 0xfc) === 0xe4 || (op & 0xfc) === 0xec;
};

/** True for near transfers with 16-bit operand size, which truncate EIP: no kernel uses them, and they are not built. */
export const isNarrowTransfer = (instruction: GuestInstruction): boolean => {
  const { prefixes, opcodeAt } = dissect(instruction.bytes);
  if (!prefixes.includes(0x66)) return false;
  const op = instruction.bytes[opcodeAt]!;
  if (op === 0x0f) return (instruction.bytes[opcodeAt + 1]! & 0xf0) === 0x80;
  if (op === 0xff) {
    const reg = (instruction.bytes[opcodeAt + 1]! >>> 3) & 7;
    return reg === 2 || reg === 4;
  }
  return (
    (op & 0xf0) === 0x70 ||
    (op >= 0xe0 && op <= 0xe3) ||
    op === 0xe8 ||
    op === 0xe9 ||
    op === 0xeb ||
    (op & 0xfe) === 0xc2
  );
};

/**
 * Decodes the instruction at the decoder's position. Returns undefined when the bytes end inside it. `instruction` is
 * overwritten.
 */
export function decodeGuest(
  decoder: Decoder,
  instruction: Instruction,
  code: Uint8Array,
  firstEip: number,
): GuestInstruction | undefined {
  const at = decoder.position;
  const eip = (firstEip + at) >>> 0;
  decoder.ip = BigInt(eip);
  if (at >= code.length) return undefined;
  decoder.decodeOut(instruction);
  // DecoderError.NoMoreBytes is 2; an instruction that is invalid for another reason raises #UD.
  if (instruction.isInvalid && decoder.lastError === 2) return undefined;
  const bytes = code.slice(at, at + Math.max(1, instruction.length));
  const guestClass = classOf(instruction, bytes);
  const direct = guestClass === 'jmp' || guestClass === 'jcc' || guestClass === 'loop' || guestClass === 'call';
  const loadsSs =
    instruction.mnemonic === Mnemonic.Lss ||
    ((instruction.mnemonic === Mnemonic.Mov || instruction.mnemonic === Mnemonic.Pop) &&
      instruction.op0Kind === OpKind.Register &&
      instruction.op0Register === Register.SS);
  const farTransfer =
    guestClass === 'callout' &&
    (instruction.flowControl === FlowControl.UnconditionalBranch ||
      instruction.flowControl === FlowControl.Call ||
      instruction.flowControl === FlowControl.IndirectBranch ||
      instruction.flowControl === FlowControl.IndirectCall ||
      instruction.flowControl === FlowControl.ConditionalBranch ||
      instruction.flowControl === FlowControl.Return);
  return {
    eip,
    bytes,
    guestClass,
    target: direct ? instruction.nearBranch32 >>> 0 : 0,
    leaves: guestClass === 'callout' && (farTransfer || LEAVING_MNEMONICS.has(instruction.mnemonic)),
    shadows: guestClass === 'sti' || loadsSs,
  };
}
