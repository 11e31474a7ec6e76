/**
 * The checks of VM entry (SDM vol. 3, 26.2 and 26.3.1), as far as a 32-bit processor of the first generation has something to check.
 * Each answers what is wrong, for logs and tests; undefined where nothing is.
 */
import { Attr, Cr0, Flag, Seg } from '../cpu/state.js';
import {
  Blocking,
  CPU_ALLOWED,
  CpuControl,
  ENTRY_ALLOWED,
  EXIT_ALLOWED,
  Interruption,
  InterruptionType,
  isAllowed,
  PIN_ALLOWED,
} from './controls.js';
import { CR3_TARGETS, Field, GUEST_SEGMENTS, nth } from './fields.js';
import type { Vmcs } from './vmcs.js';

/** A segment register that is unusable: bit 16 of its access rights. */
export const UNUSABLE = 1 << 16;
/** Bits of CR0 and CR4 that VMX operation needs (IA32_VMX_CR0_FIXED0 and CR4_FIXED0). */
export const CR0_FIXED = Cr0.PE | Cr0.NE | Cr0.PG;
export const CR4_VMXE = 1 << 13;

/** Vectors whose injection needs an error code. */
const WITH_ERROR_CODE = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);
const PAGE = 4095;

/** VM-execution, exit and entry controls (26.2.1). */
export function controlTrouble(vmcs: Vmcs): string | undefined {
  const cpu = vmcs.get(Field.CPU_CONTROLS);
  if (!isAllowed(vmcs.get(Field.PIN_CONTROLS), PIN_ALLOWED)) return 'pin-based controls';
  if (!isAllowed(cpu, CPU_ALLOWED)) return 'processor-based controls';
  if (!isAllowed(vmcs.get(Field.EXIT_CONTROLS), EXIT_ALLOWED)) return 'VM-exit controls';
  if (!isAllowed(vmcs.get(Field.ENTRY_CONTROLS), ENTRY_ALLOWED)) return 'VM-entry controls';
  if (vmcs.get(Field.CR3_TARGET_COUNT) >>> 0 > CR3_TARGETS) return 'CR3-target count';
  if ((cpu & CpuControl.IO_BITMAPS) !== 0) {
    if (((vmcs.get(Field.IO_BITMAP_A) | vmcs.get(Field.IO_BITMAP_B)) & PAGE) !== 0) return 'I/O bitmap address';
  }
  return injectionTrouble(vmcs);
}

/** VM-entry interruption information (26.2.1.3). */
function injectionTrouble(vmcs: Vmcs): string | undefined {
  const information = vmcs.get(Field.ENTRY_INTERRUPTION);
  if ((information & Interruption.VALID) === 0) return undefined;
  const vector = information & Interruption.VECTOR;
  const type = (information & Interruption.TYPE) >>> Interruption.TYPE_SHIFT;
  if (!(Object.values(InterruptionType) as number[]).includes(type)) return 'interruption type';
  if (type === InterruptionType.NMI && vector !== 2) return 'NMI with another vector';
  if (type === InterruptionType.HARDWARE_EXCEPTION && vector > 31) return 'exception vector above 31';
  const hasErrorCode = (information & Interruption.ERROR_CODE) !== 0;
  const needsErrorCode = type === InterruptionType.HARDWARE_EXCEPTION && ((WITH_ERROR_CODE >>> vector) & 1) !== 0;
  if (hasErrorCode !== needsErrorCode) return 'error code of an injected event';
  if (hasErrorCode && vmcs.get(Field.ENTRY_ERROR_CODE) >>> 16 !== 0) return 'error code of more than 16 bits';
  const software = type >= InterruptionType.SOFTWARE_INTERRUPT;
  const bytes = vmcs.get(Field.ENTRY_INSTRUCTION_BYTES);
  return software && (bytes < 1 || bytes > 15) ? 'instruction length of an injected software event' : undefined;
}

/** Host-state area (26.2.2 and 26.2.3). */
export function hostTrouble(vmcs: Vmcs): string | undefined {
  if ((vmcs.get(Field.HOST_CR0) & CR0_FIXED) !== (CR0_FIXED | 0)) return 'host CR0';
  if ((vmcs.get(Field.HOST_CR4) & CR4_VMXE) === 0) return 'host CR4';
  const selectors = [
    Field.HOST_ES_SELECTOR,
    Field.HOST_CS_SELECTOR,
    Field.HOST_SS_SELECTOR,
    Field.HOST_DS_SELECTOR,
    Field.HOST_FS_SELECTOR,
    Field.HOST_GS_SELECTOR,
    Field.HOST_TR_SELECTOR,
  ];
  if (selectors.some(field => (vmcs.get(field) & 7) !== 0)) return 'host selector with RPL or TI';
  const needed = [Field.HOST_CS_SELECTOR, Field.HOST_SS_SELECTOR, Field.HOST_TR_SELECTOR];
  return needed.some(field => vmcs.get(field) === 0) ? 'null host selector' : undefined;
}

/** Guest-state area (26.3.1). */
export function guestTrouble(vmcs: Vmcs): string | undefined {
  if ((vmcs.get(Field.GUEST_CR0) & CR0_FIXED) !== (CR0_FIXED | 0)) return 'guest CR0';
  const cr4 = vmcs.get(Field.GUEST_CR4);
  if ((cr4 & CR4_VMXE) === 0) return 'guest CR4';
  if (vmcs.get(Field.LINK_POINTER) !== -1 || vmcs.get(Field.LINK_POINTER + 1) !== -1) return 'VMCS link pointer';
  return segmentTrouble(vmcs) ?? tableTrouble(vmcs) ?? flagTrouble(vmcs);
}

