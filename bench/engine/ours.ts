/**
 * Runs the benchmark guest on our own machine: a native VM without host, scheduler and pacing around it, in the quanta that a
 * host would use.
 */
import { COST_PROFILES } from '../../src/hypervisor/machine/costs/index.js';
import { CodeCache } from '../../src/hypervisor/machine/cpu/code-cache.js';
import type { Compiler } from '../../src/hypervisor/machine/cpu/compile/compiler.js';
import type { Workshop } from '../../src/hypervisor/machine/cpu/compile/workshop.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import { zeroCauses } from '../../src/hypervisor/stats/causes.js';
import { zeroCounters } from '../../src/hypervisor/stats/counters.js';
import { GuestProcessor } from '../../src/hypervisor/vm/guest-processor.js';
import { parseMultiboot } from '../../src/hypervisor/vm/multiboot.js';
import { NativeInstance, NativeMachine } from '../../src/hypervisor/vm/native-instance.js';
import { MpnAllocator } from '../../src/hypervisor/vmkernel/mpn-allocator.js';
import { openWorkshop } from '../../src/session/workshop.js';
import { type ChildOptions, childOptions, childReader, readImage, sendAll } from './child.js';
import { median } from './report.js';
import type { RowReader } from './rows.js';

const QUANTA_PER_SECOND = 1000;

export interface OurRun {
  readonly instructions: number;
  readonly cycles: number;
  readonly regionsCompiled: number;
  readonly regionsDropped: number;
  /** Memory that compiled code is reckoned to take at the end. */
  readonly codeBytes: number;
  /** So often the machine waited: for a region to be ordered, or to be put into the table. */
  readonly compileWaits: number;
  /** Wall time of such a wait. */
  readonly compileMsMax: number;
  readonly compileMsMedian: number;
  readonly compileMsTotal: number;
}

/** Takes the time that each compilation costs the machine; the hypervisor itself may not know what time it is. */
function timeCompiler(compiler: Compiler): readonly number[] {
  const times: number[] = [];
  const compile = compiler.compile.bind(compiler);
  compiler.compile = (...args) => {
    const start = performance.now();
    compile(...args);
    times.push(performance.now() - start);
  };
  const poll = compiler.poll.bind(compiler);
  compiler.poll = () => {
    const before = compiler.compiled;
    const start = performance.now();
    poll();
    if (compiler.compiled !== before) times.push(performance.now() - start);
  };
  return times;
}

/** Runs until the guest says `end`; `workshop` compiles, if there is one. Throws when the machine stops before. */
export function runOurs(options: ChildOptions, image: Uint8Array, reader: RowReader, workshop?: Workshop): OurRun {
  const costs = COST_PROFILES['xeon-5160']!;
  const memoryBytes = options.memoryMib * 1048576;
  const memory = new MachineMemory(RESERVED_BYTES + memoryBytes + 0x100000);
  const { tiering } = options;
  const codeCache = new CodeCache(memory, tiering === undefined ? {} : { tiering }, workshop);
  const waits = timeCompiler(codeCache.compiler);
  const hardware = { memory, allocator: new MpnAllocator(memory), codeCache, costs };
  const machine = new NativeMachine(hardware, memoryBytes);
  const wiring = {
    name: 'bench',
    memoryBytes,
    image: parseMultiboot('guest.elf', image),
    boot: { commandLine: options.commandLine },
    hardwareAssist: false,
    countExecutions: false,
    vmi: false,
    apic: false,
    processor: new GuestProcessor(costs),
    poweredOnAtCycles: 0,
    counters: zeroCounters(),
    causes: zeroCauses(),
    stolen: { stolenCycles: 0 },
    onConsole: (byte: number) => reader.push(byte),
    onGuestLog: () => {},
    onLog: (line: string) => reader.remarks.push(line),
    onVmiActive: () => {},
  };
  const instance = new NativeInstance(hardware, machine, wiring, true);
  const quantum = Math.floor(costs.cyclesPerSecond / QUANTA_PER_SECOND);
  const { context } = machine;
  while (!reader.ended) {
    const until = context.cycles + quantum;
    const result = instance.run(until);
    if (result.kind === 'stopped') throw new Error(`the machine stopped: ${result.reason}`);
    if (result.kind !== 'halted') continue;
    if (result.wakeAtCycles === Infinity && !reader.ended) throw new Error('the guest has halted for good');
    // Nobody else has work: time jumps to what the guest waits for.
    if (Number.isFinite(result.wakeAtCycles)) context.cycles = Math.max(context.cycles, result.wakeAtCycles);
  }
  return {
    instructions: context.instructions,
    cycles: context.cycles,
    regionsCompiled: codeCache.compiler.compiled,
    regionsDropped: codeCache.compiler.drops,
    codeBytes: codeCache.compiler.bytes,
    compileWaits: waits.length,
    compileMsMax: Math.max(0, ...waits),
    compileMsMedian: waits.length === 0 ? 0 : median(waits),
    compileMsTotal: waits.reduce((sum, ms) => sum + ms, 0),
  };
}

if (process.argv[2]?.startsWith('{')) {
  const options = childOptions();
  const reader = childReader();
  const run = runOurs(options, readImage(options.imagePath), reader, openWorkshop());
  sendAll(reader, { ...run });
}
