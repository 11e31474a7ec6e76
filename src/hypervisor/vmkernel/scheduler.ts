/**
 * Worlds on physical CPUs: proportional share by charged time, with a time slice, within reservations and limits (`allocation.ts`).
 *
 * Each pCPU has its own clock. Whatever happens next in time is done next: a halted world wakes, a ready world gets an idle
 * pCPU, or the busy pCPU that is furthest behind runs on. The guest may overrun the end of a quantum by the distance to its
 * next event point; what follows from the run (halt, stop, preemption) then waits for the quantum in which its time lies, so
 * no world ever changes state after the end of a finished quantum, and samples taken there are exact.
 *
 * A world that wakes and has used less than the one that runs takes its place at the end of the quantum, not of the slice:
 * a guest that only answers its timer would otherwise wait a slice for each tick.
 *
 * A pCPU without work costs nothing, and neither does an idle world.
 */
import type { PcpuSample } from '../stats/sample.js';
import type { CpuAllocation } from './allocation.js';
import type { GuestResult, World } from './world.js';

/** ESX's default CPU quantum is 50 ms (Resource Management Guide, "Cpu.Quantum"). */
export const TIME_SLICE_MS = 50;

class Pcpu {
  readonly id: number;
  nowCycles: number;
  world: World | undefined;
  lastWorld: World | undefined;
  /** The world has been chosen, and the switch to it takes until `nowCycles`. */
  switching = false;
  sliceEndCycles = 0;
  /** The world has run since it was put here; before that nobody may take its place. */
  started = false;
  /** A result whose time may lie beyond the present quantum. */
  result: GuestResult | undefined;
  idleCycles = 0;
  switches = 0;

  constructor(id: number, nowCycles: number) {
    this.id = id;
    this.nowCycles = nowCycles;
  }

  release(atCycles: number): void {
    this.world = undefined;
    this.switching = false;
    this.result = undefined;
    this.nowCycles = atCycles;
  }

  sample(nowCycles: number, startCycles: number): PcpuSample {
    const idleCycles = this.idleCycles + (this.world === undefined ? nowCycles - this.nowCycles : 0);
    return {
      id: this.id,
      usedCycles: nowCycles - startCycles - idleCycles,
      idleCycles,
      world: this.lastWorld?.name,
      switches: this.switches,
    };
  }
}

export class Scheduler {
  readonly #pcpus: readonly Pcpu[];
  readonly #worlds = new Set<World>();
  /** Idle worlds that will wake by themselves, soonest first; of equal times, in the order of the worlds. */
  readonly #sleepers: World[] = [];
  /** Ready worlds that are on no pCPU yet, in no order. */
  readonly #waiting: World[] = [];
  /** Ready worlds that have used what their limits permit, in no order; each may run again at its `readyAtCycles`. */
  readonly #limited: World[] = [];
  readonly #sliceCycles: number;
  readonly #startCycles: number;
  /** Smallest pass of the worlds that want to run, only rising: where worlds that come back from idling queue up. */
  #virtualTime = 0;
  /** Time of what was done last. */
  #now = 0;
  #added = 0;

  constructor(pcpuCount: number, cyclesPerSecond: number, nowCycles: number) {
    this.#pcpus = Array.from({ length: pcpuCount }, (_, id) => new Pcpu(id, nowCycles));
    this.#sliceCycles = Math.floor((cyclesPerSecond * TIME_SLICE_MS) / 1000);
    this.#startCycles = nowCycles;
  }

  /** Makes a world runnable. Its state must be 'off'. */
  add(world: World, nowCycles: number): void {
    this.#worlds.add(world);
    world.order = this.#added;
    this.#added += 1;
    this.#ready(world, nowCycles);
  }

