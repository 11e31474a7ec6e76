/**
 * Intel Xeon X5570 ("Nehalem", 2.93 GHz), as it runs a monitor that uses neither nested paging nor VPID, which it has: what would have
 * become of shadow paging.
 *
 * Sources as in `xeon-5460.ts`. The WIOV 2011 paper on SplitX has 2000 cycles for an exit on this processor under another monitor.
 */
import { deriveProfile } from './define.js';
import { XEON_5160 } from './xeon-5160.js';
import { XEON_5460 } from './xeon-5460.js';

const { vmEntry, vmExit, vmcsRead, vmcsWrite } = deriveProfile(XEON_5160, '', '', 0, {}, [
  {
    names: ['vmEntry', 'vmExit', 'vmcsRead', 'vmcsWrite'],
    factor: 0.64,
    basis: 'round trip of an exit 1009 to 1579, ATC 2012',
  },
]).entries;

export const XEON_X5570 = deriveProfile(XEON_5460, 'xeon-x5570', 'Intel Xeon X5570 2.93 GHz', 2_930_000_000, {
  vmEntry,
  vmExit,
  vmcsRead,
  vmcsWrite,
});
