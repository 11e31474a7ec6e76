/**
 * State of one hardware thread and everything that touches memory on its behalf: segment checks, TLB, page walks, device
 * memory. Generated code inlines the TLB hit; all else comes here.
 *
 * A fault is a value: the function leaves it in `faultVector` (and friends) and returns something meaningless. Callers test
 * `faultVector >= 0` before they use a result or commit anything.
 */
import { MonitorBug } from '../../base/assert.js';
import type { CostProfile } from '../costs/profile.js';
import type { MachineMemory } from '../memory.js';
import {
  DATA_ADDEND,
  DATA_PLACES,
  dataLine,
  fetchLine,
  LINE_INFO,
  FETCH_MACHINE as LINE_MACHINE,
  LINE_PAGE,
  Tlb,
  TlbInfo,
} from '../mmu/tlb.js';
import { PageWalker, PDPTES } from '../mmu/walk.js';
import type { NonRootControls, Vectoring } from '../vmx/controls.js';
import { Breakpoints } from './breakpoints.js';
import { arithmeticFlags, setArithmeticFlags } from './flags.js';
import { FpuState } from './fpu/state.js';
import {
  CLOCK_AT,
  CLOCK_DOUBLES,
  CYCLES,
  DEADLINE,
  ESCAPES,
  FAULT_CODE,
  FAULT_VECTOR,
  FETCH_MACHINE,
  FETCH_PAGE,
  FETCH_SAFE,
  FLAT_LIMIT,
  INSTRUCTIONS,
  NO_PAGE,
  PHYSICAL_BASE,
  PHYSICAL_BYTES,
  POLL_AT,
  PRICES,
  PRICES_AT,
  READABLE,
  RING_MARK,
  RINGS,
  SHAPE,
  Shape,
  THREAD_BYTES,
  TIME_STAMP_OFFSET_AT,
  TLB_AT,
  WRITABLE,
} from './layout.js';
import type { HardwareCounters } from './processor.js';
import {
  Attr,
  type ContextWiring,
  Cr0,
  Cr4,
  type Exit,
  Flag,
  S,
  Seg,
  segAttr,
  segBase,
  segLimit,
  Vector,
} from './state.js';
import { type Replay, Transitions } from './transitions.js';

/** Vectors that push an error code (SDM vol. 3, table 6-1). */
export const HAS_ERROR_CODE = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);

/** What a helper (`SYSTEM` op) says about the instruction that it executed. */
export const Result = {
  /** Complete: EIP becomes `nextEip`. */
  DONE: 0,
  /** A fault is pending; nothing was committed. */
  FAULT: 1,
  /** `run` returns `exit`; EIP is where it must be. */
  EXIT: 2,
  /** A repeated string instruction that is not finished: EIP stays, an event point follows. */
  AGAIN: 3,
  /** Not an instruction boundary of its own: an event was delivered, EIP is the handler's. */
  DELIVERED: 4,
} as const;

// V8 folds the constants of a module's own into optimized code and reads imported ones from memory at each use, which costs as
// much as the work in the small functions below.
const { CPL, SEG, NON_ROOT: AT_NON_ROOT } = S;
const [AT_CYCLES, AT_POLL, AT_DEADLINE, AT_RING_MARK] = [CYCLES, POLL_AT, DEADLINE, RING_MARK];
const [AT_READABLE, AT_WRITABLE, AT_FETCH_PAGE, AT_FETCH_SAFE] = [READABLE, WRITABLE, FETCH_PAGE, FETCH_SAFE];
const [AT_SHAPE, AT_FLAT_LIMIT, AT_FAULT_VECTOR] = [SHAPE, FLAT_LIMIT, FAULT_VECTOR];
const { CODE, DOWN_CONFORMING, WRITE_READ, DB } = Attr;
const PLAIN = Attr.P | Attr.S;
const [CS_BASE, CS_ATTR, SS_ATTR] = [segBase(Seg.CS), segAttr(Seg.CS), segAttr(Seg.SS)];
const [ES_BASE, SS_BASE, DS_BASE] = [segBase(Seg.ES), segBase(Seg.SS), segBase(Seg.DS)];
const [SHAPE_USER, SHAPE_FLAT, SHAPE_WHOLE] = [Shape.USER, Shape.FLAT, Shape.WHOLE];
/** `READABLE` of a segment that ends at 4 GiB. */
const WHOLE_LIMIT = 0xfffffffd;
/** An address masked with this equals its page's tag only if a word there is aligned. */
const WORD_MASK = -4096 | 3;

