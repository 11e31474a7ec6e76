/** One instruction may touch hundreds of pages for the first time: each is a fault that completes no instruction. */
import { expect, test } from 'vitest';
import { createHost } from '../../src/hypervisor/index.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { LOAD_ADDRESS, multiboot } from '../differential/oracle-image.js';

const SOURCE = `
  mov edi, 0x400000
  mov ecx, ${(300 * 4096) / 4}
  mov eax, 0x5a5a5a5a
  rep stosd
  mov edx, 0x604
  mov eax, 0x2000
  out dx, ax
stop: jmp stop`;

test.each(['native', 'bt', 'hv'] as const)('a REP STOSD over 300 untouched pages completes under %s', monitor => {
  const image = multiboot(assemble(LOAD_ADDRESS + 32, SOURCE).bytes);
  const host = createHost({
    name: 'test',
    pcpus: 1,
    memoryMib: 256,
    costs: 'xeon-5160',
    images: { image },
    vms: [{ name: 'vm', memoryMib: 16, monitor, vmi: false, image: 'image', append: '', powerOn: true }],
    sampleIntervalMs: 1000,
  });
  host.advance(20 * host.quantumCycles);
  const vm = host.sample().vms[0]!;
  expect(vm.crashReason).toBeUndefined();
  expect(vm.power).toBe('off');
  if (monitor === 'bt') expect(vm.counters.hiddenFaults).toBeGreaterThanOrEqual(300);
});
