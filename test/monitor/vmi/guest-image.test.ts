import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createHost, type HostEvent } from '../../../src/hypervisor/index.js';

const GUEST = readFileSync(new URL('../../../fixtures/guest.elf', import.meta.url));

/** Boots the guest image with VMI offered and runs one program; audits every quantum. */
function boot(
  append: string,
  image = new Uint8Array(GUEST),
): { events: HostEvent[]; text: string; host: ReturnType<typeof createHost> } {
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
  expect(events.filter(event => event.kind === 'log' && event.line.startsWith('VMI is offered'))).toEqual([]);
});

test('a kernel that has no VMI code stays under BT, and the log says so once, when it has booted', {
  timeout: 180_000,
}, () => {
  // The kernel looks for another signature than that of the ROM.
  const other = Buffer.from(GUEST);
  for (let at = other.indexOf('cVmi'); at >= 0; at = other.indexOf('cVmi')) other[at] = 0x43;
  const { events, text, host } = boot('run=divzero iterations=2', new Uint8Array(other));
  expect(text).not.toContain('VMI: Found');
  expect(text).toContain('divzero: 16 instances x 2 iterations: ok');
  expect(events.filter(({ kind }) => kind === 'audit')).toEqual([]);
  expect(host.sample().vms[0]).toMatchObject({ mode: 'bt', power: 'off', vmiEnabled: true, vmiActive: false });
  const lines = events.flatMap(event => (event.kind === 'log' ? [event.line] : []));
  const told = lines.filter(line => line.startsWith('VMI is offered'));
  expect(told).toHaveLength(1);
  expect(lines.indexOf(told[0]!)).toBe(lines.indexOf('vmitop: boot done') + 1);
});
