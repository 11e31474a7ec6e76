/**
 * One sample: all counters at one instant of virtual time, immutable. The console, the batch export and recordings see
 * nothing else. Everything that rises is cumulative since the host started (worlds, pCPUs) or since the VM's power-on
 * (VM counters, `causes`); rates are differences between two samples.
 *
 * Times are in cycles of the host clock (`cyclesPerSecond`), sizes in the unit that the name ends with.
 *
 * A host knows all of it. Samples that are made of performance logs, which hold some of the figures and no texts, have `unknown` and NaN
 * for the rest.
 */
import type { CauseCycles } from './causes.js';
import type { Counters } from './counters.js';

export type Mode = 'native' | 'bt' | 'hv' | 'vmi';
export type PowerState = 'off' | 'on' | 'suspended' | 'crashed';

export interface Sample {
  readonly sequence: number;
  readonly atCycles: number;
  readonly cyclesPerSecond: number;
  readonly host: HostSample;
  readonly pcpus: readonly PcpuSample[];
  /** In the order in which the VMs were added. */
  readonly vms: readonly VmSample[];
}

export interface HostSample {
  readonly name: string;
  readonly cpuModel: string;
  /** Exponential averages over 1, 5 and 15 minutes of virtual time; 1.00 is every pCPU busy. */
  readonly loadAverages: readonly [number, number, number];
  readonly worldCount: number;
  readonly memory: HostMemorySample;
}

export interface HostMemorySample {
  readonly totalKb: number;
  /** The vmkernel's own. */
  readonly kernelKb: number;
  /** VMs and their overhead. */
  readonly otherKb: number;
  readonly freeKb: number;
  readonly minFreeKb: number;
  readonly reservedKb: number;
  readonly state: 'high' | 'soft' | 'hard' | 'low' | 'unknown';
}

export interface PcpuSample {
  readonly id: number;
  readonly usedCycles: number;
  readonly idleCycles: number;
  /** World that ran there last, or undefined. */
  readonly world: string | undefined;
  readonly switches: number;
}

export interface VmSample {
  /** Group id, stable while the VM exists. */
  readonly gid: number;
  readonly name: string;
  readonly power: PowerState;
  /** Why it crashed: one readable line. */
  readonly crashReason: string | undefined;
  /** Technique that runs the guest now (a VMI VM starts under BT until its kernel calls Init); last one while off. */
  readonly mode: Mode | 'unknown';
  /** Monitor as configured, for the next power-on: what runs the guest unless it is offered VMI. */
  readonly monitor: Exclude<Mode, 'vmi'> | 'unknown';
  /** `vmi.present` in force since the last power-on. */
  readonly vmiEnabled: boolean;
  /** `vmi.present` as configured, for the next power-on. */
  readonly vmiConfigured: boolean;
  /** The guest has called VMI Init and runs paravirtualized. */
  readonly vmiActive: boolean;
  /** 'off', 'booting', 'idle', 'crashed', or the name of the running program. */
  readonly guestState: string;
  readonly poweredOnAtCycles: number;
  /** From power-on to the end of rc.local; undefined until then. */
  readonly bootCycles: number | undefined;
  readonly worlds: readonly WorldSample[];
  readonly counters: Counters;
  /** Cycles by cause; they sum to `chargedCycles`. */
  readonly causes: CauseCycles;
  readonly chargedCycles: number;
  readonly memory: VmMemorySample;
  readonly timer: VmTimerSample;
  readonly cpu: VmCpuAllocation;
  /** In the order of the VM's configuration; totals since power-on. */
  readonly disks: readonly VmDiskSample[];
  readonly nics: readonly VmNicSample[];
  /** Lines of the interrupt controllers that have a device, by rising number; none before the first power-on. */
  readonly interrupts: readonly InterruptSample[];
}

export interface InterruptSample {
  /** 0-15; undefined: none, the local APIC interrupts by itself. */
  readonly irq: number | undefined;
  /** What the guest has made the line's vector; the line's own number before it has set its controllers up. */
  readonly vector: number;
  /** What is on the line. */
  readonly devices: readonly string[];
  /** Requests that the processor acknowledged since power-on. */
  readonly delivered: number;
}

export interface WorldSample {
  readonly id: number;
  readonly name: string;
  readonly kind: 'vmm' | 'vcpu' | 'vmx';
  readonly state: 'run' | 'ready' | 'wait' | 'idle' | 'off' | 'unknown';
  readonly pcpu: number | undefined;
  readonly usedCycles: number;
  readonly runCycles: number;
  readonly sysCycles: number;
  readonly waitCycles: number;
  readonly idleCycles: number;
  readonly readyCycles: number;
  readonly overlapCycles: number;
  readonly costopCycles: number;
  readonly maxLimitedCycles: number;
  readonly switches: number;
  readonly migrations: number;
  readonly quantumExpiries: number;
  readonly wakeups: number;
}

export interface VmMemorySample {
  readonly sizeKb: number;
  readonly grantedKb: number;
  readonly targetKb: number;
  /** Guest pages touched in the last sampling periods. */
  readonly touchedKb: number;
  readonly overheadKb: number;
  readonly overheadMaxKb: number;
  /** Of the overhead: shadow tables, translation cache with its maps. */
  readonly shadowKb: number;
  readonly tcKb: number;
}

export interface VmTimerSample {
  /** 'pit', 'vmi-alarm' or 'none'. */
  readonly source: string;
  /** Rate that the guest programmed now, per second; 0 while stopped. */
  readonly requestedHz: number;
  /** Interrupts delivered since power-on. */
  readonly delivered: number;
  /** Ticks owed and not delivered yet. */
  readonly backlog: number;
  /** How far the guest's tick count is behind real time, in cycles. */
  readonly lagCycles: number;
  readonly stolenCycles: number;
  readonly wakeups: number;
}

export interface VmCpuAllocation {
  readonly shares: number;
  readonly minMhz: number;
  /** undefined: no limit. */
  readonly maxMhz: number | undefined;
}

/** One virtual disk. A request counts when it has completed, as what it was and with what it moved. */
export interface VmDiskSample {
  /** As in a .vmx file: `scsi0:0`. */
  readonly name: string;
  readonly image: string;
  readonly sizeKb: number;
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  /** Requests that ended in an error, beside those above. */
  readonly errors: number;
  /** Requests that wait for the disk or are being served now. */
  readonly outstanding: number;
  /** Sums over completed reads, writes and flushes: waiting for the disk (QAVG times commands), and served by it (DAVG times commands). */
  readonly queueCycles: number;
  readonly deviceCycles: number;
  /** Of both sums together: that of reads and that of writes. The rest is flushes'. */
  readonly readCycles: number;
  readonly writeCycles: number;
}

/** One virtual network card and its port on the host's switch. Bytes are those of Ethernet frames without their checksum. */
export interface VmNicSample {
  /** As in a .vmx file: `ethernet0`. */
  readonly name: string;
  readonly mac: string;
  /** Of the virtual switch: the same as long as the VM exists. */
  readonly port: number;
  readonly sentPackets: number;
  readonly sentBytes: number;
  /** Sent by the guest, and not taken by the switch: no Ethernet frame. */
  readonly sentDropped: number;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  /** Came for the guest, which had no buffer for them. */
  readonly receivedDropped: number;
}
