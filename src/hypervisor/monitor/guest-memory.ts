/**
 * Guest memory as the monitor reaches it: by guest-physical address (`GuestPhysical`, free of charge, for tables, loaders and
 * audits) and by guest-linear address (`GuestMemory`, priced, for whatever the monitor does in the guest's place).
 *
 * A linear access goes through the shadow where the shadow already allows it: that is a plain access of the monitor. Else the
 * guest's tables are walked, accessed and dirty bits set as hardware would. Stores to watched pages wake their listeners, so
 * that shadows, translations and descriptor copies stay right whoever wrote.
 */
import { PAGE_OFFSET_MASK, PAGE_SIZE, type Ppn, ppnOf } from '../base/pages.js';
import { type GuestFault, isFault, pageFault } from './guest-fault.js';
import { markUsed, type TableWriter, walk } from './guest-walk.js';
import type { MonitoredVm } from './monitored-vm.js';
import type { TableReader } from './table-format.js';
import type { Traces } from './traces.js';
import type { VirtualCpu } from './virtual-cpu.js';

export type Width = 1 | 2 | 4;

export class GuestPhysical implements TableReader, TableWriter {
  readonly #vm: MonitoredVm;
  readonly #traces: Traces;

  constructor(vm: MonitoredVm, traces: Traces) {
    this.#vm = vm;
    this.#traces = traces;
  }

  /** Reads RAM and ROM; everything else reads all ones here, without asking a device. Touches no page. Signed. */
  peek32(physical: number): number {
    const mpn = this.#vm.pmap.mpnIfBacked(ppnOf(physical));
    if (mpn !== undefined) return this.#vm.memory.readI32((mpn << 12) | (physical & PAGE_OFFSET_MASK));
    return this.#vm.pmap.kindOf(ppnOf(physical)) === 'ram' ? 0 : -1;
  }

  /** As `peek32`, as hardware's page walk reads: zero where there is neither RAM nor ROM. */
  peekEntry(physical: number): number {
    const mpn = this.#vm.pmap.mpnIfBacked(ppnOf(physical));
    return mpn === undefined ? 0 : this.#vm.memory.readI32((mpn << 12) | (physical & PAGE_OFFSET_MASK));
  }

