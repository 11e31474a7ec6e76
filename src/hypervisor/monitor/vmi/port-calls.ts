/** The port calls of the ROM (INB to OUTSW): what the instructions do, without decoding one. */
import { Flag, S } from '../../machine/cpu/state.js';
import { type GuestFault, isFault } from '../guest-fault.js';
import { readPort, writePort } from '../port-access.js';
import type { VirtualCpu } from '../virtual-cpu.js';

/** Elements of a string that one hypercall moves: the rest is another one, so that deadlines are met. */
const ELEMENTS_PER_CALL = 512;

const mask = (width: 1 | 2 | 4): number => (width === 4 ? -1 : (1 << (8 * width)) - 1);

/** Charges `deviceAccess` for each element. Strings move ECX elements at ES:EDI or DS:ESI, which are flat here. */
export function portCall(
  vcpu: VirtualCpu,
  direction: 'in' | 'out',
  width: 1 | 2 | 4,
  string: boolean,
): GuestFault | { readonly kind: 'again' } | undefined {
  const { s } = vcpu.thread;
  const port = s[S.EDX]! & 0xffff;
  if (!string) {
    if (direction === 'out') writePort(vcpu, port, width, s[S.EAX]!);
    else {
      const value = readPort(vcpu, port, width);
      // A backdoor device may have changed EAX itself: merge into what is there now.
      s[S.EAX] = (s[S.EAX]! & ~mask(width)) | (value & mask(width));
    }
    return undefined;
  }
  const pointer = direction === 'in' ? S.EDI : S.ESI;
  const step = (vcpu.thread.readEflags() & Flag.DF) !== 0 ? -width : width;
  for (let done = 0; s[S.ECX] !== 0; done++) {
    if (done === ELEMENTS_PER_CALL) return { kind: 'again' };
    const linear = s[pointer]! >>> 0;
    if (direction === 'in') {
      // The page first: a device must not lose a value that cannot be stored.
      const physical = vcpu.memory.translate(linear, true, false);
      if (isFault(physical)) return physical;
      const broken = vcpu.memory.write(linear, width, readPort(vcpu, port, width) & mask(width), false);
      if (broken !== undefined) return broken;
    } else {
      const value = vcpu.memory.read(linear, width, false);
      if (isFault(value)) return value;
      writePort(vcpu, port, width, value);
    }
    s[pointer]! += step;
    s[S.ECX]! -= 1;
  }
  return undefined;
}
