/** Hardware state of the two worlds that the guest runs in under BT: user code at CPL 3, and the TC at CPL 1. */
import { Flag, S, Seg } from '../../machine/cpu/state.js';
import { armBreakpoints, disarmBreakpoints } from '../debug-registers.js';
import { Descriptors } from '../descriptors.js';
import { MonitorSelector } from '../hole.js';
import { VcpuPage } from '../vcpu-page.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import { inVcpuPage, Slot } from './layout.js';
import type { TcPoint } from './unit.js';

/** Segment registers that hold the guest's selectors while translated code runs. */
const SHARED_SEGMENTS = [Seg.ES, Seg.SS, Seg.DS, Seg.FS] as const;
export const ALL_SEGMENTS = [Seg.ES, Seg.CS, Seg.SS, Seg.DS, Seg.FS, Seg.GS] as const;

/** Loads hardware for user code. It sees the virtual IF, since hardware's has no effect while a monitor owns it, and owns NT. */
export function enterUser(vcpu: VirtualCpu): void {
  const { thread } = vcpu;
  vcpu.descriptors.restoreAll();
  vcpu.pushSegments(ALL_SEGMENTS);
  const flags = thread.readEflags() & ~(Flag.IF | Flag.NT);
  const virtual = vcpu.vm.memory.readI32(vcpu.page + VcpuPage.VFLAGS);
  thread.writeEflags(flags | (virtual & Flag.NT) | (vcpu.interruptsEnabled ? Flag.IF : 0));
  armBreakpoints(vcpu);
  thread.setCpl(3);
  thread.s[S.EIP] = vcpu.eip;
  vcpu.inHardware = true;
}

export function leaveUser(vcpu: VirtualCpu): void {
  const { thread } = vcpu;
  vcpu.eip = thread.s[S.EIP]! >>> 0;
  vcpu.pullSegments(ALL_SEGMENTS);
  const flags = thread.readEflags();
  const at = vcpu.page + VcpuPage.VFLAGS;
  const virtual = vcpu.vm.memory.readI32(at);
  if (((virtual ^ flags) & Flag.NT) !== 0) vcpu.vm.memory.write32(at, virtual ^ Flag.NT);
  thread.writeEflags((flags & ~Flag.NT) | Flag.IF);
  disarmBreakpoints(vcpu);
}

/** Loads hardware for translated code. PUSHF sequences count on IF set and NT clear. */
export function enterTc(vcpu: VirtualCpu, tcAddress: number): void {
  const { thread } = vcpu;
  vcpu.pushSegments(SHARED_SEGMENTS);
  const flags = thread.readEflags();
  if ((flags & (Flag.IF | Flag.TF | Flag.NT)) !== Flag.IF) {
    thread.writeEflags((flags & ~(Flag.TF | Flag.NT)) | Flag.IF);
  }
  const { base, limit, attr } = Descriptors.TC_CODE_PARTS;
  thread.setSegment(Seg.CS, MonitorSelector.TC_CODE, base, limit, attr);
  loadTcData(vcpu);
  vcpu.vm.memory.write32(vcpu.page + inVcpuPage(Slot.GS), vcpu.selector(Seg.GS) & 0xffff);
  thread.setCpl(1);
  thread.s[S.EIP] = tcAddress;
  vcpu.inHardware = true;
}

/** Takes the guest out at a point that is not `inside`: undoes spills, finds EIP. */
export function leaveTc(vcpu: VirtualCpu, point: TcPoint): void {
  const { s } = vcpu.thread;
  const slot = (linear: number): number => vcpu.vm.memory.readI32(vcpu.page + inVcpuPage(linear));
  if (point.restore !== 'none') s[S.ECX] = slot(Slot.ECX);
  if (point.restore === 'both') s[S.EAX] = slot(Slot.EAX);
  vcpu.eip = (point.kind === 'target' ? slot(Slot.TARGET) : point.eip) >>> 0;
  vcpu.pullSegments(SHARED_SEGMENTS);
}

export function loadTcData(vcpu: VirtualCpu): void {
  const { base, limit, attr } = Descriptors.TC_DATA_PARTS;
  vcpu.thread.setSegment(Seg.GS, MonitorSelector.TC_DATA, base, limit, attr);
}

/** Puts the guest's own `segment` into hardware GS, as far as a guest segment may reach. A null selector stays unusable. */
export function loadGuestSegment(vcpu: VirtualCpu, segment: number): void {
  const hard = vcpu.descriptors.harden(vcpu.base(segment), vcpu.limit(segment), vcpu.attr(segment));
  vcpu.thread.setSegment(Seg.GS, vcpu.selector(segment), hard.base, hard.limit, hard.attr);
}
