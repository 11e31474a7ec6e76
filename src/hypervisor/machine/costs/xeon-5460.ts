/**
 * Intel Xeon 5460 ("Harpertown", Penryn core, 3.16 GHz): the Core microarchitecture shrunk, with a faster divider and shorter transitions.
 *
 * Sources as in `xeon-5160.ts`; `InstLatx64` here is GenuineIntel0010676_Harpertown. `ATC 2012`: Agesen, Mattson, Rugina and Sheldon,
 * "Software Techniques for Avoiding Hardware Virtualization Exits", table 1.
 */
import { deriveProfile } from './define.js';
import { XEON_5160 } from './xeon-5160.js';

const lat = (what: string) => `InstLatx64: ${what}`;

export const XEON_5460 = deriveProfile(
  XEON_5160,
  'xeon-5460',
  'Intel Xeon 5460 3.16 GHz',
  3_160_000_000,
  {
    divide: { cycles: 23, source: lat('div r32, 64/32 full') },
    lockedAccess: { cycles: 25, source: lat('lock add [mem],reg; xchg reg,[mem]') },
    pushPopAll: { cycles: 10, source: lat('pushad 10, popad 9') },
    popf: { cycles: 18, source: lat('popfd') },
    cpuid: { cycles: 270, source: lat('cpuid leaf 1') },
    rdtsc: { cycles: 28, source: lat('rdtsc') },
  },
  [
    {
      names: ['vmEntry', 'vmExit', 'vmcsRead', 'vmcsWrite'],
      factor: 0.8,
      basis: 'round trip of an exit 1266 to 1579, ATC 2012',
    },
  ],
);
