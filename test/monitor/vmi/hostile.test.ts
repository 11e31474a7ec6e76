import { expect, test } from 'vitest';
import { Prng } from '../../../src/hypervisor/base/prng.js';
import { HOLE_BASE, MONITOR_IDT_LINEAR, VCPU_PAGE_LINEAR } from '../../../src/hypervisor/monitor/hole.js';
import { CALLS } from '../../../src/hypervisor/monitor/vmi/calls.js';
import { DATA, GDT, IDT, KERNEL, KERNEL_STACK_TOP, USER_LINEAR, VmiMachine } from './vmi-machine.js';

/** Values that mean something somewhere, and some that mean nothing anywhere. */
const VALUES = [
  0,
  1,
  2,
  3,
  0x30,
  0x41,
  0x42,
  0x50,
  0x62,
  0x68,
  0x80,
  0xc0,
  0x200,
  0x768,
  0x1000,
  0x2000,
  0x51000,
  0x30067,
  0x63,
  0xfffff000,
  0xffffffff,
  0x7fffffff,
  0x80000011,
  KERNEL,
  KERNEL + GDT,
  KERNEL + IDT,
  KERNEL + DATA,
  KERNEL + 0x1c00,
  KERNEL + 0x2004,
  KERNEL + 0x50000,
  KERNEL + KERNEL_STACK_TOP,
  USER_LINEAR,
  VCPU_PAGE_LINEAR,
  VCPU_PAGE_LINEAR + 0x200,
  HOLE_BASE - 2,
  MONITOR_IDT_LINEAR,
  0x70000000,
];
/** Calls that end or never return are of no use in the middle of a sequence. */
const NAMES = CALLS.filter(
  ({ how, name }) => (how === 'fast' || how === 'hypercall') && !/SYSEXIT|IRET|Halt/.test(name),
)
  .map(({ name }) => name)
  .filter(name => name !== 'Shutdown' && name !== 'Reboot');

const hex = (value: number): string => `0x${value.toString(16)}`;

for (let seed = 1; seed <= 24; seed++) {
  test(`calls with senseless arguments harm nobody but their guest (seed ${seed})`, () => {
    const prng = new Prng(seed);
    // Most sequences without the calls that soon end everything, so that they get far.
    const names = seed % 4 === 0 ? NAMES : NAMES.filter(name => !/^Set(CR[034]|IDT|GDT|TR)$/.test(name));
    const lines: string[] = [];
    for (let i = 0; i < 40; i++) {
      for (const register of ['eax', 'ecx', 'edx', 'esi', 'edi'])
        lines.push(`mov ${register}, ${hex(prng.pick(VALUES))}`);
      // Strings of a million elements would only take long.
      lines.push('and ecx, 0x8000ffff', 'btr ecx, 31');
      lines.push(
        `push ${hex(prng.pick(VALUES))}`,
        `push ${hex(prng.pick(VALUES))}`,
        `call ${prng.pick(names)}`,
        'add esp, 8',
      );
      if (prng.below(4) === 0) {
        lines.push(`mov dword [${hex(VCPU_PAGE_LINEAR + 4 * prng.below(0x100))}], ${hex(prng.pick(VALUES))}`);
      }
      if (prng.below(4) === 0)
        lines.push(`mov dword [${hex(KERNEL + 0x1000 + 4 * prng.below(0x1000))}], ${hex(prng.pick(VALUES))}`);
    }
    const machine = new VmiMachine({
      kernel: `${lines.join('\n')}
        out 0xf4, al
   skip: add esp, 4
   trap: add dword [esp], 2
         call IRET`,
      gates: { 6: 'trap', 8: 'skip', 10: 'skip', 11: 'skip', 12: 'skip', 13: 'skip', 14: 'skip/irq', 32: 'trap/irq' },
    });
    const result = machine.run(3_000_000);
    // However it ended: no exception of ours, a reason where it stopped, and an account that is complete.
    if (result.kind === 'stopped') expect(result.reason.length).toBeGreaterThan(10);
    machine.vcpu.checkAccount();
    expect(machine.loop.audit()).toEqual([]);
    expect(machine.technique.romBase).toBe(KERNEL + 0xc0000);
  }, 60_000);
}
