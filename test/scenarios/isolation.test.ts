/** One VM's crash is its own: it stops with a readable reason, and its neighbour does not notice. */
import { describe, expect, test } from 'vitest';
import { loadGuestImage } from '../../src/guest/image.js';
import { createHost, type HostEvent, type VmConfig } from '../../src/hypervisor/index.js';
import { HOSTILE } from './hostile-guests.js';
import { consoleOf, findings, MODES } from './run-guest.js';

describe.each(HOSTILE)('$name', ({ image, reason, modes = MODES }) => {
  test.each(modes)('under %s is that VM alone', mode => {
    const vm = (name: string, imageName: string, append: string): VmConfig => ({
      name,
      memoryMib: 32,
      monitor: mode === 'vmi' ? 'bt' : mode,
      vmi: mode === 'vmi',
      image: imageName,
      append,
      powerOn: true,
    });
    const host = createHost({
      name: 'test',
      pcpus: 2,
      memoryMib: 512,
      costs: 'xeon-5160',
      images: { bad: image, guest: loadGuestImage() },
      vms: [vm('bad', 'bad', ''), vm('good', 'guest', 'run=getppid iterations=20')],
      sampleIntervalMs: 1000,
      auditEveryQuanta: 5,
    });
    const events: HostEvent[] = [];
    while (host.sample().vms[1]!.power === 'on' && host.nowCycles < host.cyclesPerSecond) {
      host.advance(host.nowCycles + host.quantumCycles);
      events.push(...host.drainEvents());
    }
    const [bad, good] = host.sample().vms;
    expect(good!.power).toBe('off');
    expect(consoleOf(events.filter(event => event.vm === 'good'))).toMatch(/getppid: .*ok/);
    expect(findings(events)).toEqual([]);
    if (reason === undefined) {
      expect(bad!.crashReason).toBeUndefined();
      // It has run all the time, and can be switched off as any other.
      expect(bad!.worlds[0]!.usedCycles).toBeGreaterThan(0.9 * host.nowCycles);
      expect(host.execute({ kind: 'powerOff', vm: 'bad' })).toEqual({ ok: true });
    } else {
      expect(bad!.power).toBe('crashed');
      expect(bad!.crashReason).toMatch(reason);
      expect(bad!.crashReason).not.toContain('\n');
    }
    expect(host.anyPoweredOn).toBe(false);
    // Whatever it took, the host has it back.
    expect(host.sample().host.memory.otherKb).toBe(0);
  });
});
