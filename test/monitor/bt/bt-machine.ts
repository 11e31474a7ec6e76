/**
 * Two machines for one piece of guest code: a bare processor, and the same processor under the BT monitor. Both start in
 * flat 32-bit protected mode with paging off; guest memory is a few pages with a GDT, an IDT and a TSS.
 */
import type { Mpn } from '../../../src/hypervisor/base/pages.js';
import { XEON_5160 } from '../../../src/hypervisor/machine/costs/xeon-5160.js';
import { assemble } from '../../../src/hypervisor/machine/cpu/assemble.js';
import { CodeCache } from '../../../src/hypervisor/machine/cpu/code-cache.js';
import { Context } from '../../../src/hypervisor/machine/cpu/context.js';
import { Attr, type ContextWiring, S, Seg, segSelector } from '../../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../../src/hypervisor/machine/memory.js';
import { type BtOptions, BtTechnique } from '../../../src/hypervisor/monitor/bt/technique.js';
import { MonitorLoop } from '../../../src/hypervisor/monitor/loop.js';
import { MmioWindow } from '../../../src/hypervisor/monitor/mmio-window.js';
import type { MonitoredVm } from '../../../src/hypervisor/monitor/monitored-vm.js';
import { Pmap } from '../../../src/hypervisor/monitor/pmap.js';
import { VirtualCpu } from '../../../src/hypervisor/monitor/virtual-cpu.js';
import { zeroCauses } from '../../../src/hypervisor/stats/causes.js';
import { zeroCounters } from '../../../src/hypervisor/stats/counters.js';

export const RAM_BYTES = 0x100000;
export const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
/** Where handlers that only stop are: one HLT for each vector. */
export const STUBS = 0x4000;
export const STACK_TOP = 0x9000;
export const USER_STACK_TOP = 0xa000;
export const CODE = 0x10000;
export const DATA = 0x20000;
export const Selectors = { CODE: 0x08, DATA: 0x10, USER_CODE: 0x1b, USER_DATA: 0x23, TSS: 0x28, TLS: 0x33 } as const;

const FLAT_CODE = 0x00cf9b00;
const FLAT_DATA = 0x00cf9300;
const DPL3 = 0x6000;

/** One guest: bytes at addresses, and where it starts. */
export interface Guest {
  readonly memory: Uint8Array;
  readonly eip: number;
  readonly esp: number;
}

/** Puts `source` at `CODE` of an otherwise standard guest; `more` is assembled at other addresses. */
export function guest(source: string, more: Readonly<Record<number, string>> = {}, eip = CODE): Guest {
  const memory = new Uint8Array(RAM_BYTES);
  const view = new DataView(memory.buffer);
  const put64 = (at: number, low: number, high: number): void => {
    view.setUint32(at, low >>> 0, true);
    view.setUint32(at + 4, high >>> 0, true);
  };
  put64(GDT + 0x08, 0x0000ffff, FLAT_CODE);
  put64(GDT + 0x10, 0x0000ffff, FLAT_DATA);
  put64(GDT + 0x18, 0x0000ffff, FLAT_CODE | DPL3);
  put64(GDT + 0x20, 0x0000ffff, FLAT_DATA | DPL3);
  put64(GDT + 0x28, (TSS << 16) | 103, 0x00008900);
  // A small segment based at DATA, for FS and GS.
  put64(GDT + 0x30, ((DATA & 0xffff) << 16) | 0xffff, 0x00409300 | DPL3 | (DATA >>> 16));
  view.setUint32(TSS + 4, STACK_TOP, true);
  view.setUint32(TSS + 8, Selectors.DATA, true);
  for (let vector = 0; vector < 256; vector++) {
    const at = STUBS + vector * 4;
    memory[at] = 0xf4;
    memory.set([0xeb, 0xfd], at + 1);
    setGate(memory, vector, at, vector === 0x80 || vector === 3 ? 3 : 0);
  }
  for (const [at, text] of [
    [CODE, source] as const,
    ...Object.entries(more).map(([a, t]) => [Number(a), t] as const),
  ]) {
    memory.set(assemble(at, text).bytes, at);
  }
  return { memory, eip, esp: STACK_TOP };
}

/** An interrupt gate into the kernel. */
export function setGate(memory: Uint8Array, vector: number, handler: number, dpl: number): void {
  const view = new DataView(memory.buffer);
  view.setUint32(IDT + vector * 8, (Selectors.CODE << 16) | (handler & 0xffff), true);
  view.setUint32(IDT + vector * 8 + 4, (handler & 0xffff0000) | 0x8e00 | (dpl << 13), true);
}

export interface End {
  readonly why: string;
  readonly registers: readonly number[];
  readonly eip: number;
  readonly eflags: number;
  readonly selectors: readonly number[];
  readonly memory: Uint8Array;
  /** OUTs to ports: [port, value]. */
  readonly outputs: readonly (readonly [number, number])[];
}

/** The lines of a device that raises vector 0x20 when told, and takes an end of interrupt at port 0x20. */
class Interrupts {
  intr = false;
  onChange: (level: boolean) => void = () => {};
  set(level: boolean): void {
    this.intr = level;
    this.onChange(level);
  }
  acknowledge(): number {
    this.set(false);
    return 0x20;
  }
}