const ROUTINE: Exit = { kind: 'routine' };
/** `translate` found device memory; its physical address is in `devicePhysical`. */
const DEVICE = -2;
const FAULT = -1;

export class Core {
  readonly s: Int32Array;
  readonly clock: Float64Array;
  readonly cyclesByRing: Float64Array;
  readonly counters: HardwareCounters = {
    tlbMisses: 0,
    exceptions: 0,
    interrupts: 0,
    portReads: 0,
    portWrites: 0,
    blocksDecoded: 0,
    blocksInvalidated: 0,
  };
  readonly memory: MachineMemory;
  readonly tlb: Tlb;
  /** Scratch and memory of event delivery and returns. */
  readonly transitions: Transitions;
  /** Does again what `transitions` remembers; null where everything goes the long way. */
  replay: Replay | null = null;
  readonly breakpoints = new Breakpoints();
  readonly fpu: FpuState;
  readonly costs: CostProfile;

  readonly #timeStampOffset: Float64Array;
  /** EIP behind the instruction that a helper executes; control transfers replace it. */
  nextEip = 0;
  /** Why `run` returns, once a helper answered `Result.EXIT`. */
  exit: Exit | null = null;
  routinePage = -1;
  /** What the current VMCS says about exits; null in root operation. */
  controls: NonRootControls | null = null;
  /** The event in whose delivery non-root operation ended, if it was one. */
  vectoring: Vectoring | null = null;
  /** `step` is executing: a repeated string instruction does one iteration. */
  stepping = false;

  protected readonly walker: PageWalker;
  private devicePhysical = 0;

  constructor(readonly wiring: ContextWiring) {
    const memory = wiring.memory;
    this.memory = memory;
    this.costs = wiring.costs;
    const at = memory.reserve(THREAD_BYTES);
    this.s = new Int32Array(memory.wasm.buffer, at, S.WORDS);
    this.clock = new Float64Array(memory.wasm.buffer, at + CLOCK_AT, CLOCK_DOUBLES);
    this.cyclesByRing = this.clock.subarray(RINGS, RINGS + 4);
    this.transitions = new Transitions(memory, at);
    this.#timeStampOffset = new Float64Array(memory.wasm.buffer, at + TIME_STAMP_OFFSET_AT, 1);
    const prices = new Float64Array(memory.wasm.buffer, at + PRICES_AT, PRICES.length);
    PRICES.forEach((name, index) => {
      prices[index] = wiring.costs.cycles[name];
    });
    this.tlb = new Tlb(memory, at + TLB_AT);
    this.fpu = new FpuState(memory);
    this.walker = new PageWalker(memory, wiring.physicalBase, wiring.physicalBytes);
    this.s[PHYSICAL_BASE] = wiring.physicalBase;
    this.s[PHYSICAL_BYTES] = wiring.physicalBytes;
    this.s[FETCH_PAGE] = NO_PAGE;
    this.s[SHAPE] = -1;
    this.s[FAULT_VECTOR] = -1;
    this.s[ESCAPES] = wiring.ring0Escapes ? 1 : 0;
    this.s[S.EFLAGS] = Flag.FIXED;
    this.s[S.CR0] = Cr0.ET;
    this.s[S.DR6] = 0xffff0ff0 | 0;
    this.s[S.DR7] = 0x400;
  }

  /** Gives the memory of the thread back. It must not be used any more. */
  release(): void {
    this.memory.release(this.s.byteOffset, THREAD_BYTES);
    this.memory.release(this.fpu.w.byteOffset, this.fpu.w.byteLength);
  }

  // ---- time

  get cycles(): number {
    return this.clock[CYCLES]!;
  }

  set cycles(value: number) {
    this.accountRing();
    this.clock[CYCLES] = value;
    this.clock[RING_MARK] = value;
  }

  get instructions(): number {
    return this.clock[INSTRUCTIONS]!;
  }

  set instructions(value: number) {
    this.clock[INSTRUCTIONS] = value;
  }

