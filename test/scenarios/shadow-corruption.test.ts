/** The audit of a running host sees one corrupted shadow entry, whichever technique runs the guest. */
import { afterEach, expect, test, vi } from 'vitest';
import { MonitorLoop } from '../../src/hypervisor/monitor/loop.js';
import { guestHost } from './run-guest.js';

const PRESENT = 1;
const WRITABLE = 2;
/** Of 1024 directory entries, those that map the guest's kernel from 3 GiB on, below the monitor's hole. */
const KERNEL_PDE = 0xc0000000 >>> 22;

afterEach(() => vi.restoreAllMocks());

test.each(['bt', 'hv', 'vmi'] as const)('a corrupted shadow entry is found under %s', mode => {
  const host = guestHost({ mode, append: '' });
  for (let i = 0; i < 200 && host.sample().vms[0]!.guestState !== 'idle'; i++) {
    host.advance(host.nowCycles + host.quantumCycles);
  }
  expect(host.sample().vms[0]).toMatchObject({ guestState: 'idle', mode });

  // The door shows no monitor; the audit itself is followed to the one that it looks at.
  const audit = vi.spyOn(MonitorLoop.prototype, 'audit');
  expect(host.audit('vm')).toEqual([]);
  const { vcpu } = audit.mock.contexts[0] as MonitorLoop;
  const { memory } = vcpu.vm;

  const pde = memory.readI32(vcpu.shadow.root * 4096 + 4 * KERNEL_PDE);
  expect(pde & PRESENT).toBe(PRESENT);
  const table = (pde >>> 12) * 4096;
  const at = Array.from({ length: 1024 }, (_, i) => table + 4 * i).find(
    // A missing permission is none of the audit's findings: it is repaired by the next fault.
    entry => (memory.readI32(entry) & (PRESENT | WRITABLE)) === PRESENT,
  )!;
  const good = memory.readI32(at);
  for (const bits of [WRITABLE, 0x1000]) {
    memory.write32(at, good ^ bits);
    const findings = host.audit('vm');
    expect(findings.length, `bits ${bits}`).toBeGreaterThan(0);
    expect(findings.join('\n')).toMatch(/entry \d+: .* should be/);
  }
  memory.write32(at, good);
  expect(host.audit('vm')).toEqual([]);
});
