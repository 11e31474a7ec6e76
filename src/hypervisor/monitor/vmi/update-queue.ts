/**
 * What the ROM has queued for the monitor: page-table entries that changed (lazy MMU mode, or DEFER), and in lazy CPU mode the
 * new directory and kernel stack of a context switch.
 *
 * The queue holds addresses, not values: guest memory is the truth, and an update only says that a shadow of that entry may be
 * out of date. So updates may be applied in any order, twice, or early; a page fault, InvalPage, FlushTLB and leaving the lazy
 * mode apply all of them first.
 */
import type { Archive } from '../../base/archive.js';
import { isFault } from '../guest-fault.js';
import { writeControlRegister } from '../privileged.js';
import { VcpuPage } from '../vcpu-page.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import { Deferred, LINEAR_MAP_SLOTS, VmiPage } from './rom-layout.js';

export class UpdateQueue {
  readonly #vcpu: VirtualCpu;
  #queuedSeen = 0;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  #read(offset: number): number {
    return this.#vcpu.vm.memory.readI32(this.#vcpu.page + offset);
  }

  #write(offset: number, value: number): void {
    this.#vcpu.vm.memory.write32(this.#vcpu.page + offset, value);
  }

  /** Entries that wait. The guest can write anything there: the count is cut to what the queue holds. */
  get length(): number {
    return Math.min(this.#read(VcpuPage.QUEUE_COUNT) >>> 0, VcpuPage.QUEUE_ENTRIES);
  }

  /** Forgets everything: the technique starts. */
  reset(): void {
    this.#write(VcpuPage.QUEUE_COUNT, 0);
    this.#write(VcpuPage.LAZY_MODE, 0);
    this.#write(VmiPage.DEFERRED, 0);
    this.#write(VmiPage.UPDATES_QUEUED, 0);
    for (let word = 0; word < 3 * LINEAR_MAP_SLOTS; word++) this.#write(VcpuPage.LINEAR_MAP + 4 * word, 0);
    this.#queuedSeen = 0;
  }

  /** What is not in the vCPU page, which is restored before. */
  exchange(archive: Archive): void {
    this.#queuedSeen = archive.number(this.#queuedSeen);
    const { kernelStack } = this.#vcpu;
    if (archive.restores && kernelStack !== undefined) this.setKernelStack(kernelStack.ss, kernelStack.esp);
  }

  /** Applies both kinds. Charges `updateQueueEntry` for each entry, and what the shadow does about it. */
  settle(): void {
    this.settleEntries();
    this.settleCpuState();
  }

  settleEntries(): void {
    const queued = this.#read(VmiPage.UPDATES_QUEUED);
    this.#vcpu.vm.counters.updatesQueued += (queued - this.#queuedSeen) >>> 0;
    this.#queuedSeen = queued;
    const count = this.length;
    if (count === 0) return;
    for (let i = 0; i < count; i++) this.entryChanged(this.#read(VcpuPage.QUEUE + 8 * i) >>> 0);
    this.#write(VcpuPage.QUEUE_COUNT, 0);
  }

  /** The new stack and the new directory of a context switch. */
  settleCpuState(): void {
    const deferred = this.#read(VmiPage.DEFERRED);
    if (deferred === 0) return;
    this.#write(VmiPage.DEFERRED, 0);
    if (deferred & Deferred.KERNEL_STACK) {
      this.setKernelStack(this.#read(VmiPage.KERNEL_SS), this.#read(VmiPage.KERNEL_ESP));
    }
    if (deferred & Deferred.CR3) writeControlRegister(this.#vcpu, 3, this.#read(VmiPage.NEXT_CR3));
  }

  /** The stack that entries from user mode use, whether hardware makes them or the monitor. */
  setKernelStack(ss: number, esp: number): void {
    this.#vcpu.kernelStack = { ss: ss & 0xffff, esp };
    this.#vcpu.descriptors.setRing1Stack(ss & 0xffff, esp);
  }

  /**
   * The page-table entry at guest-linear address `linear` has changed. An address that maps nothing is ignored: there is no
   * entry then.
   */
  entryChanged(linear: number): void {
    const vcpu = this.#vcpu;
    vcpu.thread.charge(vcpu.costs.updateQueueEntry);
    const physical = this.#physicalOf((linear & ~3) >>> 0);
    if (physical !== undefined) vcpu.shadow.entryChanged(physical);
  }

  /** By the formulas of SetLinearMapping, and by a walk where none applies. */
  #physicalOf(linear: number): number | undefined {
    for (let slot = 0; slot < LINEAR_MAP_SLOTS; slot++) {
      const at = VcpuPage.LINEAR_MAP + 12 * slot;
      const pages = this.#read(at + 4) >>> 0;
      if (pages === 0) continue;
      const offset = (linear - this.#read(at)) >>> 0;
      if (offset < pages * 4096) return ((this.#read(at + 8) << 12) + offset) >>> 0;
    }
    const physical = this.#vcpu.memory.translate(linear, false, false);
    return isFault(physical) ? undefined : physical;
  }

  /** SetLinearMapping. Unknown slots are ignored; the range may exceed RAM, since it is a formula. */
  setLinearMapping(slot: number, linear: number, pages: number, pfn: number): void {
    if (slot >>> 0 >= LINEAR_MAP_SLOTS) return;
    const at = VcpuPage.LINEAR_MAP + 12 * slot;
    this.#write(at, linear);
    this.#write(at + 4, pages);
    this.#write(at + 8, pfn);
  }
}