class Ports {
  readonly outputs: [number, number][] = [];
  constructor(readonly interrupts: Interrupts) {}
  read(port: number, width: 1 | 2 | 4): number {
    return width === 1 ? (port * 7 + 1) & 0xff : 0x1234;
  }
  write(port: number, _width: 1 | 2 | 4, value: number): void {
    this.outputs.push([port, value]);
    // Port 0x99 raises the interrupt line.
    if (port === 0x99) this.interrupts.set(true);
  }
}

const wiring = (
  memory: MachineMemory,
  ports: Ports,
  interrupts: Interrupts,
  more: Pick<ContextWiring, 'physicalBase' | 'physicalBytes' | 'ring0Escapes' | 'mmio'>,
): ContextWiring => ({
  memory,
  costs: XEON_5160,
  ports,
  interrupts,
  isDeviceMemory: () => false,
  onUnimplemented: () => {},
  cpuid: (leaf: number) => [leaf, 0x756e6547, 0x6c65746e, 0x49656e69],
  readMsr: () => undefined,
  writeMsr: () => false,
  ...more,
});

const NO_MMIO = { read: () => 0xffffffff, write: () => {} };
const FLAT_PARTS = {
  code: Attr.P | Attr.S | Attr.CODE | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G,
  data: Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G,
};

/** Runs the guest on a bare processor until HLT (with interrupts off), or for so many cycles. */
export function runNative(start: Guest, cyclesMax = 5_000_000): End {
  const memory = new MachineMemory(RESERVED_BYTES + 2 * 1024 * 1024);
  const base = RESERVED_BYTES;
  memory.writeBytes(base, start.memory);
  const interrupts = new Interrupts();
  const ports = new Ports(interrupts);
  const context = new Context(
    wiring(memory, ports, interrupts, {
      physicalBase: base,
      physicalBytes: RAM_BYTES,
      ring0Escapes: false,
      mmio: NO_MMIO,
    }),
    new CodeCache(memory),
  );
  interrupts.onChange = level => context.setIntr(level);
  const { s } = context;
  context.setCr0(0x11);
  for (const seg of [Seg.ES, Seg.SS, Seg.DS]) context.setSegment(seg, Selectors.DATA, 0, -1, FLAT_PARTS.data);
  for (const seg of [Seg.FS, Seg.GS]) context.setSegment(seg, 0, 0, 0, 0);
  context.setSegment(Seg.CS, Selectors.CODE, 0, -1, FLAT_PARTS.code);
  context.setSegment(Seg.TR, Selectors.TSS, TSS, 103, Attr.P | 0xb);
  context.setSegment(Seg.LDTR, 0, 0, 0, 0);
  context.setCpl(0);
  s[S.GDT_BASE] = GDT;
  s[S.GDT_LIMIT] = 0x37;
  s[S.IDT_BASE] = IDT;
  s[S.IDT_LIMIT] = 0x7ff;
  context.writeEflags(2);
  s[S.EIP] = start.eip;
  s[S.ESP] = start.esp;
  let why = 'limit';
  while (context.cycles < cyclesMax) {
    const exit = context.run(cyclesMax);
    if (exit.kind === 'deadline') continue;
    if (exit.kind === 'halt' && interrupts.intr && (context.readEflags() & 0x200) !== 0) continue;
    why = exit.kind;
    break;
  }
  return {
    why,
    registers: [...s.subarray(0, 8)],
    eip: s[S.EIP]! >>> 0,
    eflags: context.readEflags(),
    selectors: [0, 1, 2, 3, 4, 5].map(seg => s[segSelector(seg)]! & 0xffff),
    memory: memory.bytes(base, RAM_BYTES).slice(),
    outputs: ports.outputs,
  };
}

export interface BtMachine {
  readonly vcpu: VirtualCpu;
  readonly technique: BtTechnique;
  readonly loop: MonitorLoop;
  readonly vm: MonitoredVm;
  readonly log: string[];
  readonly interrupts: Interrupts;
  /** Timers: [cycle, what]; run in order. */
  readonly timers: { at: number; run: () => void }[];
  end(why: string): End;
}