  /** Gives the cycles since the last call to the current CPL. */
  accountRing(): void {
    const clock = this.clock;
    const now = clock[AT_CYCLES]!;
    this.cyclesByRing[this.s[CPL]!]! += now - clock[AT_RING_MARK]!;
    clock[AT_RING_MARK] = now;
  }

  /** Charges the running code. */
  spend(cycles: number): void {
    this.clock[AT_CYCLES]! += cycles;
  }

  charge(cycles: number): void {
    this.accountRing();
    this.clock[CYCLES]! += cycles;
    this.cyclesByRing[0]! += cycles;
    this.clock[RING_MARK] = this.clock[CYCLES]!;
  }

  setCpl(cpl: number): void {
    this.accountRing();
    this.s[CPL] = cpl;
    this.s[AT_FETCH_PAGE] = NO_PAGE;
    this.updateShape();
  }

  setIntr(level: boolean): void {
    this.s[S.INTR] = level ? 1 : 0;
    this.updatePoll();
  }

  /** Events that lead to ring 0 end the run: ring 0 is a monitor's, and no guest is in non-root operation. */
  get ring0Escapes(): boolean {
    return this.s[ESCAPES] !== 0;
  }

  /** What RDTSC adds to `cycles`. */
  get timeStampOffset(): number {
    return this.#timeStampOffset[0]!;
  }
  set timeStampOffset(cycles: number) {
    this.#timeStampOffset[0] = cycles;
  }

  /** Back to root operation, whatever the VMCS says: the host is done with this guest. */
  leaveNonRoot(): void {
    this.controls = null;
    this.vectoring = null;
    this.timeStampOffset = 0;
    this.s[S.NON_ROOT] = 0;
    this.s[S.EXCEPTION_BITMAP] = 0;
    this.s[ESCAPES] = this.wiring.ring0Escapes ? 1 : 0;
    this.updateShape();
  }

  /** Sets the cycle from which event points look closer: now if an interrupt can be taken, else the deadline. */
  updatePoll(): void {
    const takeable = this.s[S.INTR] !== 0 && (this.s[S.EFLAGS]! & Flag.IF) !== 0 && this.s[ESCAPES] === 0;
    this.clock[AT_POLL] = takeable ? 0 : this.clock[AT_DEADLINE]!;
  }

  get deadlineCycles(): number {
    return this.clock[DEADLINE]!;
  }

  /** A device may lower it while the thread runs: the next event point then ends the run. */
  set deadlineCycles(value: number) {
    this.clock[DEADLINE] = value;
    this.updatePoll();
  }

  // ---- faults

  /** Pending fault, or -1. */
  get faultVector(): number {
    return this.s[AT_FAULT_VECTOR]!;
  }

  set faultVector(vector: number) {
    this.s[AT_FAULT_VECTOR] = vector;
  }

  get faultCode(): number {
    return this.s[FAULT_CODE]!;
  }

  /** Leaves a fault pending. `code` is ignored where the vector has none. Returns false for the convenience of callers. */
  raise(vector: number, code = 0): false {
    this.s[AT_FAULT_VECTOR] = vector;
    this.s[FAULT_CODE] = (HAS_ERROR_CODE >>> vector) & 1 ? code : 0;
    return false;
  }

  /** Does hardware push an error code with this exception? */
  pushesErrorCode(vector: number): boolean {
    return Core.hasErrorCode(vector);
  }

  static hasErrorCode(vector: number): boolean {
    return vector < 32 && ((HAS_ERROR_CODE >>> vector) & 1) !== 0;
  }

  // ---- segments

  setSegment(seg: number, selector: number, base: number, limit: number, attr: number): void {
    const s = this.s;
    const at = SEG + seg * 4;
    s[at] = selector;
    s[at + 1] = base;
    s[at + 2] = limit;
    s[at + 3] = attr;
    const wholeWords = limit >>> 0 < 3 ? 0 : (limit >>> 0) - 2;
    const plain = (attr & PLAIN) === PLAIN;
    const code = (attr & CODE) !== 0;
    const up = code || (attr & DOWN_CONFORMING) === 0;
    const right = (attr & WRITE_READ) !== 0;
    if (seg <= 5 /* GS */) {
      s[AT_READABLE + seg] = plain && up && (!code || right) ? wholeWords : 0;
      s[AT_WRITABLE + seg] = plain && up && !code && right ? wholeWords : 0;
    }
    if (seg === 1 /* CS */) {
      s[AT_FETCH_SAFE] = limit >>> 0 >= 0x2000 ? (limit >>> 0) - 0x10ff : 0;
      s[AT_FETCH_PAGE] = NO_PAGE;
    }
    this.updateShape();
  }

