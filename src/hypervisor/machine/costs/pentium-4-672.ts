/**
 * Intel Pentium 4 672 (Prescott 2M with VT-x, 3.8 GHz): the machine of Adams and Agesen, "A Comparison of Software and Hardware
 * Techniques for x86 Virtualization" (ASPLOS 2006), and so the one that the model is calibrated on (docs/calibration.md).
 *
 * Sources as in `xeon-5160.ts`; `InstLatx64` here is GenuineIntel0000F43_P4_Prescott_InstLatX86 and the Irwindale file beside it.
 */
import { deriveProfile } from './define.js';
import { type CostName, MONITOR_COSTS } from './profile.js';
import { XEON_5160 } from './xeon-5160.js';

const lat = (what: string) => `InstLatx64: ${what}`;
const est = (basis: string) => `estimate: ${basis}`;
const aspl = (what: string) => `ASPLOS 2006: ${what}`;

/** Operations in microcode that cross privilege levels or serialize. */
const CROSSING: readonly CostName[] = [
  'segmentLoad',
  'farTransfer',
  'msrAccess',
  'movCr0',
  'movCr2',
  'movCr4',
  'movDr',
  'clts',
  'descriptorTableLoad',
  'taskRegisterLoad',
  'callGateToInner',
  'farReturnToOuter',
  'interruptAcknowledge',
];

export const PENTIUM_4_672 = deriveProfile(
  XEON_5160,
  'pentium-4-672',
  'Intel Pentium 4 672 3.80 GHz',
  3_800_000_000,
  {
    indirectBranch: {
      cycles: 10,
      source: est(
        'predicted by the last target, which some jumps miss at 31; solved from call and return of ASPLOS 2006',
      ),
      range: [2, 31],
    },
    load: { cycles: 4, source: lat('load from L1D'), range: [1, 4] },
    exitRefill: {
      cycles: 4_200,
      source: est('120 TLB misses, about what the TLB holds; solved from page fault and PTE store of ASPLOS 2006'),
      range: [700, 5_500],
    },
    call: { cycles: 5, source: est('half of the 11 cycles of a call and return, ASPLOS 2006'), range: [4, 6] },
    ret: { cycles: 6, source: est('the other half'), range: [5, 7] },
    divide: { cycles: 76, source: lat('div r32, 64/32 full') },
    lockedAccess: { cycles: 89, source: lat('lock add [mem],reg') },
    pushPopAll: { cycles: 15, source: lat('pushad 15, popad 14') },
    pushf: { cycles: 8, source: lat('pushfd') },
    popf: { cycles: 70, source: lat('popfd') },
    cliSti: { cycles: 60, source: aspl('cli on the Pentium 4') },
    cpuid: { cycles: 412, source: lat('cpuid leaf 1') },
    rdtsc: { cycles: 102, source: lat('rdtsc') },
    movCr3: { cycles: 250, source: est('200-300; refills are charged as TLB misses'), range: [200, 300] },
    invlpg: { cycles: 400, source: est('300-500 on this core'), range: [300, 500] },
    portIo: { cycles: 3_209, source: aspl('in from port 80h') },
    tlbMiss: { cycles: 35, source: 'InstLatx64 mem: DTLB miss with hot page tables, 28 to 43' },
    exceptionSameRing: {
      cycles: 510,
      source: est('divide error and return 889 on this machine (ASPLOS 2006), shared with the return'),
      range: [440, 580],
    },
    iretSameRing: { cycles: 400, source: est('the rest of these 889; 300-400 to an outer ring'), range: [300, 450] },
    exceptionToInner: {
      cycles: 560,
      source: est('as in one ring, with the stack from the task state'),
      range: [480, 640],
    },
    iretToOuter: { cycles: 400, source: est('300-400 on this core'), range: [300, 440] },
    sysenter: {
      cycles: 120,
      source: est('system call and return 242 on this machine (ASPLOS 2006), halved'),
      range: [100, 160],
    },
    sysexit: { cycles: 120, source: est('as sysenter'), range: [100, 160] },
    vmEntry: { cycles: 2_409, source: aspl('Pentium 4 672') },
    vmExit: { cycles: 1_931, source: aspl('page-fault exit, Pentium 4 672') },
    vmcsRead: { cycles: 178, source: aspl('Pentium 4 672') },
    vmcsWrite: { cycles: 171, source: aspl('Pentium 4 672') },
  },
  [
    {
      names: CROSSING,
      factor: 2.2,
      basis: 'the ratio of such operations on the two cores (popf 70 to 20, rdtsc 102 to 64)',
    },
    {
      names: MONITOR_COSTS,
      factor: 1.2,
      basis: 'fewer instructions a cycle; solved from the rows of ASPLOS 2006 for BT',
    },
  ],
);
