/** One VM's crash is its own: it stops with a readable reason, and its neighbour does not notice. */
import { describe, expect, test } from 'vitest';
import { loadGuestImage } from '../../src/guest/image.js';
import { createHost, type HostEvent, type VmConfig } from '../../src/hypervisor/index.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { LOAD_ADDRESS, multiboot } from '../differential/oracle-image.js';
import { consoleOf } from './run-guest.js';

const image = (source: string) => multiboot(assemble(LOAD_ADDRESS + 32, source).bytes);

const CRASHES: readonly { readonly name: string; readonly source: string; readonly reason: RegExp }[] = [
  {
    name: 'an exception without any IDT',
    source: 'lidt [empty]\nud2\nempty: dw 0\ndd 0',
    reason: /triple fault/i,
  },
  {
    name: 'paging switched on over nonsense tables',
    source: 'lidt [empty]\nmov eax, 0x300000\nmov cr3, eax\nmov eax, 0x80000011\nmov cr0, eax\nnop\nempty: dw 0\ndd 0',
    reason: /triple fault/i,
  },
  {
    name: 'execution that runs off the end of memory',
    source: 'lidt [empty]\njmp dword [far]\nfar: dd 0x70000000\nempty: dw 0\ndd 0',
    reason: /triple fault/i,
  },
];

describe.each(CRASHES)('$name', ({ source, reason }) => {
  test.each(['native', 'bt', 'vmi'] as const)('under %s stops that VM alone', mode => {
    const vm = (name: string, imageName: string, append: string): VmConfig => ({
      name,
      memoryMib: 32,
      monitor: mode === 'native' ? 'native' : 'bt',
      vmi: mode === 'vmi',
      image: imageName,
      append,
      powerOn: true,
    });
    const host = createHost({
      name: 'test',
      pcpus: 1,
      memoryMib: 512,
      costs: 'xeon-5160',
      images: { bad: image(source), guest: loadGuestImage() },
      vms: [vm('bad', 'bad', ''), vm('good', 'guest', 'run=getppid iterations=50')],
      sampleIntervalMs: 1000,
    });
    const events: HostEvent[] = [];
    while (host.anyPoweredOn && host.nowCycles < 60 * host.cyclesPerSecond) {
      host.advance(host.nowCycles + host.quantumCycles * 20);
      events.push(...host.drainEvents());
    }
    const [bad, good] = host.sample().vms;
    expect(bad!.power).toBe('crashed');
    expect(bad!.crashReason).toMatch(reason);
    expect(bad!.crashReason).not.toContain('\n');
    expect(good!.power).toBe('off');
    expect(consoleOf(events.filter(event => event.vm === 'good'))).toMatch(/getppid: .*ok/);
  });
});