  /** Takes a world off for good. */
  remove(world: World, nowCycles: number): void {
    if (!this.#worlds.delete(world)) return;
    take(this.#sleepers, world);
    take(this.#waiting, world);
    take(this.#limited, world);
    const pcpu = this.#pcpus.find(candidate => candidate.world === world);
    if (pcpu !== undefined) pcpu.release(nowCycles);
    world.enter('off', nowCycles);
  }

  /** Other shares, reservation or limit from now on. */
  allocate(world: World, allocation: CpuAllocation, nowCycles: number): void {
    world.clocks.change(allocation, nowCycles);
    // What a reservation gave it beyond its shares is not held against it when that is gone.
    world.pass = Math.min(world.pass, this.#smallestPass(world));
    if (this.#limited.includes(world)) this.#permit(world, nowCycles);
  }

  /** Some input has arrived for a world: if it is halted, it becomes ready now. */
  wake(world: World, nowCycles: number): void {
    if (world.state === 'idle') this.#wakeUp(world, nowCycles);
    // Its last run may have ended in a halt that has not taken effect yet.
    else world.inputPending = true;
  }

  /** Some input will arrive for a world: if it is halted then, it becomes ready. */
  wakeAt(world: World, atCycles: number): void {
    if (world.state !== 'idle') {
      // Its last run may have ended in a halt that has not taken effect yet.
      world.inputAtCycles = Math.min(world.inputAtCycles, atCycles);
    } else if (atCycles < world.wakeAtCycles) {
      take(this.#sleepers, world);
      world.wakeAtCycles = atCycles;
      this.#sleep(world);
    }
  }

  /** Runs every pCPU up to `endCycles`. */
  advance(endCycles: number): void {
    for (;;) {
      const sleeper = this.#sleepers[0];
      const wakeAt = sleeper === undefined ? Infinity : Math.max(sleeper.wakeAtCycles, sleeper.sinceCycles);
      const limited = this.#firstPermitted();
      const permitAt = limited?.readyAtCycles ?? Infinity;
      const busy = this.#furthestBehind();
      const runAt = busy?.nowCycles ?? Infinity;
      const next = this.#nextReady(Infinity);
      const idle = next === undefined ? undefined : this.#idlePcpuFor(next);
      const assignAt =
        next === undefined || idle === undefined ? Infinity : Math.max(next.readyAtCycles, idle.nowCycles);
      const at = Math.min(wakeAt, permitAt, runAt, assignAt);
      if (at >= endCycles) return;
      this.#now = Math.max(this.#now, at);
      if (wakeAt === at) this.#wakeUp(sleeper!, wakeAt);
      else if (permitAt === at) this.#permit(limited!, permitAt);
      else if (assignAt === at) this.#assign(idle!, next!, assignAt);
      else this.#step(busy!, endCycles);
    }
  }

  /** At a time at which every pCPU has arrived. */
  pcpuSamples(nowCycles: number): PcpuSample[] {
    return this.#pcpus.map(pcpu => pcpu.sample(nowCycles, this.#startCycles));
  }

  #step(pcpu: Pcpu, endCycles: number): void {
    const world = pcpu.world!;
    const guest = world.guest!;
    if (pcpu.switching) {
      pcpu.switching = false;
      world.chargeDispatch(guest.dispatchCycles);
      world.enter('run', pcpu.nowCycles);
      pcpu.started = false;
      pcpu.sliceEndCycles = pcpu.nowCycles + this.#sliceCycles;
    }
    if (pcpu.result !== undefined) {
      this.#settle(pcpu, world, pcpu.result);
      return;
    }
    if (pcpu.started && world.clocks.isExhausted(pcpu.nowCycles, this.#sliceCycles)) {
      this.#limit(world, pcpu.nowCycles);
      pcpu.release(pcpu.nowCycles);
      return;
    }
    const sliceOver = pcpu.nowCycles >= pcpu.sliceEndCycles;
    const waiting = this.#nextReady(pcpu.nowCycles);
    const displaced = waiting !== undefined && this.#claims(waiting, world) && (sliceOver || waiting.justWoken);
    if (displaced && pcpu.started) {
      if (sliceOver) world.quantumExpiries += 1;
      world.enter('ready', pcpu.nowCycles);
      world.readyAtCycles = pcpu.nowCycles;
      this.#waiting.push(world);
      pcpu.release(pcpu.nowCycles);
      return;
    }
    if (sliceOver) pcpu.sliceEndCycles = pcpu.nowCycles + this.#sliceCycles;
    pcpu.started = true;
    world.inputPending = false;
    world.inputAtCycles = Infinity;
    world.justWoken = false;
    const { clocks } = world;
    const exhaustedAt = clocks.exhaustedAt(pcpu.nowCycles, this.#sliceCycles);
    const result = guest.run(pcpu.nowCycles, Math.min(endCycles, pcpu.sliceEndCycles, exhaustedAt));
    const used = result.atCycles - pcpu.nowCycles;
    world.pass += used / clocks.allocation.shares;
    clocks.used(pcpu.nowCycles, used);
    pcpu.nowCycles = result.atCycles;
    if (result.kind !== 'deadline') pcpu.result = result;
  }

  #settle(pcpu: Pcpu, world: World, result: GuestResult): void {
    pcpu.release(pcpu.nowCycles);
    if (result.kind === 'halted') {
      world.enter('idle', pcpu.nowCycles);
      world.wakeAtCycles = Math.min(result.wakeAtCycles, world.inputAtCycles);
      if (world.inputPending) this.#wakeUp(world, pcpu.nowCycles);
      else if (world.wakeAtCycles !== Infinity) this.#sleep(world);
    } else {
      // The owner takes the world off, or makes a new start with another one.
      world.enter('wait', pcpu.nowCycles);
      world.guest!.onStopped(pcpu.nowCycles);
    }
  }

  /** A world that ran has used what its limit permits: it stays ready, and off the pCPUs. */
  #limit(world: World, atCycles: number): void {
    world.enter('ready', atCycles);
    world.readyAtCycles = Math.max(world.clocks.permittedAtCycles, atCycles);
    world.limitUntil(world.readyAtCycles);
    this.#limited.push(world);
  }

  /** A limited world may run again. */
  #permit(world: World, atCycles: number): void {
    take(this.#limited, world);
    world.limitUntil(atCycles);
    this.#queueUp(world);
    world.readyAtCycles = atCycles;
    this.#waiting.push(world);
  }

  #firstPermitted(): World | undefined {
    let first: World | undefined;
    for (const world of this.#limited) {
      if (first === undefined || permittedBefore(world, first)) first = world;
    }
    return first;
  }

  #sleep(world: World): void {
    const sleepers = this.#sleepers;
    let index = sleepers.length;
    while (index > 0 && wakesBefore(world, sleepers[index - 1]!)) index -= 1;
    sleepers.splice(index, 0, world);
  }

  #assign(pcpu: Pcpu, world: World, atCycles: number): void {
    take(this.#waiting, world);
    pcpu.idleCycles += atCycles - pcpu.nowCycles;
    pcpu.world = world;
    pcpu.switching = true;
    pcpu.nowCycles = atCycles + world.guest!.dispatchCycles;
    if (pcpu.lastWorld !== world) pcpu.switches += 1;
    pcpu.lastWorld = world;
    world.switches += 1;
    if (world.pcpu !== undefined && world.pcpu !== pcpu.id) world.migrations += 1;
    world.pcpu = pcpu.id;
  }

  #wakeUp(world: World, atCycles: number): void {
    world.wakeups += 1;
    world.justWoken = true;
    this.#ready(world, Math.max(atCycles, world.sinceCycles));
  }

  #ready(world: World, atCycles: number): void {
    take(this.#sleepers, world);
    this.#queueUp(world);
    world.wakeAtCycles = Infinity;
    world.enter('ready', atCycles);
    world.readyAtCycles = atCycles;
    world.clocks.wanted(atCycles);
    this.#waiting.push(world);
  }

  /** Time that a world spent idle, off or over its limit gives it no claim on the others' time. */
  #queueUp(world: World): void {
    const floor = this.#smallestPass(world);
    if (floor !== Infinity) this.#virtualTime = Math.max(this.#virtualTime, floor);
    world.pass = Math.max(world.pass, this.#virtualTime);
  }

  /** Of the others that want to run; Infinity when there are none. */
  #smallestPass(world: World): number {
    let smallest = Infinity;
    for (const other of this.#waiting) if (other !== world) smallest = Math.min(smallest, other.pass);
    for (const { world: other } of this.#pcpus) {
      if (other !== undefined && other !== world) smallest = Math.min(smallest, other.pass);
    }
    return smallest;
  }

  #furthestBehind(): Pcpu | undefined {
    let best: Pcpu | undefined;
    for (const pcpu of this.#pcpus) {
      if (pcpu.world !== undefined && (best === undefined || pcpu.nowCycles < best.nowCycles)) best = pcpu;
    }
    return best;
  }

  /** The world with the best claim that is ready at `byCycles` and on no pCPU yet. */
  #nextReady(byCycles: number): World | undefined {
    let best: World | undefined;
    for (const world of this.#waiting) {
      if (world.readyAtCycles > byCycles) continue;
      if (best === undefined || this.#precedes(world, best)) best = world;
    }
    return best;
  }

  /** What is reserved goes first; then less used, who has just woken, who has waited longer, and who was there first. */
  #precedes(a: World, b: World): boolean {
    const owed = a.clocks.isOwed(this.#now);
    if (owed !== b.clocks.isOwed(this.#now)) return owed;
    if (a.pass !== b.pass) return a.pass < b.pass;
    if (a.justWoken !== b.justWoken) return a.justWoken;
    return a.readyAtCycles !== b.readyAtCycles ? a.readyAtCycles < b.readyAtCycles : a.id < b.id;
  }

  /** Whether a world that waits has at least the claim of one that runs. */
  #claims(waiting: World, running: World): boolean {
    const owed = waiting.clocks.isOwed(this.#now);
    if (owed !== running.clocks.isOwed(this.#now)) return owed;
    return waiting.pass <= running.pass;
  }

  /** The pCPU it ran on last, if that is idle: its caches may still know it. Otherwise the first idle one. */
  #idlePcpuFor(world: World): Pcpu | undefined {
    const last = world.pcpu === undefined ? undefined : this.#pcpus[world.pcpu];
    if (last !== undefined && last.world === undefined) return last;
    return this.#pcpus.find(pcpu => pcpu.world === undefined);
  }
}

/** Takes a world out of a list, if it is in there. */
function take(list: World[], world: World): void {
  const index = list.indexOf(world);
  if (index >= 0) list.splice(index, 1);
}

const wakesBefore = (a: World, b: World): boolean =>
  a.wakeAtCycles !== b.wakeAtCycles ? a.wakeAtCycles < b.wakeAtCycles : a.order < b.order;

const permittedBefore = (a: World, b: World): boolean =>
  a.readyAtCycles !== b.readyAtCycles ? a.readyAtCycles < b.readyAtCycles : a.order < b.order;