  /** As `peek32`, any number of bytes from any address: for audits. */
  peekBytes(physical: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const at = (physical + i) >>> 0;
      out[i] = this.peek32((at & ~3) >>> 0) >>> (8 * (at & 3));
    }
    return out;
  }

  setEntryBits(physical: number, bits: number): void {
    if (this.#vm.pmap.kindOf(ppnOf(physical)) !== 'ram') return;
    const mpn = this.#vm.pmap.mpnFor(ppnOf(physical));
    if (mpn === undefined) return;
    const machine = (mpn << 12) | (physical & PAGE_OFFSET_MASK);
    this.#vm.memory.write32(machine, this.#vm.memory.readI32(machine) | bits);
  }

  /** Unsigned. May cross a page. Device memory is asked through the MMIO bus. */
  read(physical: number, width: Width): number {
    const offset = physical & PAGE_OFFSET_MASK;
    if (offset + width > PAGE_SIZE) {
      let value = 0;
      for (let i = 0; i < width; i++) value += this.read((physical + i) >>> 0, 1) * 2 ** (8 * i);
      return value;
    }
    const mpn = this.#vm.pmap.mpnFor(ppnOf(physical));
    if (mpn === undefined) return this.#vm.mmio.read(physical >>> 0, width) >>> 0;
    const machine = (mpn << 12) | offset;
    const memory = this.#vm.memory;
    return width === 4 ? memory.read32(machine) : width === 2 ? memory.read16(machine) : memory.read8(machine);
  }

  /** Stores to ROM are dropped; device memory is told through the MMIO bus; watched pages wake their listeners. */
  write(physical: number, width: Width, value: number): void {
    const offset = physical & PAGE_OFFSET_MASK;
    if (offset + width > PAGE_SIZE) {
      for (let i = 0; i < width; i++) this.write((physical + i) >>> 0, 1, (value >>> (8 * i)) & 255);
      return;
    }
    const ppn = ppnOf(physical);
    const kind = this.#vm.pmap.kindOf(ppn);
    if (kind === 'rom') return;
    if (kind !== 'ram') {
      this.#vm.mmio.write(physical >>> 0, width, value >>> 0);
      return;
    }
    const machine = (this.#vm.pmap.mpnFor(ppn)! << 12) | offset;
    const memory = this.#vm.memory;
    if (width === 4) memory.write32(machine, value);
    else if (width === 2) memory.write16(machine, value);
    else memory.write8(machine, value);
    this.#traces.written(ppn, offset, width);
  }

  readBytes(physical: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const at = (physical + done) >>> 0;
      const offset = at & PAGE_OFFSET_MASK;
      const chunk = Math.min(length - done, PAGE_SIZE - offset);
      const mpn = this.#vm.pmap.mpnFor(ppnOf(at));
      if (mpn !== undefined) out.set(this.#vm.memory.bytes((mpn << 12) | offset, chunk), done);
      else for (let i = 0; i < chunk; i++) out[done + i] = this.#vm.mmio.read((at + i) >>> 0, 1);
      done += chunk;
    }
    return out;
  }

  /** RAM only: bytes that fall elsewhere are dropped. Used by the loader. */
  writeBytes(physical: number, bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      const at = physical + done;
      const offset = at & PAGE_OFFSET_MASK;
      const chunk = Math.min(bytes.length - done, PAGE_SIZE - offset);
      const ppn = ppnOf(at);
      if (this.#vm.pmap.kindOf(ppn) === 'ram') {
        const machine = (this.#vm.pmap.mpnFor(ppn)! << 12) | offset;
        this.#vm.memory.writeBytes(machine, bytes.subarray(done, done + chunk));
        this.#traces.written(ppn, offset, chunk);
      }
      done += chunk;
    }
  }
}

export class GuestMemory {
  readonly #vcpu: VirtualCpu;

  constructor(vcpu: VirtualCpu) {
    this.#vcpu = vcpu;
  }

  /**
   * Guest-physical address behind a linear one, or the #PF that the access would raise. Sets accessed and dirty bits. Charges
   * one `guestWalkLevel` per level.
   */
  translate(linear: number, write: boolean, user: boolean): number | GuestFault {
    const vcpu = this.#vcpu;
    const found = walk(vcpu.physical, vcpu, linear >>> 0, { write, user });
    vcpu.thread.charge(vcpu.costs.guestWalkLevel * found.levels);
    markUsed(vcpu.physical, found, write);
    if (found.kind === 'fault') return pageFault(linear, found.errorCode);
    return ((found.ppn << 12) | (linear & PAGE_OFFSET_MASK)) >>> 0;
  }

  /** Reads 1, 2 or 4 bytes, unsigned. May cross a page. Charges `guestMemoryAccess` and the walk, where one is needed. */
  read(linear: number, width: Width, user: boolean): number | GuestFault {
    const vcpu = this.#vcpu;
    if ((linear & PAGE_OFFSET_MASK) + width > PAGE_SIZE) {
      let value = 0;
      for (let i = 0; i < width; i++) {
        const byte = this.read((linear + i) >>> 0, 1, user);
        if (isFault(byte)) return byte;
        value += byte * 2 ** (8 * i);
      }
      return value;
    }
    vcpu.thread.charge(vcpu.costs.guestMemoryAccess);
    const machine = vcpu.shadow.lookup(linear, false, user);
    if (machine !== undefined) {
      const memory = vcpu.vm.memory;
      return width === 4 ? memory.read32(machine) : width === 2 ? memory.read16(machine) : memory.read8(machine);
    }
    const physical = this.translate(linear, false, user);
    return isFault(physical) ? physical : vcpu.physical.read(physical, width);
  }

  /** Writes 1, 2 or 4 bytes. Across a page both pages are translated before either is written. */
  write(linear: number, width: Width, value: number, user: boolean): GuestFault | undefined {
    const vcpu = this.#vcpu;
    if ((linear & PAGE_OFFSET_MASK) + width > PAGE_SIZE) {
      const last = this.translate((linear + width - 1) >>> 0, true, user);
      const first = this.translate(linear, true, user);
      if (isFault(first)) return first;
      if (isFault(last)) return pageFault((linear + PAGE_SIZE) & ~PAGE_OFFSET_MASK, last.errorCode!);
      for (let i = 0; i < width; i++) {
        const broken = this.write((linear + i) >>> 0, 1, (value >>> (8 * i)) & 255, user);
        if (broken !== undefined) return broken;
      }
      return undefined;
    }
    vcpu.thread.charge(vcpu.costs.guestMemoryAccess);
    const machine = vcpu.shadow.lookup(linear, true, user);
    if (machine !== undefined) {
      const memory = vcpu.vm.memory;
      if (width === 4) memory.write32(machine, value);
      else if (width === 2) memory.write16(machine, value);
      else memory.write8(machine, value);
      return undefined;
    }
    const physical = this.translate(linear, true, user);
    if (isFault(physical)) return physical;
    vcpu.physical.write(physical, width, value);
    return undefined;
  }

  /**
   * Up to `length` bytes of code at a linear address, fewer where the next page is not mapped. With `length` reached nothing
   * is missing; an empty result comes as the #PF of the fetch. Charges one access per page.
   */
  fetch(linear: number, length: number, user: boolean): Uint8Array | GuestFault {
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const at = (linear + done) >>> 0;
      const page = this.fetchPage(at, user);
      if (isFault(page)) return done === 0 ? page : out.subarray(0, done);
      const chunk = Math.min(length - done, PAGE_SIZE - (at & PAGE_OFFSET_MASK));
      out.set(this.#vcpu.physical.readBytes(((page << 12) | (at & PAGE_OFFSET_MASK)) >>> 0, chunk), done);
      done += chunk;
    }
    return out;
  }

  /** The guest page that code at `linear` is fetched from: the identity of a translation. Sets the accessed bit. */
  fetchPage(linear: number, user: boolean): Ppn | GuestFault {
    this.#vcpu.thread.charge(this.#vcpu.costs.guestMemoryAccess);
    const physical = this.translate(linear, false, user);
    return isFault(physical) ? physical : ppnOf(physical);
  }
}
