/**
 * Intel Xeon 5160 ("Woodcrest", Core microarchitecture, 3.0 GHz), the processor of the paper's system A.
 *
 * Sources. `InstLatx64`: GenuineIntel00006F4_Woodcrest_InstLatX86 in InstLatx64/InstLatx64 at 087af2c (a 2.33 GHz Xeon
 * 5140). `InstLatx64 mem`: memory latency tables of the Conroe X6800, same core. `ASPLOS 2006`: Adams and Agesen, "A
 * Comparison of Software and Hardware Techniques for x86 Virtualization", figures for a Pentium 4 672 scaled by 1/2.2, the
 * ratio of privilege-crossing costs between the two cores (popfd 70 to 20, locked operations 89 to 27, rdtsc 102 to 64).
 * Monitor primitives are estimates: instructions that such a routine needs, at about one per cycle plus its cache misses.
 */
import { defineProfile } from './define.js';

const lat = (what: string) => `InstLatx64: ${what}`;
const est = (basis: string) => `estimate: ${basis}`;

export const XEON_5160 = defineProfile('xeon-5160', 'Intel Xeon 5160 3.00 GHz', 3_000_000_000, {
  simple: {
    cycles: 1,
    source: est('four-wide core, dependent code retires about one instruction a cycle'),
    range: [0.3, 1],
  },
  load: { cycles: 1, source: est('L1 hit, latency of 3 overlapped'), range: [1, 3] },
  store: { cycles: 1, source: est('store buffer'), range: [1, 1] },
  readModifyWrite: { cycles: 2, source: est('load, operation and store of one line'), range: [1, 6] },
  branch: { cycles: 1, source: est('predicted'), range: [1, 3] },
  call: { cycles: 2, source: est('branch and push'), range: [1, 3] },
  ret: { cycles: 2, source: est('return stack hit'), range: [1, 3] },
  multiply: { cycles: 3, source: lat('imul r32 latency') },
  divide: { cycles: 41, source: lat('div r32, 64/32 full') },
  shiftDouble: { cycles: 3, source: est('shld/shrd'), range: [2, 4] },
  bitScan: { cycles: 3, source: est('bsf/bsr'), range: [2, 3] },
  fpMove: { cycles: 1, source: est('moves, logic, compares and integer SIMD: one a cycle'), range: [0.3, 2] },
  fpAdd: { cycles: 3, source: est('fadd, addps, addsd: documented latency of 3; throughput 1'), range: [1, 3] },
  fpMultiply: {
    cycles: 5,
    source: est('fmul 5, mulps 4, mulsd 5: documented latencies; throughput 1 to 2'),
    range: [1, 5],
  },
  fpDivide: {
    cycles: 32,
    source: est('fdiv 6-38, divsd 6-32 by operands; also remainder and scaling'),
    range: [6, 38],
  },
  fpSquareRoot: { cycles: 58, source: est('fsqrt and sqrtsd 6-69 by operands'), range: [6, 69] },
  fpTranscendental: {
    cycles: 100,
    source: est('fsin, fpatan, fyl2x: microcode, by operands; fbld, fbstp'),
    range: [40, 200],
  },
  fpControl: { cycles: 8, source: est('fldcw, ldmxcsr: partly serializing'), range: [5, 60] },
  fpEnvironment: { cycles: 60, source: est('fnstenv, fldenv: microcode'), range: [30, 100] },
  fpSave: { cycles: 150, source: est('fnsave, frstor: microcode'), range: [100, 250] },
  fpSaveExtended: { cycles: 100, source: est('fxsave, fxrstor: 288 bytes in microcode'), range: [60, 200] },
  lockedAccess: { cycles: 25, source: lat('lock add [mem],reg 27; xchg reg,[mem] 25') },
  pushPopAll: { cycles: 10, source: lat('pushad 9, popad 12') },
  pushf: { cycles: 7, source: lat('pushfd') },
  popf: { cycles: 20, source: lat('popfd') },
  cliSti: { cycles: 10, source: est('8-12 and 10-15 on this core'), range: [8, 15] },
  stringStart: { cycles: 15, source: est('microcode start of rep'), range: [10, 30] },
  stringStep: { cycles: 1, source: est('fast strings in cache, per element'), range: [0.25, 2] },
  segmentLoad: { cycles: 9, source: est('descriptor read and checks'), range: [6, 20] },
  farTransfer: { cycles: 60, source: est('far jump, call or return in one ring'), range: [30, 90] },
  cpuid: { cycles: 215, source: lat('cpuid leaf 1') },
  rdtsc: { cycles: 64, source: lat('rdtsc') },
  msrAccess: { cycles: 100, source: est('rdmsr and wrmsr, microcoded'), range: [60, 200] },
  movCr0: { cycles: 100, source: est('serializing'), range: [50, 200] },
  movCr2: { cycles: 30, source: est('microcoded'), range: [10, 60] },
  movCr3: { cycles: 200, source: est('150-250 on this core; refills are charged as TLB misses'), range: [150, 250] },
  movCr4: { cycles: 150, source: est('serializing'), range: [50, 250] },
  movDr: { cycles: 40, source: est('microcoded'), range: [20, 80] },
  clts: { cycles: 60, source: est('serializing on this core'), range: [30, 100] },
  invlpg: { cycles: 200, source: est('150-250 on this core'), range: [150, 250] },
  descriptorTableLoad: { cycles: 100, source: est('lgdt, lidt: serializing'), range: [50, 150] },
  taskRegisterLoad: { cycles: 120, source: est('ltr, lldt'), range: [60, 200] },
  wbinvd: { cycles: 20_000, source: est('write-back of part of a 4 MB cache'), range: [5_000, 500_000] },
  portIo: {
    cycles: 3_000,
    source: est('0.8-1.2 us of chipset access at 3 GHz; ASPLOS 2006 has 3209 on its machine'),
    range: [2_400, 3_600],
  },
  mmioAccess: { cycles: 600, source: est('uncached access to the chipset'), range: [300, 1_200] },
  hlt: { cycles: 20, source: est('entry into C1'), range: [10, 100] },
  tlbMiss: { cycles: 9, source: 'InstLatx64 mem: 4 KiB DTLB miss with hot page tables, 22-25 against 14-16' },
  exceptionSameRing: { cycles: 120, source: est('delivery without stack switch'), range: [80, 200] },
  exceptionToInner: {
    cycles: 220,
    source: est('half of 350-550 for #DE delivery and iret, ASPLOS 2006 scaled'),
    range: [150, 350],
  },
  interruptAcknowledge: {
    cycles: 150,
    source: est('interrupt acknowledge over the bus, added to delivery'),
    range: [50, 350],
  },
  iretSameRing: { cycles: 100, source: est('iret without stack switch'), range: [60, 150] },
  iretToOuter: { cycles: 200, source: est('150-250 on this core'), range: [150, 250] },
  callGateToInner: { cycles: 150, source: est('call gate with stack switch'), range: [100, 250] },
  farReturnToOuter: { cycles: 150, source: est('far return to an outer ring'), range: [100, 250] },
  sysenter: { cycles: 75, source: est('null call of 200-300 with about 100 of kernel code, halved'), range: [50, 100] },
  sysexit: { cycles: 75, source: est('as sysenter'), range: [50, 100] },

  vmmEntry: {
    cycles: 90,
    source: est('save eight registers and segments, load own, find the vCPU, dispatch'),
    range: [50, 200],
  },
  vmmExit: { cycles: 60, source: est('restore registers and segments'), range: [30, 120] },
  guestWalkLevel: { cycles: 40, source: est('pmap lookup, load of the entry with a likely L1 miss'), range: [15, 80] },
  shadowFill: { cycles: 120, source: est('permission merge, trace lookup, store, back-map'), range: [60, 250] },
  shadowTableAllocate: { cycles: 700, source: est('list operation and clearing 4 KiB'), range: [400, 1_500] },
  shadowEntryDrop: { cycles: 40, source: est('store, back-map unlink'), range: [20, 100] },
  shadowSwitch: { cycles: 150, source: est('hash lookup and bookkeeping'), range: [80, 400] },
  traceLookup: { cycles: 60, source: est('hash of the frame number'), range: [30, 120] },
  traceProtect: { cycles: 80, source: est('store and invlpg-free revalidation'), range: [40, 200] },
  decode: { cycles: 180, source: est('table-driven decoder, one instruction'), range: [100, 350] },
  emulate: { cycles: 120, source: est('dispatch, operand fetch, result'), range: [60, 250] },
  guestMemoryAccess: { cycles: 30, source: est('one access through the pmap'), range: [10, 60] },
  injectEvent: { cycles: 220, source: est('gate checks and virtual frame'), range: [120, 400] },
  translateInstruction: {
    cycles: 800,
    source: est('ASPLOS 2006: 229 ms of translation in an XP boot at 3.8 GHz'),
    range: [400, 1_200],
  },
  tcLookup: { cycles: 50, source: est('hash probe in software'), range: [25, 100] },
  chain: { cycles: 80, source: est('patch one displacement, link bookkeeping'), range: [40, 200] },
  calloutDispatch: { cycles: 40, source: est('table by TC address'), range: [20, 80] },
  tcStateRecover: { cycles: 150, source: est('search of the translation map'), range: [80, 300] },
  hypercallDispatch: { cycles: 40, source: est('range check of the caller, table'), range: [20, 80] },
  updateQueueEntry: { cycles: 35, source: est('load, classify'), range: [20, 80] },
  descriptorShadow: { cycles: 30, source: est('read, adjust DPL and limit, store'), range: [15, 60] },
  deviceAccess: {
    cycles: 150,
    source: est('port dispatch and device state machine; 150-250 for an emulated access'),
    range: [80, 250],
  },
  timerCallback: { cycles: 400, source: est('vmkernel timer wheel and wake-up'), range: [200, 1_000] },
  worldSwitch: { cycles: 1_200, source: est('save and restore of a world, address-space change'), range: [600, 3_000] },
  schedule: { cycles: 500, source: est('queue operation'), range: [200, 1_500] },
  allocatePage: { cycles: 1_500, source: est('free list and clearing 4 KiB from memory'), range: [800, 3_000] },
});
