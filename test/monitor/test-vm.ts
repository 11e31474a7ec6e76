/**
 * A VM for tests of the shared monitor: real machine memory, a real hardware thread, a guest whose tables the test writes, and
 * a technique that simply runs guest code where it is (kernel at CPL 1), which is all that the shared parts need.
 */
import type { Mpn } from '../../src/hypervisor/base/pages.js';
import { XEON_5160 } from '../../src/hypervisor/machine/costs/xeon-5160.js';
import { CodeCache } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { Context } from '../../src/hypervisor/machine/cpu/context.js';
import { Attr, Cr0, Cr4, type Exit, S, Seg } from '../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import { deliver, eventOf } from '../../src/hypervisor/monitor/inject.js';
import { MmioWindow } from '../../src/hypervisor/monitor/mmio-window.js';
import { MachineMemoryExhausted, type MonitoredVm } from '../../src/hypervisor/monitor/monitored-vm.js';
import { Pmap } from '../../src/hypervisor/monitor/pmap.js';
import { emulate } from '../../src/hypervisor/monitor/privileged.js';
import type { Outcome, Technique } from '../../src/hypervisor/monitor/technique.js';
import { VirtualCpu } from '../../src/hypervisor/monitor/virtual-cpu.js';
import { zeroCauses } from '../../src/hypervisor/stats/causes.js';
import { zeroCounters } from '../../src/hypervisor/stats/counters.js';

export const P = 1;
export const W = 2;
export const U = 4;
export const A = 32;
export const D = 64;
export const PS = 128;
export const G = 256;

export interface TestVmOptions {
  readonly ramBytes?: number;
  readonly shadowPagesMax?: number;
  /** Machine pages that may be handed out in all. */
  readonly pagesMax?: number;
  readonly holeBase?: number;
}

interface Timer {
  readonly at: number;
  readonly fire: () => void;
}

export class TestVm {
  readonly memory: MachineMemory;
  readonly thread: Context;
  readonly vm: MonitoredVm;
  readonly vcpu: VirtualCpu;
  readonly log: string[] = [];
  readonly portLog: string[] = [];
  readonly mmioLog: string[] = [];
  readonly unimplemented: string[] = [];
  /** Machine pages in use by the monitor. */
  readonly monitorPages = new Set<number>();
  timers: Timer[] = [];
  intr = false;
  vector = 0x20;
  stopRequested = false;
  readonly #makeThread: () => Context;

