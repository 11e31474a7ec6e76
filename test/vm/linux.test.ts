/** bzImages: what is refused and why, and what a kernel finds at its 32-bit entry (Linux/x86 boot protocol). */
import { describe, expect, test } from 'vitest';
import { createHost, UsageError } from '../../src/hypervisor/index.js';
import { type BootOptions, loadKernel, parseKernel } from '../../src/hypervisor/vm/boot-image.js';
import { parseLinux } from '../../src/hypervisor/vm/linux.js';
import { type LinuxImageOptions, linuxImage } from './linux-image.js';

const MIB = 1024 * 1024;
const HLT = 0xf4;

describe('images that cannot be used', () => {
  const short = linuxImage([HLT]).subarray(0, 3 * 512);
  const cases: readonly (readonly [what: string, bytes: Uint8Array, reason: RegExp])[] = [
    ['protocol 2.01', linuxImage([HLT], { version: 0x201 }), /boot protocol 2\.01/],
    ['a zImage', linuxImage([HLT], { loadFlags: 0 }), /zImage/],
    ['a 64-bit kernel', linuxImage([HLT], { extendedFlags: 1 }), /64-bit kernel/],
    ['nothing behind the real-mode part', short, /truncated/],
    ['a header that is cut off', linuxImage([HLT]).subarray(0, 0x210), /truncated/],
  ];
  test.each(cases)('%s: one line that says so', (_, bytes, reason) => {
    expect(() => parseKernel('vmlinuz', bytes)).toThrow(UsageError);
    expect(() => parseKernel('vmlinuz', bytes)).toThrow(reason);
    expect(() => parseKernel('vmlinuz', bytes)).toThrow(/^image vmlinuz: [^\n]*$/);
  });

  test('the mark of 64-bit kernels means nothing before protocol 2.12', () => {
    expect(parseLinux('vmlinuz', linuxImage([HLT], { version: 0x20b, extendedFlags: 1 })).name).toBe('vmlinuz');
  });
});

function load(options: Partial<BootOptions> & LinuxImageOptions = {}, mib = 64) {
  const memory = new Uint8Array(mib * MIB);
  const image = parseKernel('vmlinuz', linuxImage([HLT, 1, 2, 3], options));
  const boot = { commandLine: '', ...options };
  const start = loadKernel(image, boot, { memoryBytes: memory.length, write: (at, bytes) => memory.set(bytes, at) });
  return { start, memory, view: new DataView(memory.buffer) };
}
const textAt = (memory: Uint8Array, at: number) => String.fromCharCode(...memory.subarray(at, memory.indexOf(0, at)));

