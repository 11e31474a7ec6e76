/** The text screen of a VM, as a guest leaves it. */
import { expect, test } from 'vitest';
import { createHost } from '../../src/hypervisor/index.js';
import { image, PROLOGUE } from './programs.js';

/** Writes `Hi` at the second line of a screen that begins one line into the memory, with the cursor behind. */
const PROGRAM = `${PROLOGUE}
 main:  mov word [0xb8140], 0x0748
        mov word [0xb8142], 0x0769
        mov dx, 0x3d4
        mov ax, 0x000c
        out dx, ax
        mov ax, 0x500d
        out dx, ax
        mov ax, 0x000e
        out dx, ax
        mov ax, 0xa20f
        out dx, ax
        hlt`;

test.each(['native', 'bt', 'hv'] as const)('%s: lines from the start of the screen, and the cursor', monitor => {
  const vm = { name: 'vm', memoryMib: 8, monitor, vmi: false, image: 'image', append: '', powerOn: true } as const;
  const images = { image: image(PROGRAM) };
  const base = { name: 'host', pcpus: 1, memoryMib: 128, costs: 'xeon-5160', sampleIntervalMs: 100 };
  const host = createHost({ ...base, images, vms: [vm] });
  host.advance(host.nowCycles + 5 * host.quantumCycles);
  const screen = host.screen('vm');
  expect(screen).toMatchObject({ ok: true, cursor: { row: 1, column: 2 } });
  expect(screen.ok && screen.lines.length).toBe(25);
  expect(screen.ok && screen.lines.slice(0, 3)).toEqual(['', 'Hi', '']);
  host.execute({ kind: 'powerOff', vm: 'vm' });
  expect(host.screen('vm')).toEqual({ ok: false, reason: 'vm is off' });
});