  constructor(options: TestVmOptions = {}) {
    const ramBytes = options.ramBytes ?? 8 << 20;
    this.memory = new MachineMemory(RESERVED_BYTES + ramBytes + (6 << 20));
    const { memory } = this;
    let nextPage = RESERVED_BYTES >>> 12;
    let pagesLeft = options.pagesMax ?? Infinity;
    const free: number[] = [];
    const allocate = (): Mpn => {
      if (pagesLeft-- <= 0) throw new MachineMemoryExhausted('no page left');
      const mpn = (free.pop() ?? nextPage++) as Mpn;
      memory.fill(mpn << 12, 4096, 0);
      return mpn;
    };
    const test = this;
    const ports = {
      read: (port: number, width: number) => {
        this.portLog.push(`in ${port.toString(16)} ${width}`);
        return (port * 0x01010101) % 2 ** (8 * width);
      },
      write: (port: number, width: number, value: number) => {
        this.portLog.push(`out ${port.toString(16)} ${width} ${value.toString(16)}`);
      },
    };
    const devices = {
      read: (physical: number, width: number) => {
        this.mmioLog.push(`read ${physical.toString(16)} ${width}`);
        return (0x11223344 + physical) % 2 ** (8 * width);
      },
      write: (physical: number, width: number, value: number) => {
        this.mmioLog.push(`write ${physical.toString(16)} ${width} ${value.toString(16)}`);
      },
    };
    const mmioWindow = new MmioWindow(devices);
    const cpuid = (leaf: number) => [leaf, 2, 3, 4] as const;
    const readMsr = (index: number) => (index === 0x1b ? ([0xfee00800, 0] as const) : undefined);
    const writeMsr = (index: number) => index === 0x1b;
    const interrupts = {
      get intr() {
        return test.intr;
      },
      acknowledge: () => {
        this.intr = false;
        return this.vector;
      },
    };
    const codeCache = new CodeCache(memory);
    this.#makeThread = () =>
      new Context(
        {
          memory,
          costs: XEON_5160,
          ports,
          mmio: mmioWindow,
          interrupts,
          physicalBase: 0,
          physicalBytes: memory.sizeBytes,
          isDeviceMemory: () => false,
          ring0Escapes: true,
          onUnimplemented: report => this.unimplemented.push(report.text),
          cpuid,
          readMsr,
          writeMsr,
        },
        codeCache,
      );
    this.thread = this.#makeThread();
    this.vm = {
      name: 'test',
      memory,
      costs: XEON_5160,
      pmap: new Pmap(ramBytes, allocate),
      memoryBytes: ramBytes,
      ports,
      mmio: devices,
      mmioWindow,
      interrupts,
      counters: zeroCounters(),
      causes: zeroCauses(),
      shadowPagesMax: options.shadowPagesMax ?? 64,
      get stopRequested() {
        return test.stopRequested;
      },
      nextTimerAt: () => Math.min(Infinity, ...this.timers.map(({ at }) => at)),
      runTimers: now => {
        const due = this.timers.filter(({ at }) => at <= now);
        this.timers = this.timers.filter(({ at }) => at > now);
        for (const timer of due) timer.fire();
        return due.length;
      },
      allocateMonitorPage: () => {
        const mpn = allocate();
        this.monitorPages.add(mpn);
        return mpn;
      },
      freeMonitorPage: mpn => {
        if (!this.monitorPages.delete(mpn)) throw new Error('freed twice');
        free.push(mpn);
      },
      cpuid,
      readMsr,
      writeMsr,
      log: line => this.log.push(line),
    };
    this.vcpu = new VirtualCpu(this.vm, this.thread, options.holeBase);
    this.flat();
  }

  /** Flat segments as a boot loader leaves them; kernel level. */
  flat(vcpu = this.vcpu): void {
    const data = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G;
    vcpu.setSegment(Seg.CS, 0x08, 0, -1, data | Attr.CODE);
    for (const seg of [Seg.DS, Seg.ES, Seg.SS, Seg.FS, Seg.GS]) vcpu.setSegment(seg, 0x10, 0, -1, data);
    vcpu.setSegment(Seg.TR, 0, 0, 0, 0);
    vcpu.setSegment(Seg.LDTR, 0, 0, 0, 0);
    vcpu.cr0 = Cr0.PE | Cr0.ET;
    vcpu.cpl = 0;
  }

  /** A further virtual CPU on a hardware thread of its own, with the first one's shadow tables or with its own. */
  addVcpu(shadows: 'shared' | 'own'): VirtualCpu {
    const { set } = this.vcpu.shadow;
    const vcpu = new VirtualCpu(this.vm, this.#makeThread(), undefined, {
      traces: set.traces,
      ...(shadows === 'shared' ? { shadows: set } : {}),
    });
    this.flat(vcpu);
    return vcpu;
  }

  write32(physical: number, value: number): void {
    this.vcpu.physical.write(physical, 4, value >>> 0);
  }

  read32(physical: number): number {
    return this.vcpu.physical.read(physical, 4);
  }

  write(physical: number, bytes: Uint8Array): void {
    this.vcpu.physical.writeBytes(physical, bytes);
  }

  /** Turns the guest's paging on with this directory. */
  enablePaging(cr3: number, cr0: number = Cr0.WP, cr4: number = Cr4.PSE | Cr4.PGE, vcpu = this.vcpu): void {
    vcpu.cr3 = cr3;
    vcpu.cr4 = cr4;
    vcpu.cr0 = Cr0.PE | Cr0.ET | Cr0.PG | cr0;
    vcpu.shadow.pagingChanged();
  }

  /** Resolves accesses as the loop would, without running code: answers the kind of the first fault that is not hidden. */
  touch(linear: number, write: boolean, user: boolean): string {
    const errorCode = (write ? 2 : 0) | (user ? 4 : 0);
    for (let tries = 0; tries < 4; tries++) {
      if (this.vcpu.shadow.lookup(linear, write, user) !== undefined) return 'mapped';
      const fault = this.vcpu.shadow.classify(linear, errorCode);
      if (fault.kind !== 'hidden') return fault.kind === 'true' ? `true ${fault.errorCode}` : fault.kind;
      this.vcpu.shadow.fill(fault);
    }
    return 'endless';
  }
}