  /** Which compiled code fits: see `SHAPE`. For whoever writes CPL or segment words directly. */
  updateShape(): void {
    const s = this.s;
    if (s[CS_BASE] !== 0 || s[AT_FETCH_SAFE] === 0 || (s[CS_ATTR]! & s[SS_ATTR]! & DB) === 0) {
      s[AT_SHAPE] = -1;
      return;
    }
    let shape = s[AT_NON_ROOT]! | (s[CPL] === 3 ? SHAPE_USER : 0);
    if ((s[ES_BASE]! | s[SS_BASE]! | s[DS_BASE]!) === 0) {
      // What may be written may be read: of a data segment that is writable the two words are equal.
      let least = s[AT_WRITABLE]! >>> 0;
      if (s[AT_WRITABLE + 2 /* SS */]! >>> 0 < least) least = s[AT_WRITABLE + 2]! >>> 0;
      if (s[AT_WRITABLE + 3 /* DS */]! >>> 0 < least) least = s[AT_WRITABLE + 3]! >>> 0;
      if (least > 0) shape |= SHAPE_FLAT;
      if (least === WHOLE_LIMIT) shape |= SHAPE_WHOLE;
      s[AT_FLAT_LIMIT] = least;
    }
    s[AT_SHAPE] = shape;
  }

  /** The full check of one data access (SDM vol. 3, 5.3 to 5.5). False and #GP(0) or #SS(0) pending if it fails. */
  checkSegment(seg: number, offset: number, size: number, write: boolean): boolean {
    const s = this.s;
    const attr = s[segAttr(seg)]!;
    const vector = seg === Seg.SS ? Vector.SS : Vector.GP;
    if ((attr & (Attr.P | Attr.S)) !== (Attr.P | Attr.S)) return this.raise(Vector.GP);
    const code = (attr & Attr.CODE) !== 0;
    const right = (attr & Attr.WRITE_READ) !== 0;
    if (write ? code || !right : code && !right) return this.raise(Vector.GP);
    const limit = s[segLimit(seg)]! >>> 0;
    const first = offset >>> 0;
    const last = first + size - 1;
    if (code || (attr & Attr.DOWN_CONFORMING) === 0) return last <= limit || this.raise(vector);
    const top = (attr & Attr.DB) !== 0 ? 0xffffffff : 0xffff;
    return (first > limit && last <= top) || this.raise(vector);
  }

  // ---- memory by segment and offset, with the rights of the current CPL

  /** Loads 1, 2 or 4 bytes, not extended in any particular way beyond `size`. */
  load(seg: number, offset: number, size: number): number {
    if (!this.checkSegment(seg, offset, size, false)) return 0;
    return this.readLinear((offset + this.s[segBase(seg)]!) | 0, size, this.s[S.CPL] === 3);
  }

  /** As `load`, but faults as the store that will follow would. */
  loadForStore(seg: number, offset: number, size: number): number {
    if (!this.checkSegment(seg, offset, size, true)) return 0;
    const linear = (offset + this.s[segBase(seg)]!) | 0;
    const user = this.s[S.CPL] === 3;
    return this.probeLinear(linear, size, true, user) ? this.readLinear(linear, size, user) : 0;
  }

  store(seg: number, offset: number, size: number, value: number): void {
    if (!this.checkSegment(seg, offset, size, true)) return;
    this.writeLinear((offset + this.s[segBase(seg)]!) | 0, size, value, this.s[S.CPL] === 3);
  }

  /** Segment and page checks of an access without the access. */
  probe(seg: number, offset: number, size: number, write: boolean): boolean {
    if (!this.checkSegment(seg, offset, size, write)) return false;
    return this.probeLinear((offset + this.s[segBase(seg)]!) | 0, size, write, this.s[S.CPL] === 3);
  }

  /** Instructions are executed one at a time: a repeated string instruction does one iteration. */
  get oneAtATime(): boolean {
    return this.stepping || this.breakpoints.active || (this.s[S.EFLAGS]! & Flag.TF) !== 0;
  }

  // ---- memory by linear address

