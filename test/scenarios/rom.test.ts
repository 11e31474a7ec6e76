/** A BIOS of our own from the reset vector to power-off: real mode, its vectors, protected mode and back. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createHost, type HostConfig, UsageError } from '../../src/hypervisor/index.js';

const BIOS = new Uint8Array(
  gunzipSync(readFileSync(fileURLToPath(new URL('../../fixtures/rom/bios.bin.gz', import.meta.url)))),
);

const config = (bytes: Uint8Array, more: Partial<HostConfig['vms'][0]> = {}): HostConfig => ({
  name: 'test',
  pcpus: 1,
  memoryMib: 128,
  costs: 'xeon-5160',
  images: { bios: bytes },
  vms: [
    {
      name: 'vm',
      memoryMib: 8,
      monitor: 'native',
      vmi: false,
      image: 'bios',
      rom: true,
      append: '',
      powerOn: true,
      ...more,
    },
  ],
  sampleIntervalMs: 1000,
});

function boot(bytes: Uint8Array) {
  const host = createHost(config(bytes));
  while (host.anyPoweredOn && host.nowCycles < host.cyclesPerSecond) host.advance(host.nowCycles + host.quantumCycles);
  const events = host.drainEvents();
  const text = events.map(event => (event.kind === 'console' ? event.text : '')).join('');
  return { text, events, now: host.nowCycles, digest: host.sample().vms[0] };
}

const LINES = [
  'BIOS in real mode',
  'processor signature in EDX',
  'divide error',
  'invalid opcode',
  'general protection',
  'limits are checked',
  'three timer interrupts',
  '32-bit code',
  'real mode again, with a large data segment',
];

describe('a BIOS', () => {
  test('runs from the reset vector to power-off', () => {
    const { text, events } = boot(BIOS);
    expect(text.trimEnd().split('\n')).toEqual(LINES);
    expect(events.at(-1)).toMatchObject({ kind: 'power', state: 'off' });
  });

  test('takes the same time each time', () => {
    expect(boot(BIOS)).toEqual(boot(BIOS));
  });

  test.each([128, 256])('of %d KiB begins where its last 64 KiB begin', kib => {
    const larger = new Uint8Array(kib * 1024);
    larger.set(BIOS, larger.length - BIOS.length);
    expect(boot(larger).text.trimEnd().split('\n')).toEqual(LINES);
  });

  test('cannot be written where it ends at 4 GiB, but its copy below 1 MiB can', () => {
    const bytes = new Uint8Array(65536).fill(0xf4);
    // In real mode with a data segment that reaches all memory: write both, print what is read back, switch off.
    const code = [
      ...[0x66, 0x2e, 0x0f, 0x01, 0x16, 0x80, 0xff], // lgdtd cs:[ff80]
      ...[0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0xb9, 0x08, 0x00, 0x8e, 0xd9], // PE, mov ds, 8
      ...[0x24, 0xfe, 0x0f, 0x22, 0xc0, 0xba, 0xf8, 0x03], // real mode; mov dx, 3f8
      ...[0x66, 0xbb, 0x00, 0x00, 0xff, 0xff, 0x67, 0xc6, 0x03, 0x41, 0x67, 0x8a, 0x03, 0xee], // ffff0000: 'A'
      ...[0x66, 0xbb, 0x00, 0x00, 0x0f, 0x00, 0x67, 0xc6, 0x03, 0x42, 0x67, 0x8a, 0x03, 0xee], // f0000: 'B'
      ...[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4],
    ];
    bytes.set([0x5a], 0); // 'Z'
    bytes.set(code, 0xff00);
    bytes.set([0x0f, 0x00, 0x90, 0xff, 0x0f, 0x00], 0xff80);
    bytes.set([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0], 0xff90);
    bytes.set([0xe9, 0x0d, 0xff], 0xfff0);
    expect(boot(bytes).text).toBe('ZB');
  });

  test('writes its log to port 0x402, where it finds a console', () => {
    const bytes = new Uint8Array(65536).fill(0xf4);
    // mov dx, 402; in al, dx; out dx, al; mov al, 'x'; out dx, al; power off
    bytes.set([0xba, 0x02, 0x04, 0xec, 0xee, 0xb0, 0x78, 0xee, 0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4], 0xff00);
    bytes.set([0xe9, 0x0d, 0xff], 0xfff0);
    expect(boot(bytes).text).toBe('\xe9x');
  });

  test('is refused with another size, or under a monitor', () => {
    expect(() => createHost(config(new Uint8Array(65535)))).toThrow(
      new UsageError('image bios: a BIOS has 64, 128 or 256 KiB, not 65535 bytes'),
    );
    expect(() => createHost(config(BIOS, { monitor: 'bt' }))).toThrow(/real mode.*only native/);
  });
});