const ALL = [Seg.ES, Seg.CS, Seg.SS, Seg.DS, Seg.FS, Seg.GS];

/** Runs guest code as it is: kernel at CPL 1, user at CPL 3. Sensitive instructions that do not trap go wrong, of course. */
export class DirectTechnique implements Technique {
  readonly mode = 'bt';
  readonly codeWrites: string[] = [];
  mappingChanges = 0;
  traceHits = 0;

  constructor(readonly vcpu: VirtualCpu) {}

  enter(deadlineCycles: number): Exit {
    const { vcpu } = this;
    const { thread } = vcpu;
    if (!vcpu.inHardware) {
      thread.s[S.EIP] = vcpu.eip;
      thread.setCpl(vcpu.cpl === 3 ? 3 : 1);
      vcpu.pushSegments(ALL);
      vcpu.inHardware = true;
    }
    vcpu.chargeEntry();
    if (!vcpu.interruptShadow) return thread.run(deadlineCycles);
    vcpu.interruptShadow = false;
    const exit = thread.step();
    return exit.kind === 'stepped' ? { kind: 'deadline' } : exit;
  }

  capture(): void {
    const { vcpu } = this;
    if (!vcpu.inHardware) return;
    vcpu.inHardware = false;
    vcpu.eip = vcpu.thread.s[S.EIP]!;
    vcpu.pullSegments(ALL);
    if (vcpu.cpl !== 3) vcpu.setSelector(Seg.CS, vcpu.selector(Seg.CS) & ~3);
  }

  handle(exit: Exit): Outcome {
    const { vcpu } = this;
    if (exit.kind !== 'monitor') return { kind: 'stopped', reason: `unexpected ${exit.kind}` };
    vcpu.thread.charge(vcpu.costs.vmmEntry);
    this.capture();
    if (exit.vector === 13 && !exit.software) {
      vcpu.account('trap');
      const effect = emulate(vcpu);
      if (effect?.kind === 'halt') return { kind: 'halted' };
      if (effect?.kind === 'stopped') return effect;
      if (effect !== undefined && effect.kind !== 'fault') return { kind: 'resume' };
      const delivery = deliver(
        vcpu,
        effect === undefined ? { kind: 'exception', vector: 13, errorCode: exit.errorCode } : eventOf(effect),
      );
      return delivery.kind === 'stopped' ? delivery : { kind: 'resume' };
    }
    vcpu.account('syscall');
    const kind = exit.software ? 'software' : 'exception';
    const delivery = deliver(vcpu, {
      kind,
      vector: exit.vector,
      errorCode: exit.hasErrorCode ? exit.errorCode : undefined,
    });
    return delivery.kind === 'stopped' ? delivery : { kind: 'resume' };
  }

  onTraceHit(): void {
    this.traceHits += 1;
  }

  onCodeWritten(ppn: number, offset: number, length: number): void {
    this.codeWrites.push(`${ppn.toString(16)}+${offset.toString(16)}:${length}`);
  }

  onMappingChanged(): void {
    this.mappingChanges += 1;
  }

  audit(): string[] {
    return [];
  }
}
