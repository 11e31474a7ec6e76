/**
 * Debian's own kernel as a guest, in every mode that needs no co-operation: from power-on through the self-test of `guest/` to off. Run by
 * `npm run test:linux`, since it fetches packages.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CpuModel } from '../../src/hypervisor/index.js';
import type { RunResult } from './boot-child.js';
import { selftestInitrd } from './guest.js';
import { timelessLines } from './normalize.js';
import { FLAVOURS, type Flavour, kernelModules, kernelPath } from './packages.js';

const MODES = ['native', 'bt', 'hv'] as const;

/** Any kernel goes with any processor; so two of them are seen. */
const PROCESSORS: Readonly<Record<Flavour, CpuModel>> = { '686': 'xeon-5160', '686-pae': 'pentium4' };

const PARTS = [
  ...['processes', 'pipes', 'copy on write', 'faults', 'timers', 'floating point', 'vectors', 'threads'],
  ...['fast system calls', 'code that changes', 'copies', 'date'],
];
/** Of the flavour that has a disk. */
const DISK_PARTS = ['disk', 'file system'];
const WITH_CARDS: Flavour = '686';
/** With what they need: drivers of the cards, a file system and what it makes its checksums with. */
const MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net', 'crc32c_generic', 'ext4'];
/** The boot that is recorded and replayed: the one with most to get wrong. */
const REPLAYED = '686 bt';
/** Boots in which the VM is suspended and resumed again and again. */
const WITH_BREAKS: ReadonlySet<string> = new Set(['686 hv', '686-pae bt', '686-pae hv']);
const OUTPUT_BYTES_MAX = 64 << 20;

let scratch: string;
const initrdOf = (flavour: Flavour): string => join(scratch, `initrd-${flavour}.gz`);

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'vmitop-linux-'));
  for (const flavour of FLAVOURS) {
    kernelPath(flavour);
    writeFileSync(initrdOf(flavour), selftestInitrd(flavour === WITH_CARDS ? kernelModules(flavour, MODULES) : []));
  }
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function child(...parameters: readonly string[]): Promise<RunResult> {
  const path = fileURLToPath(new URL('boot-child.ts', import.meta.url));
  const words = ['--import', 'tsx', path, ...parameters];
  const { stdout } = await promisify(execFile)(process.execPath, words, { maxBuffer: OUTPUT_BYTES_MAX });
  return JSON.parse(stdout) as RunResult;
}

const boot = (mode: string, flavour: Flavour): Promise<RunResult> =>
  child(
    ...[mode, PROCESSORS[flavour], kernelPath(flavour), initrdOf(flavour)],
    ...(flavour === WITH_CARDS ? ['disk'] : []),
    ...(WITH_BREAKS.has(`${flavour} ${mode}`) ? ['breaks'] : []),
    ...(`${flavour} ${mode}` === REPLAYED ? ['replay'] : []),
  );

const linesOf = (text: string): string[] => text.replaceAll('\r', '').split('\n');
const sumOf = (figures: Readonly<Record<string, number>>): number => Object.values(figures).reduce((a, b) => a + b, 0);

// One process for each kernel: two processors are used.
test.concurrent.each(FLAVOURS)('-%s boots, passes the self-test and switches off, everywhere alike', async flavour => {
  const texts = new Map<string, string[]>();
  const hasDisk = flavour === WITH_CARDS;
  for (const mode of MODES) {
    const { vms, findings, log, replays } = await boot(mode, flavour);
    const [{ text, sample }] = vms as [RunResult['vms'][number]];
    const lines = linesOf(text);
    const tail = `${mode}:\n${lines.slice(-40).join('\n')}`;
    for (const part of [...PARTS, ...(hasDisk ? DISK_PARTS : [])]) expect(lines, tail).toContain(`ok ${part}`);
    expect(lines.filter(line => line !== '').at(-1), tail).toBe('PASS');
    expect([sample.power, findings, log], tail).toEqual(['off', [], []]);
    expect(sumOf(sample.causes), mode).toBe(sample.chargedCycles);
    for (const disk of sample.disks) {
      expect(disk).toMatchObject({ errors: 0, outstanding: 0 });
      // Figures begin again when a VM is resumed.
      if (!WITH_BREAKS.has(`${flavour} ${mode}`)) expect(disk.readBytes).toBeGreaterThan(disk.sizeKb * 1024);
    }
    if (`${flavour} ${mode}` === REPLAYED) expect(replays, 'the recording').toBe(true);
    texts.set(mode, timelessLines(text));
  }
  const native = texts.get('native')!;
  expect(native.length).toBeGreaterThan(150);
  for (const mode of MODES) expect(texts.get(mode), mode).toEqual(native);
});

test.concurrent('two VMs find each other on the switch, and files go either way, on an interrupt line shared with a disk', async () => {
  const { vms, findings, log, replays } = await child('network', kernelPath(WITH_CARDS), initrdOf(WITH_CARDS));
  expect([findings, log, replays]).toEqual([[], [], true]);
  const ends = vms.map(({ text, sample }) => {
    const lines = linesOf(text);
    const tail = lines.slice(-40).join('\n');
    expect(lines.filter(line => line !== '').at(-1), tail).toBe('PASS');
    expect(sample.power).toBe('off');
    const sum = (what: string) => lines.find(line => line.startsWith(`${what} `))?.slice(what.length);
    const shared = sample.interrupts.find(({ devices }) => devices.includes('ethernet0'));
    expect(shared).toMatchObject({ devices: ['scsi0:0', 'ethernet0'] });
    expect(shared!.delivered).toBeGreaterThan(200);
    return { sent: sum('sent'), received: sum('received'), nic: sample.nics[0]! };
  });
  const [one, two] = ends as [(typeof ends)[number], (typeof ends)[number]];
  expect(one.sent).toMatch(/^ [0-9a-f]{64} /);
  expect([one.received, two.received]).toEqual([two.sent, one.sent]);
  expect(one.sent).not.toBe(two.sent);
  for (const [from, to] of [
    [one.nic, two.nic],
    [two.nic, one.nic],
  ] as const) {
    expect(from.sentDropped).toBe(0);
    expect(from.sentBytes).toBeGreaterThan(500 * 1024);
    expect(to.receivedBytes).toBeGreaterThan(500 * 1024);
    // First questions of the one that boots faster find no driver, so no buffer; what comes for a VM that is off nobody counts.
    expect(to.receivedDropped).toBeLessThan(10);
    expect(to.receivedPackets + to.receivedDropped).toBeLessThanOrEqual(from.sentPackets);
  }
});