describe('loading', () => {
  test('entry at 1 MiB with ESI at the parameters and flat descriptors behind the selectors', () => {
    const { start, memory, view } = load();
    expect([...memory.subarray(MIB, MIB + 4)]).toEqual([HLT, 1, 2, 3]);
    expect(start).toMatchObject({ eip: MIB, code: 0x10, data: 0x18 });
    const { base, limit } = start.gdt!;
    expect(limit).toBe(0x1f);
    // Base 0, limit 4 GiB: code that may be read, data that may be written, both used before.
    expect(view.getBigUint64(base + start.code, true)).toBe(0x00cf9b000000ffffn);
    expect(view.getBigUint64(base + start.data, true)).toBe(0x00cf93000000ffffn);
    expect(memory[start.esi! + 0x210]).toBe(0xff);
  });

  test('command line, memory map and RAM disk are where the parameters say', () => {
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i);
    const { start, memory, view } = load({ commandLine: 'console=ttyS0 x=1', initrd: { name: 'initrd', bytes } });
    const parameters = start.esi!;
    expect(textAt(memory, view.getUint32(parameters + 0x228, true))).toBe('console=ttyS0 x=1');
    const initrdAt = view.getUint32(parameters + 0x218, true);
    expect(view.getUint32(parameters + 0x21c, true)).toBe(5000);
    expect(initrdAt % 4096).toBe(0);
    expect(memory.subarray(initrdAt, initrdAt + 5000)).toEqual(bytes);
    const entries = Array.from({ length: memory[parameters + 0x1e8]! }, (_, i) => {
      const at = parameters + 0x2d0 + i * 20;
      return [0, 8, 16].map(offset => view.getUint32(at + offset, true).toString(16)).join(' ');
    });
    expect(entries).toContain('0 9fc00 1');
    expect(entries).toContain('100000 3ee0000 1');
    // Inside the map's last usable range, and as high as it may be.
    expect(initrdAt + 5000).toBeLessThanOrEqual(0x3fe0000);
    expect(initrdAt + 5000).toBeGreaterThan(0x3fe0000 - 4096);
  });

  test('the RAM disk stays below what the kernel can reach', () => {
    const initrd = { name: 'initrd', bytes: new Uint8Array(4096) };
    const { start, view } = load({ initrd, initrdMax: 0x1ffffff });
    expect(view.getUint32(start.esi! + 0x218, true)).toBe(0x1fff000);
  });

  test('what does not fit is refused in one line', () => {
    const initrd = { name: 'initrd.gz', bytes: new Uint8Array(50 * MIB) };
    expect(() => load({ preferred: [16 * MIB, 16 * MIB] }, 32)).toThrow('image vmlinuz: needs 33 MiB');
    expect(() => load({ preferred: [16 * MIB, 16 * MIB], initrd })).toThrow('initrd initrd.gz: its 50 MiB do not fit');
    expect(() => load({ commandLine: 'x'.repeat(101), commandLineBytes: 100 })).toThrow('too long (101 characters');
    expect(load({ commandLine: 'x'.repeat(100), commandLineBytes: 100 }).start.eip).toBe(MIB);
    // Before 2.06 the header has no such field.
    expect(() => load({ version: 0x205, commandLine: 'x'.repeat(256) })).toThrow('takes 255');
  });

  test('a multiboot kernel takes no RAM disk', () => {
    const multiboot = { kind: 'multiboot', name: 'kernel', segments: [], entry: MIB } as const;
    const options = { commandLine: '', initrd: { name: 'initrd', bytes: new Uint8Array(1) } };
    expect(() => loadKernel(multiboot, options, { memoryBytes: 64 * MIB, write: () => {} })).toThrow(
      'image kernel: only Linux kernels take an initrd (initrd)',
    );
  });
});

/**
 * Reloads every segment register from the loader's table, as old kernels do first, says "L" on the serial port where ESI leads to a
 * header with its mark, and switches the machine off.
 */
const PROBE = [
  ...[0x66, 0xb8, 0x18, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8], // mov ax, 18h; mov ds/es/ss/fs/gs, ax
  ...[0x81, 0xbe, 0x02, 0x02, 0, 0, 0x48, 0x64, 0x72, 0x53], // cmp dword [esi+202h], "HdrS"
  ...[0x75, 0x08], // jne off
  ...[0x66, 0xba, 0xf8, 0x03, 0xb0, 0x4c, 0xee, 0x90], // mov dx, 3f8h; mov al, 'L'; out dx, al; nop
  ...[0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef], // off: mov dx, 604h; mov ax, 2000h; out dx, ax
  HLT,
];

test.each(['native', 'bt', 'hv'] as const)('a kernel starts by the protocol: %s', monitor => {
  const host = createHost({
    name: 'test',
    pcpus: 1,
    memoryMib: 128,
    costs: 'xeon-5160',
    images: { vmlinuz: linuxImage(PROBE), initrd: new Uint8Array(100) },
    vms: [{ name: 'vm', memoryMib: 16, monitor, vmi: false, image: 'vmlinuz', initrd: 'initrd', append: '' }],
    sampleIntervalMs: 1000,
  });
  expect(host.execute({ kind: 'powerOn', vm: 'vm' })).toEqual({ ok: true });
  host.advance(host.cyclesPerSecond / 50);
  const text = host
    .drainEvents()
    .map(event => (event.kind === 'console' ? event.text : ''))
    .join('');
  expect(text).toBe('L');
  expect(host.sample().vms[0]!.power).toBe('off');
});
