/** One power-on of a VM: what exists from switching on to switching off, whatever runs the guest. */
import type { Archive } from '../base/archive.js';
import type { PowerRequest } from '../devices/system-control.js';
import type { CostProfile } from '../machine/costs/profile.js';
import type { CodeCache } from '../machine/cpu/code-cache.js';
import type { HardwareThread } from '../machine/cpu/processor.js';
import { S, type UnimplementedReport } from '../machine/cpu/state.js';
import type { MachineMemory } from '../machine/memory.js';
import type { LoopResult } from '../monitor/loop.js';
import type { CauseCycles } from '../stats/causes.js';
import type { CodeLine } from '../stats/code-listing.js';
import type { Counters } from '../stats/counters.js';
import type { Mode, VmTimerSample } from '../stats/sample.js';
import type { MpnAllocator } from '../vmkernel/mpn-allocator.js';
import type { Adapter, Board } from './board.js';
import type { BootImage, BootOptions } from './boot-image.js';
import type { GuestProcessor } from './guest-processor.js';
import { FIRMWARE_SEGMENT } from './smbios.js';

/** What all VMs of a host share. */
export interface HostHardware {
  readonly memory: MachineMemory;
  readonly allocator: MpnAllocator;
  readonly codeCache: CodeCache;
  readonly costs: CostProfile;
}

/** A guest that was suspended, to be gone on with. */
export interface SavedGuest {
  readonly mode: Mode;
  /** What `suspend` has written. */
  readonly archive: Archive;
}

/** What an instance needs of its VM. */
export interface InstanceWiring {
  readonly name: string;
  readonly memoryBytes: number;
  readonly image: BootImage;
  readonly boot: BootOptions;
  readonly vmi: boolean;
  readonly processor: GuestProcessor;
  /** The processor has a local APIC. */
  readonly apic: boolean;
  /** The guest runs in VMX non-root operation. */
  readonly hardwareAssist: boolean;
  readonly countExecutions: boolean;
  /** Undefined: the default. */
  readonly tcBytes?: number;
  /** Besides the board's own devices. */
  readonly adapters?: readonly Adapter[];
  /** Host clock. */
  readonly poweredOnAtCycles: number;
  /** By which the guest's time is behind. */
  readonly shiftCycles?: number;
  /** Instead of starting the image. */
  readonly saved?: SavedGuest;
  readonly counters: Counters;
  readonly causes: CauseCycles;
  /** Cycles since power-on that the virtual CPU was ready but did not run. */
  readonly stolen: { readonly stolenCycles: number };
  onConsole(byte: number): void;
  onGuestLog(text: string): void;
  /** A line of the monitor's own. */
  onLog(line: string): void;
  /** The guest's kernel goes on paravirtualized. */
  onVmiActive(): void;
}

export interface InstanceMemory {
  readonly grantedKb: number;
  readonly touchedKb: number;
  readonly overheadKb: number;
  readonly overheadMaxKb: number;
  readonly shadowKb: number;
  readonly tcKb: number;
}

export interface Instance {
  readonly thread: HardwareThread;
  readonly board: Board;
  readonly mode: Mode;
  /** What a device has asked for; ends the instance. */
  readonly powerRequest: PowerRequest | undefined;
  run(untilCycles: number): LoopResult;
  /** Will an interrupt get through to the halted guest? */
  readonly interruptsEnabled: boolean;
  memoryUse(): InstanceMemory;
  resetTouched(): void;
  timer(nowCycles: number): Pick<VmTimerSample, 'source' | 'requestedHz' | 'backlog' | 'lagCycles'>;
  audit(): string[];
  /** Guest code beside its translation; undefined where nothing is translated. */
  listCode(linear: number): readonly CodeLine[] | undefined;
  /** Non-zero pages of guest memory, by rising PPN. */
  pages(): Iterable<readonly [ppn: number, bytes: Int32Array]>;
  /** Writes the guest down, and takes it out for that: nothing runs afterwards. Right behind `run`, or before the first one. */
  suspend(archive: Archive): void;
  /** Gives every machine page back. */
  release(): void;
}

/** The backdoor's view of a hardware thread. */
export const registersOf = (thread: () => HardwareThread) => ({
  get eax(): number {
    return thread().s[S.EAX]! >>> 0;
  },
  get ebx(): number {
    return thread().s[S.EBX]! >>> 0;
  },
  set ebx(value: number) {
    thread().s[S.EBX] = value;
  },
  get ecx(): number {
    return thread().s[S.ECX]! >>> 0;
  },
  set ecx(value: number) {
    thread().s[S.ECX] = value;
  },
  get edx(): number {
    return thread().s[S.EDX]! >>> 0;
  },
  set edx(value: number) {
    thread().s[S.EDX] = value;
  },
});

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

export const unimplementedLine = ({ eip, bytes, text }: UnimplementedReport): string => {
  const dump = bytes.map(byte => byte.toString(16).padStart(2, '0')).join(' ');
  return `unimplemented instruction at ${hex(eip)}: ${dump} (${text}), #UD to the guest`;
};

/** First page of the range between conventional memory and 1 MiB, which belongs to adapters and firmware, and its end. */
export const ADAPTER_FIRST_PAGE = 0xa0;
export const ADAPTER_END_PAGE = 0x100;

/**
 * The end of what no memory answers for, for a kernel that is loaded directly: Linux reads the firmware's segment behind it for what the
 * machine is, as on a PC, where firmware has copied itself there. Multiboot kernels find nothing.
 */
export const adapterEndPage = (image: BootImage): number =>
  image.kind === 'linux' ? FIRMWARE_SEGMENT / 4096 : ADAPTER_END_PAGE;