  readLinear(linear: number, size: number, user: boolean): number {
    if (size === 4) {
      const data = this.tlb.data;
      const line = ((linear >>> 12) & (DATA_PLACES - 1)) << 3;
      const tag = data[user ? line + 2 : line]!;
      if (tag === (linear & WORD_MASK)) return this.memory.i32[(linear + data[line + 4]!) >>> 2]!;
    }
    if ((linear & 4095) + size > 4096) return this.#readAcross(linear, size, user);
    const machine = this.translate(linear, false, user);
    if (this.breakpoints.active && machine !== FAULT) this.breakpoints.access(linear, size, false);
    if (machine >= 0) {
      const memory = this.memory;
      return size === 4 ? memory.readI32(machine) : size === 2 ? memory.read16(machine) : memory.read8(machine);
    }
    if (machine === FAULT) return 0;
    const physical = this.devicePhysical;
    this.enterDevice();
    this.spend(this.costs.cycles.mmioAccess);
    const value = this.wiring.mmio.read(physical, size as 1 | 2 | 4) | 0;
    this.leaveDevice();
    return value;
  }

  writeLinear(linear: number, size: number, value: number, user: boolean): void {
    if (size === 4) {
      const data = this.tlb.data;
      const line = ((linear >>> 12) & (DATA_PLACES - 1)) << 3;
      const tag = data[user ? line + 3 : line + 1]!;
      if (tag === (linear & WORD_MASK)) {
        this.memory.i32[(linear + data[line + 4]!) >>> 2] = value;
        return;
      }
    }
    if ((linear & 4095) + size > 4096) {
      this.#writeAcross(linear, size, value, user);
      return;
    }
    const machine = this.translate(linear, true, user);
    if (this.breakpoints.active && machine !== FAULT) this.breakpoints.access(linear, size, true);
    if (machine >= 0) {
      const memory = this.memory;
      if (size === 4) memory.write32(machine, value);
      else if (size === 2) memory.write16(machine, value);
      else memory.write8(machine, value);
      return;
    }
    if (machine === FAULT) return;
    const physical = this.devicePhysical;
    this.enterDevice();
    this.spend(this.costs.cycles.mmioAccess);
    this.wiring.mmio.write(
      physical,
      size as 1 | 2 | 4,
      size === 4 ? value >>> 0 : value & (size === 2 ? 0xffff : 0xff),
    );
    this.leaveDevice();
  }

  /** Translates every page of an access; false with the fault pending. */
  probeLinear(linear: number, size: number, write: boolean, user: boolean): boolean {
    if (this.translate(linear, write, user) === FAULT) return false;
    if ((linear & 4095) + size <= 4096) return true;
    return this.translate(((linear & -4096) + 4096) | 0, write, user) !== FAULT;
  }

  /** Around a call into a device: time must be exact there. */
  protected enterDevice(): void {}
  protected leaveDevice(): void {}

