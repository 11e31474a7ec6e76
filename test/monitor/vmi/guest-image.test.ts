import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createHost, type HostEvent } from '../../../src/hypervisor/index.js';

/** Boots the guest image with VMI offered and runs one program; audits every quantum. */
function boot(append: string): { events: HostEvent[]; text: string; host: ReturnType<typeof createHost> } {
  const image = new Uint8Array(readFileSync(new URL('../../../fixtures/guest.elf', import.meta.url)));
  const host = createHost({
    name: 'test',
    pcpus: 1,
    memoryMib: 512,
    costs: 'xeon-5160',
    images: { guest: image },
    vms: [{ name: 'vm', memoryMib: 32, monitor: 'bt', vmi: true, image: 'guest', append, powerOn: true }],
    sampleIntervalMs: 1000,
    auditEveryQuanta: 1,
  });
  const events: HostEvent[] = [];
  for (let ms = 0; ms < 500 && host.anyPoweredOn; ms += 5) {
    host.advance(host.nowCycles + 5 * host.quantumCycles);
    events.push(...host.drainEvents());
  }
  const text = events.map(event => (event.kind === 'console' ? event.text : '')).join('');
  return { events, text, host };
}

test('the guest image goes from BT to VMI at Init and stays paravirtualized to its power-off', {
  timeout: 180_000,
}, () => {
  const { events, text, host } = boot('run=divzero,nforkwait iterations=2');
  expect(text).toContain('VMI: Found VMware, Inc. Hypervisor OPROM, API version 3.0, ROM version 1.0');
  expect(text).toContain('Booting paravirtualized kernel on vmi');
  expect(text).toContain('divzero: 16 instances x 2 iterations: ok');
  expect(text).toContain('nforkwait: 16 instances x 2 iterations: ok');
  expect(events.filter(({ kind }) => kind === 'audit')).toEqual([]);
  const [vm] = host.sample().vms;
  expect([vm!.mode, vm!.power]).toEqual(['vmi', 'off']);
  // Announced page tables are not traced, and user code enters the kernel without the monitor.
  expect(vm!.counters.traceFaults).toBe(0);
  expect(vm!.counters.syscallsForwarded).toBe(0);
  expect(vm!.counters.forwardedFaults).toBe(0);
  expect(vm!.counters.updatesQueued).toBeGreaterThan(0);
  expect(vm!.causes.hypercall).toBeGreaterThan(0);
});
