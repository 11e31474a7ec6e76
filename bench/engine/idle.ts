/** A host full of idle VMs: how many seconds of theirs pass in one of ours. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createHost, type Host, type Mode } from '../../src/hypervisor/index.js';

const IMAGE = fileURLToPath(new URL('../../../fixtures/guest.elf', import.meta.url));
const VMS = 64;
const MEMORY_MIB = 16;
/** After the last boot, before the clock starts. */
const SETTLE_SECONDS = 0.5;
/** Virtual time that is measured at least, and real time. */
const MEASURED_SECONDS = 2;
const MEASURED_MS = 1000;
const BOOT_SECONDS_MAX = 60;
const SLICE_QUANTA = 10;

function fullHost(mode: Mode): Host {
  return createHost({
    name: 'idle',
    pcpus: 8,
    memoryMib: VMS * MEMORY_MIB + 256,
    costs: 'xeon-5160',
    images: { guest: new Uint8Array(readFileSync(IMAGE)) },
    vms: Array.from({ length: VMS }, (_, index) => ({
      name: `vm${index}`,
      memoryMib: MEMORY_MIB,
      monitor: mode === 'native' ? ('native' as const) : ('bt' as const),
      vmi: mode === 'vmi',
      image: 'guest',
      append: '',
      powerOn: true,
    })),
    sampleIntervalMs: 1000,
  });
}

/** Runs for so many virtual seconds or until `done`. Gives the event loop nothing: the host has the thread to itself. */
function advance(host: Host, seconds: number, signal: AbortSignal, done: () => boolean = () => false): void {
  const until = host.nowCycles + seconds * host.cyclesPerSecond;
  while (host.nowCycles < until && !signal.aborted && !done()) {
    host.advance(Math.min(until, host.nowCycles + SLICE_QUANTA * host.quantumCycles));
    host.drainEvents();
    host.drainSamples();
  }
}

/** A line for people. Throws when the guests do not boot. */
export function idleSpeed(mode: Mode, signal: AbortSignal): string {
  const host = fullHost(mode);
  const bootStart = performance.now();
  const booted = (): boolean => host.sample().vms.every(vm => vm.bootCycles !== undefined);
  advance(host, BOOT_SECONDS_MAX, signal, booted);
  if (!booted()) {
    const late = host.sample().vms.filter(vm => vm.bootCycles === undefined);
    const states = new Set(late.map(vm => vm.crashReason ?? `${vm.power}, ${vm.guestState}`));
    throw new Error(`${mode}: ${late.length} guests have not booted (${[...states].join('; ')})`);
  }
  advance(host, SETTLE_SECONDS, signal);
  const bootMs = performance.now() - bootStart;
  const start = performance.now();
  const usage = process.cpuUsage();
  const from = host.nowCycles;
  let wallMs = 0;
  while (wallMs < MEASURED_MS && !signal.aborted) {
    advance(host, MEASURED_SECONDS, signal);
    wallMs = performance.now() - start;
  }
  const { user, system } = process.cpuUsage(usage);
  const speed = (host.nowCycles - from) / host.cyclesPerSecond / (wallMs / 1000);
  const core = (user + system) / 1000 / wallMs;
  const { regions, modules, compiledBytes } = host.engine;
  const code = `${regions} regions of ${modules} modules, ${(compiledBytes / 1048576).toFixed(1)} MiB`;
  return `${VMS} idle VMs, ${mode}: ${speed.toFixed(2)} virtual seconds a second on ${core.toFixed(2)} processors (all booted after ${(bootMs / 1000).toFixed(1)} s; ${code})`;
}