function segmentTrouble(vmcs: Vmcs): string | undefined {
  const virtual = (vmcs.get(Field.GUEST_RFLAGS) & Flag.VM) !== 0;
  for (const [index, seg] of GUEST_SEGMENTS.entries()) {
    const rights = vmcs.get(nth(Field.GUEST_ES_RIGHTS, index));
    const limit = vmcs.get(nth(Field.GUEST_ES_LIMIT, index)) >>> 0;
    const trouble =
      seg === Seg.TR || seg === Seg.LDTR
        ? systemSegmentTrouble(seg, rights)
        : virtual
          ? virtual8086Trouble(vmcs, index, rights, limit)
          : codeOrDataTrouble(seg, rights);
    if (trouble !== undefined) return `guest segment ${seg}: ${trouble}`;
    if ((rights & UNUSABLE) === 0 && !isGranular(rights, limit)) return `guest segment ${seg}: granularity`;
  }
  return stackLevelTrouble(vmcs, virtual);
}

/** G goes with the limit: clear if the low bits are not all ones, set if any of the high ones is. */
function isGranular(rights: number, limit: number): boolean {
  const byPages = (rights & Attr.G) !== 0;
  return byPages ? (limit & 0xfff) === 0xfff : limit <= 0xfffff;
}

function systemSegmentTrouble(seg: number, rights: number): string | undefined {
  const type = rights & Attr.TYPE;
  if (seg === Seg.LDTR) {
    if ((rights & UNUSABLE) !== 0) return undefined;
    return type === 2 && (rights & (Attr.S | Attr.P)) === Attr.P ? undefined : 'no LDT';
  }
  const busy = type === 3 || type === 11;
  return busy && (rights & (UNUSABLE | Attr.S | Attr.P)) === Attr.P ? undefined : 'no busy task state';
}

function virtual8086Trouble(vmcs: Vmcs, index: number, rights: number, limit: number): string | undefined {
  const base = (vmcs.get(nth(Field.GUEST_ES_SELECTOR, index)) & 0xffff) << 4;
  const same = vmcs.get(nth(Field.GUEST_ES_BASE, index)) === base;
  return rights === 0xf3 && limit === 0xffff && same ? undefined : 'not as in virtual-8086 mode';
}

function codeOrDataTrouble(seg: number, rights: number): string | undefined {
  if ((rights & UNUSABLE) !== 0) return seg === Seg.CS ? 'unusable' : undefined;
  const type = rights & Attr.TYPE;
  const code = (type & Attr.CODE) !== 0;
  if ((rights & (Attr.S | Attr.P)) !== (Attr.S | Attr.P) || (type & Attr.ACCESSED) === 0) return 'rights';
  if (seg === Seg.CS) return code ? undefined : 'no code segment';
  if (seg === Seg.SS) return !code && (type & Attr.WRITE_READ) !== 0 ? undefined : 'no stack segment';
  return code && (type & Attr.WRITE_READ) === 0 ? 'not readable' : undefined;
}

const dpl = (rights: number): number => (rights & Attr.DPL) >>> Attr.DPL_SHIFT;

/** CPL is the DPL of SS: CS and the selectors agree with it. */
function stackLevelTrouble(vmcs: Vmcs, virtual: boolean): string | undefined {
  if (virtual) return undefined;
  const cs = vmcs.get(nth(Field.GUEST_ES_RIGHTS, Seg.CS));
  const ss = vmcs.get(nth(Field.GUEST_ES_RIGHTS, Seg.SS));
  const conforming = (cs & Attr.DOWN_CONFORMING) !== 0;
  if (conforming ? dpl(cs) > dpl(ss) : dpl(cs) !== dpl(ss)) return 'guest CS and SS of different levels';
  const rpl = (seg: number) => vmcs.get(nth(Field.GUEST_ES_SELECTOR, seg)) & 3;
  return rpl(Seg.CS) === rpl(Seg.SS) ? undefined : 'guest CS and SS selectors of different levels';
}

function tableTrouble(vmcs: Vmcs): string | undefined {
  const tooLong = (vmcs.get(Field.GUEST_GDTR_LIMIT) | vmcs.get(Field.GUEST_IDTR_LIMIT)) >>> 16 !== 0;
  return tooLong ? 'guest GDTR or IDTR limit' : undefined;
}

function flagTrouble(vmcs: Vmcs): string | undefined {
  const flags = vmcs.get(Field.GUEST_RFLAGS);
  const blocking = vmcs.get(Field.GUEST_INTERRUPTIBILITY);
  const injection = vmcs.get(Field.ENTRY_INTERRUPTION);
  if ((flags & Flag.FIXED) === 0 || (flags & 0xffc08028) !== 0) return 'guest RFLAGS';
  const external =
    (injection & (Interruption.VALID | Interruption.TYPE)) ===
    (Interruption.VALID | (InterruptionType.EXTERNAL << Interruption.TYPE_SHIFT) | 0);
  if (external && (flags & Flag.IF) === 0) return 'injected interrupt with RFLAGS.IF clear';
  if (external && blocking !== 0) return 'injected interrupt while interrupts are blocked';
  if ((blocking & ~(Blocking.STI | Blocking.MOV_SS)) !== 0) return 'interruptibility state';
  if (blocking === (Blocking.STI | Blocking.MOV_SS)) return 'interruptibility state';
  if ((blocking & Blocking.STI) !== 0 && (flags & Flag.IF) === 0) return 'blocking by STI with RFLAGS.IF clear';
  return vmcs.get(Field.GUEST_ACTIVITY) === 0 ? undefined : 'activity state';
}
