/** What a VM gives back when its guest goes on under VMI. */
import { expect, test } from 'vitest';
import type { VmSample } from '../../src/hypervisor/index.js';
import { findings, guestHost } from '../scenarios/run-guest.js';

test('the translation cache is given back, and nothing derived from it stays', () => {
  const host = guestHost({ mode: 'vmi', append: 'run=nforkwait iterations=2', auditEveryQuanta: 1 });
  // The guest calls Init within its first quantum.
  const [before] = host.sample().vms;
  expect(before!.vmiActive).toBe(false);
  // The hash of indirect targets alone takes 512 KiB.
  expect(before!.memory.tcKb).toBeGreaterThan(512);
  const after: VmSample[] = [];
  const sums: number[] = [];
  while (host.nowCycles < host.cyclesPerSecond) {
    host.advance(host.nowCycles + host.quantumCycles);
    const { vms, host: all } = host.sample();
    const [vm] = vms;
    if (vm!.power !== 'on') break;
    after.push(vm!);
    sums.push(all.memory.freeKb + vm!.memory.grantedKb + vm!.memory.overheadKb);
  }
  expect(after.length).toBeGreaterThan(0);
  const restOf = ({ memory }: VmSample) => memory.overheadKb - memory.shadowKb - memory.tcKb;
  for (const vm of after) {
    expect([vm.mode, vm.memory.tcKb, vm.counters.tcBytes]).toEqual(['vmi', 0, 0]);
    // A page for the copy of a descriptor table has come meanwhile.
    expect(restOf(vm)).toBeLessThanOrEqual(restOf(before!) + 4);
  }
  // What the VM has no more, the host has.
  expect(new Set(sums).size).toBe(1);
  expect(findings(host.drainEvents())).toEqual([]);
  expect(host.sample().vms[0]!.power).toBe('off');
});
