/** What a sample in the middle of a busy guest's work shows, and that looking leaves no trace in it. */
import { expect, test } from 'vitest';
import { causesSum } from '../../src/hypervisor/vm/virtual-machine.js';
import { findings, guestHost, MODES } from '../scenarios/run-guest.js';

/** Boots, then forks and writes and reads pages: every kind of monitor work. */
const BUSY = 'run=nforkwait';

test.each(MODES)('%s: causes sum to the cycles charged whenever a sample is taken', mode => {
  const host = guestHost({ mode, append: BUSY });
  const check = () => {
    const [vm] = host.sample().vms;
    expect(causesSum(vm!.causes)).toBe(vm!.chargedCycles);
    return vm!;
  };
  check();
  let vm = check();
  for (let quantum = 0; quantum < 30; quantum++) {
    host.advance(host.nowCycles + host.quantumCycles);
    vm = check();
  }
  expect(vm.causes.guestUser).toBeGreaterThan(0);
  expect(vm.causes.guestKernel).toBeGreaterThan(0);
});

test.each(MODES)('%s: audits change nothing that a sample shows, and find nothing', mode => {
  const run = (auditEveryQuanta: number) => {
    const host = guestHost({ mode, append: BUSY, auditEveryQuanta, sampleIntervalMs: 2 });
    host.advance(30 * host.quantumCycles);
    return {
      samples: host.drainSamples().map(sample => JSON.stringify(sample)),
      findings: findings(host.drainEvents()),
    };
  };
  const audited = run(3);
  expect(audited.findings).toEqual([]);
  const { samples } = run(0);
  expect(samples).toHaveLength(15);
  for (const [i, sample] of samples.entries()) expect(audited.samples[i]).toBe(sample);
});
