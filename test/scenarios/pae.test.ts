/** Random PAE kernels see the same memory natively and under the monitors that have PAE, whose shadows stay what the audits recompute. */
import { expect, test } from 'vitest';
import { createHost } from '../../src/hypervisor/index.js';
import { paeImage, paeOperations } from './pae-guest.js';
import { consoleOf, findings } from './run-guest.js';

const OPERATIONS = 1500;

function printed(mode: 'native' | 'bt' | 'hv', image: Uint8Array): string {
  const host = createHost({
    name: 'test',
    pcpus: 1,
    memoryMib: 128,
    costs: 'xeon-5160',
    images: { image },
    vms: [{ name: 'vm', memoryMib: 16, monitor: mode, vmi: false, image: 'image', append: '', powerOn: true }],
    sampleIntervalMs: 1000,
    auditEveryQuanta: 1,
  });
  while (host.anyPoweredOn && host.nowCycles < 2 * host.cyclesPerSecond) {
    host.advance(host.nowCycles + host.quantumCycles);
  }
  const events = host.drainEvents();
  expect(host.sample().vms[0]).toMatchObject({ power: 'off', crashReason: undefined });
  expect(findings(events)).toEqual([]);
  return consoleOf(events);
}

test.each([1, 2, 3, 4])('kernel %i', { timeout: 120_000 }, seed => {
  const image = paeImage(paeOperations(seed, OPERATIONS));
  const native = printed('native', image);
  // Of what is done a third is looked at; else the comparison says little.
  expect(native.length / 2).toBeGreaterThan(OPERATIONS / 3);
  expect(printed('bt', image)).toBe(native);
  expect(printed('hv', image)).toBe(native);
});