  /** Bytes one by one, after both pages have been found good. Device memory sees byte accesses. */
  #readAcross(linear: number, size: number, user: boolean): number {
    if (!this.probeLinear(linear, size, false, user)) return 0;
    let value = 0;
    for (let i = 0; i < size; i++) value |= (this.readLinear((linear + i) | 0, 1, user) & 0xff) << (8 * i);
    return value;
  }

  #writeAcross(linear: number, size: number, value: number, user: boolean): void {
    if (!this.probeLinear(linear, size, true, user)) return;
    for (let i = 0; i < size; i++) this.writeLinear((linear + i) | 0, 1, (value >>> (8 * i)) & 0xff, user);
  }

  /**
   * Machine address of a linear one for one access, through the data TLB; -1 with #PF pending; -2 for device memory. Each
   * walk costs `tlbMiss` once, whatever its depth, also when it faults. A line whose rights do not suffice is walked again before it
   * faults, as is a line that is not dirty before the first write.
   */
  translate(linear: number, write: boolean, user: boolean): number {
    const data = this.tlb.data;
    const line = dataLine(linear);
    const page = linear & -4096;
    if (data[line + LINE_PAGE] === page || this.tlb.bringDataHome(line, page)) {
      const info = data[line + LINE_INFO]!;
      if (this.#allowed(info, write, user)) {
        if ((info & TlbInfo.DEVICE) !== 0) {
          this.devicePhysical = ((info & -4096) | (linear & 4095)) >>> 0;
          return DEVICE;
        }
        if (write) this.tlb.retag(line, (this.s[S.CR0]! & Cr0.WP) !== 0);
        return (linear + data[line + DATA_ADDEND]!) | 0;
      }
    }
    return this.#miss(linear, write, user);
  }

  #allowed(info: number, write: boolean, user: boolean): boolean {
    if (user && (info & TlbInfo.USER) === 0) return false;
    if (!write) return true;
    if ((info & TlbInfo.DIRTY) === 0) return false;
    return (info & TlbInfo.WRITABLE) !== 0 || (!user && (this.s[S.CR0]! & Cr0.WP) === 0);
  }

  #miss(linear: number, write: boolean, user: boolean): number {
    const info = this.#walk(linear, write, user);
    if (info < 0) return FAULT;
    const page = this.walker.result.page;
    const device = this.#isDevice(page >>> 12);
    const machine = this.wiring.physicalBase + (page >>> 0);
    this.tlb.fillData(
      linear,
      page,
      device ? info | TlbInfo.DEVICE : info,
      device ? 0 : machine,
      (this.s[S.CR0]! & Cr0.WP) !== 0,
    );
    if (device) {
      this.devicePhysical = (page | (linear & 4095)) >>> 0;
      return DEVICE;
    }
    return machine + (linear & 4095);
  }

  /** Walks; returns the information bits of a TLB line, or -1 with #PF pending. */
  #walk(linear: number, write: boolean, user: boolean): number {
    const s = this.s;
    const result = this.walker.result;
    if (s[S.CR0]! >= 0) {
      // Paging is off (PG is the sign bit): linear is physical, nothing is walked and nothing costs.
      result.page = linear & -4096;
      return TlbInfo.USER | TlbInfo.WRITABLE | TlbInfo.DIRTY;
    }
    this.counters.tlbMisses += 1;
    this.clock[CYCLES]! += this.costs.cycles.tlbMiss;
    if (!this.#walkTables(linear, write, user, true)) {
      s[S.FAULT_LINEAR] = linear;
      this.raise(Vector.PF, result.errorCode);
      return -1;
    }
    return (
      (result.user ? TlbInfo.USER : 0) |
      (result.writable ? TlbInfo.WRITABLE : 0) |
      (result.global ? TlbInfo.GLOBAL : 0) |
      (result.large ? TlbInfo.LARGE : 0) |
      (result.dirty ? TlbInfo.DIRTY : 0)
    );
  }

  #walkTables(linear: number, write: boolean, user: boolean, markUsed: boolean): boolean {
    const { s, walker } = this;
    const cr0 = s[S.CR0]!;
    const cr4 = s[S.CR4]!;
    return (cr4 & Cr4.PAE) === 0
      ? walker.walk(cr0, s[S.CR3]!, cr4, linear, write, user, markUsed)
      : walker.walkPae(cr0, s[S.PDPTE + (linear >>> 30)]!, cr4, linear, write, user, markUsed);
  }

  #isDevice(physicalPage: number): boolean {
    return physicalPage >= this.wiring.physicalBytes >>> 12 || this.wiring.isDeviceMemory(physicalPage);
  }

  // ---- instruction fetch

  /** Makes `fetchPage` and `fetchMachine` those of `linear`, through the instruction TLB. False with #PF pending. */
  fetch(linear: number): boolean {
    const page = linear & -4096;
    const fetch = this.tlb.fetch;
    const line = fetchLine(linear);
    const tag = line + (this.s[S.CPL] === 3 ? 1 : 0);
    if (page >>> 0 === this.routinePage && this.s[S.CPL] === 1) {
      this.exit = ROUTINE;
      return this.raise(Vector.UD);
    }
    if (fetch[tag] !== page && !(this.tlb.bringFetchHome(line, page) && fetch[tag] === page)) {
      const info = this.#walk(linear, false, this.s[S.CPL] === 3);
      if (info < 0) return false;
      const physical = this.walker.result.page;
      const device = this.#isDevice(physical >>> 12);
      const rom = device ? (this.wiring.romPage?.(physical >>> 12) ?? -1) : -1;
      if (device && rom < 0) {
        // No instructions come from devices: what hardware would read from an empty bus decodes to an invalid opcode.
        this.wiring.onUnimplemented({
          eip: this.s[S.EIP]! >>> 0,
          bytes: [],
          text: 'instruction fetch from device memory',
        });
        return this.raise(Vector.UD);
      }
      this.tlb.fillFetch(linear, physical, info, device ? rom : this.wiring.physicalBase + (physical >>> 0));
    }
    this.s[FETCH_PAGE] = page;
    this.s[FETCH_MACHINE] = fetch[line + LINE_MACHINE]!;
    return true;
  }

  // ---- control registers and TLB

  loadCr3(value: number): boolean {
    const { s } = this;
    if (!this.loadPointers(s[S.CR0]!, value, s[S.CR4]!)) return false;
    s[S.CR3] = value;
    this.tlb.flushNonGlobal();
    s[FETCH_PAGE] = NO_PAGE;
    return true;
  }

  setCr0(value: number): boolean {
    const { s } = this;
    const changed = s[S.CR0]! ^ value;
    const reload = (changed & (Cr0.PG | Cr0.CD | Cr0.NW)) !== 0;
    if (reload && !this.loadPointers(value, s[S.CR3]!, s[S.CR4]!)) return false;
    s[S.CR0] = value | Cr0.ET;
    if ((changed & (Cr0.PG | Cr0.WP | Cr0.PE)) !== 0) this.flushTlb();
    return true;
  }

  setCr4(value: number): boolean {
    const { s } = this;
    const changed = s[S.CR4]! ^ value;
    const translation = (changed & (Cr4.PSE | Cr4.PAE | Cr4.PGE)) !== 0;
    if (translation && !this.loadPointers(s[S.CR0]!, s[S.CR3]!, value)) return false;
    s[S.CR4] = value;
    if (translation) this.flushTlb();
    return true;
  }

  /** The page-directory-pointer registers, if these control registers want them (SDM vol. 3, 4.4.1). False where one is not valid. */
  loadPointers(cr0: number, cr3: number, cr4: number): boolean {
    if (cr0 >= 0 || (cr4 & Cr4.PAE) === 0) return true;
    return this.walker.readPointers(cr3, this.s.subarray(S.PDPTE, S.PDPTE + PDPTES));
  }

  flushTlbPage(linear: number): void {
    this.tlb.flushPage(linear | 0);
    this.s[FETCH_PAGE] = NO_PAGE;
  }

  flushTlb(): void {
    this.tlb.flush();
    this.s[FETCH_PAGE] = NO_PAGE;
  }

  tlbEntries() {
    return this.tlb.entries();
  }

  readEflags(): number {
    return this.s[S.EFLAGS]! | arithmeticFlags(this.s);
  }

  writeEflags(value: number): void {
    this.s[S.EFLAGS] = (value & ~Flag.ARITHMETIC) | Flag.FIXED;
    setArithmeticFlags(this.s, value);
    this.updatePoll();
  }

  /** Tells about an instruction at EIP that is not built; #UD is the caller's. Knows the bytes that are mapped. */
  reportUnimplemented(): void {
    const s = this.s;
    const linear = (s[S.EIP]! + s[segBase(Seg.CS)]!) | 0;
    const bytes: number[] = [];
    for (let i = 0; i < Math.max(1, this.nextEip - s[S.EIP]!); i++) {
      const machine = this.peek((linear + i) | 0);
      if (machine < 0) break;
      bytes.push(this.memory.read8(machine));
    }
    this.wiring.onUnimplemented({ eip: s[S.EIP]! >>> 0, bytes, text: this.describeInstruction(bytes) });
  }

  /** Machine address of a linear one without any effect on TLB, tables or time; -1 where there is no RAM. */
  peek(linear: number): number {
    const s = this.s;
    const paging = s[S.CR0]! < 0;
    if (paging && !this.#walkTables(linear, false, false, false)) return -1;
    const page = paging ? this.walker.result.page : linear & -4096;
    return this.#isDevice(page >>> 12) ? -1 : this.wiring.physicalBase + ((page | (linear & 4095)) >>> 0);
  }

  /** Text of the first instruction in `bytes`. */
  protected describeInstruction(_bytes: number[]): string {
    return 'instruction not built';
  }

  /** A promise of the engine was broken; never the guest's doing. */
  bug(message: string): never {
    throw new MonitorBug(`${message} at EIP ${(this.s[S.EIP]! >>> 0).toString(16)}`);
  }
}