export function makeBt(start: Guest, options: BtOptions = {}): BtMachine {
  const memory = new MachineMemory(RESERVED_BYTES + 24 * 1024 * 1024);
  let nextPage = RESERVED_BYTES >>> 12;
  const free: number[] = [];
  const allocate = (): Mpn => {
    const mpn = (free.pop() ?? nextPage++) as Mpn;
    memory.fill(mpn << 12, 4096, 0);
    return mpn;
  };
  const interrupts = new Interrupts();
  const ports = new Ports(interrupts);
  const mmioWindow = new MmioWindow(NO_MMIO);
  const thread = new Context(
    wiring(memory, ports, interrupts, {
      physicalBase: 0,
      physicalBytes: memory.sizeBytes,
      ring0Escapes: true,
      mmio: mmioWindow,
    }),
    new CodeCache(memory),
  );
  const log: string[] = [];
  const timers: { at: number; run: () => void }[] = [];
  const vm = {
    name: 'test',
    memory,
    costs: XEON_5160,
    pmap: new Pmap(RAM_BYTES, allocate),
    memoryBytes: RAM_BYTES,
    ports,
    mmio: NO_MMIO,
    mmioWindow,
    interrupts,
    counters: zeroCounters(),
    causes: zeroCauses(),
    shadowPagesMax: 256,
    poweredOff: undefined,
    nextTimerAt: () => Math.min(Infinity, ...timers.map(timer => timer.at)),
    runTimers: (now: number) => {
      let fired = 0;
      for (const timer of [...timers]) {
        if (timer.at > now) continue;
        timers.splice(timers.indexOf(timer), 1);
        timer.run();
        fired += 1;
      }
      return fired;
    },
    allocateMonitorPage: allocate,
    freeMonitorPage: (mpn: Mpn) => void free.push(mpn),
    cpuid: (leaf: number) => [leaf, 0x756e6547, 0x6c65746e, 0x49656e69] as const,
    readMsr: () => undefined,
    writeMsr: () => false,
    log: (line: string) => void log.push(line),
  } as unknown as MonitoredVm;
  const vcpu = new VirtualCpu(vm, thread);
  vcpu.physical.writeBytes(0, start.memory);
  vcpu.cr0 = 0x11;
  vcpu.shadow.pagingChanged();
  for (const seg of [Seg.ES, Seg.SS, Seg.DS]) vcpu.setSegment(seg, Selectors.DATA, 0, -1, FLAT_PARTS.data);
  for (const seg of [Seg.FS, Seg.GS]) vcpu.setSegment(seg, 0, 0, 0, 0);
  vcpu.setSegment(Seg.CS, Selectors.CODE, 0, -1, FLAT_PARTS.code);
  vcpu.setSegment(Seg.TR, Selectors.TSS, TSS, 103, Attr.P | 0xb);
  vcpu.gdtBase = GDT;
  vcpu.gdtLimit = 0x37;
  vcpu.idtBase = IDT;
  vcpu.idtLimit = 0x7ff;
  vcpu.descriptors.setGdt(true);
  vcpu.descriptors.install();
  vcpu.eflags = 2;
  vcpu.eip = start.eip;
  vcpu.esp = start.esp;
  const technique = new BtTechnique(vcpu, options);
  const loop = new MonitorLoop(vcpu, technique, () => technique);
  return {
    vcpu,
    technique,
    loop,
    vm,
    log,
    interrupts,
    timers,
    end: why => {
      technique.capture();
      vcpu.descriptors.propagateAccessed();
      const bytes = new Uint8Array(RAM_BYTES);
      for (const [ppn, mpn] of vm.pmap.backedPages()) bytes.set(memory.pageBytes(mpn), ppn << 12);
      return {
        why,
        registers: [...thread.s.subarray(0, 8)],
        eip: vcpu.eip,
        eflags: vcpu.eflags,
        selectors: [0, 1, 2, 3, 4, 5].map(seg => vcpu.selector(seg) & 0xffff),
        memory: bytes,
        outputs: ports.outputs,
      };
    },
  };
}

/** Runs the guest under BT until HLT with interrupts off, or for so many cycles. */
export function runBt(machine: BtMachine, cyclesMax = 50_000_000): End {
  for (;;) {
    const result = machine.loop.run(cyclesMax);
    if (result.kind === 'stopped') return machine.end(`stopped: ${result.reason}`);
    if (result.kind === 'deadline') return machine.end('limit');
    if (!machine.vcpu.interruptsEnabled || result.wakeAtCycles === Infinity) return machine.end('halt');
    machine.vcpu.thread.cycles = Math.max(machine.vcpu.thread.cycles, result.wakeAtCycles);
  }
}

/** First differences between two ends, readable; empty when they agree. */
export function differences(native: End, bt: End): string[] {
  const names = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];
  const found: string[] = [];
  const hex = (value: number): string => (value >>> 0).toString(16);
  if (native.why !== bt.why) found.push(`end: ${native.why} / ${bt.why}`);
  native.registers.forEach((value, i) => {
    if (value !== bt.registers[i]) found.push(`${names[i]}: ${hex(value)} / ${hex(bt.registers[i]!)}`);
  });
  if (native.eip !== bt.eip) found.push(`eip: ${hex(native.eip)} / ${hex(bt.eip)}`);
  if (native.eflags !== bt.eflags) found.push(`eflags: ${hex(native.eflags)} / ${hex(bt.eflags)}`);
  native.selectors.forEach((value, i) => {
    if (value !== bt.selectors[i]) found.push(`segment ${i}: ${hex(value)} / ${hex(bt.selectors[i]!)}`);
  });
  for (let i = 0; i < native.memory.length && found.length < 20; i++) {
    if (native.memory[i] !== bt.memory[i]) {
      found.push(`memory ${hex(i)}: ${hex(native.memory[i]!)} / ${hex(bt.memory[i]!)}`);
    }
  }
  if (JSON.stringify(native.outputs) !== JSON.stringify(bt.outputs)) found.push('port outputs differ');
  return found;
}
