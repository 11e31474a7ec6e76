/**
 * A virtual CPU that is put away: the guest's architectural state, as the monitor holds it while the guest is out. What the monitor has made for
 * itself (shadow tables, copies of descriptors, translations) is not kept: it is made again when the guest needs it.
 */
import type { Archive } from '../base/archive.js';
import { assert } from '../base/assert.js';
import { Flag, S } from '../machine/cpu/state.js';
import type { VirtualCpu } from './virtual-cpu.js';

/** Restoring: the guest's memory must be there already, and the vCPU be new; the shadow is set up for it. */
export function exchangeCpu(archive: Archive, vcpu: VirtualCpu): void {
  assert(!vcpu.inHardware, 'the guest is in');
  const { thread } = vcpu;
  const { s } = thread;
  archive.bytes(s.subarray(S.EAX, S.EDI + 1));
  const flags = archive.number(vcpu.eflags);
  vcpu.eip = archive.number(vcpu.eip);
  vcpu.cpl = archive.number(vcpu.cpl);
  vcpu.kernelCpl = archive.number(vcpu.kernelCpl) as 0 | 1;
  archive.bytes(vcpu.segments);
  vcpu.cr0 = archive.number(vcpu.cr0);
  vcpu.cr2 = archive.number(vcpu.cr2);
  vcpu.cr3 = archive.number(vcpu.cr3);
  vcpu.cr4 = archive.number(vcpu.cr4);
  archive.bytes(vcpu.pointers);
  vcpu.gdtBase = archive.number(vcpu.gdtBase);
  vcpu.gdtLimit = archive.number(vcpu.gdtLimit);
  vcpu.idtBase = archive.number(vcpu.idtBase);
  vcpu.idtLimit = archive.number(vcpu.idtLimit);
  vcpu.sysenterCs = archive.number(vcpu.sysenterCs);
  vcpu.sysenterEsp = archive.number(vcpu.sysenterEsp);
  vcpu.sysenterEip = archive.number(vcpu.sysenterEip);
  archive.bytes(vcpu.debugRegisters);
  s[S.DR6] = archive.number(s[S.DR6]!);
  vcpu.interruptShadow = archive.flag(vcpu.interruptShadow);
  s[S.INTERRUPT_SHADOW] = archive.number(s[S.INTERRUPT_SHADOW]!);
  const { kernelStack } = vcpu;
  if (archive.flag(kernelStack !== undefined))
    vcpu.kernelStack = { ss: archive.number(kernelStack?.ss ?? 0), esp: archive.number(kernelStack?.esp ?? 0) };
  vcpu.watchesDescriptors = archive.flag(vcpu.watchesDescriptors);
  vcpu.shadow.set.follower.exchange(archive);
  if (!archive.restores) return;
  vcpu.eflags = flags;
  // Under hardware assist virtual-8086 mode is hardware's.
  if ((flags & Flag.VM) !== 0) thread.writeEflags(thread.readEflags() | Flag.VM);
  vcpu.shadow.pagingChanged();
  vcpu.descriptors.setGdt(vcpu.watchesDescriptors);
  vcpu.descriptors.setLdt(vcpu.watchesDescriptors);
}
