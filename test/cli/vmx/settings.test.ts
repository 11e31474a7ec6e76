/** What .vmx files say about VMs, and what they cannot say. */
import { describe, expect, test } from 'vitest';
import { VmxDocument } from '../../../src/cli/vmx/document.js';
import { IGNORED_KEYS, VMX_KEYS } from '../../../src/cli/vmx/keys.js';
import { disksOf, ignoredSettings, nicsOf, readSettings } from '../../../src/cli/vmx/settings.js';
import { UsageError } from '../../../src/hypervisor/index.js';

const document = (text: string) => VmxDocument.parse(Buffer.from(text), 'web.vmx');
const read = (...lines: string[]) => readSettings(document(lines.join('\n')));

test('an empty file is a VM with the defaults', () => {
  expect(read()).toEqual({
    name: undefined,
    guestOs: 'other',
    annotation: '',
    memoryMib: 64,
    vcpus: 1,
    vmi: false,
    virtualExec: 'automatic',
    virtualMmu: 'automatic',
    disk0: false,
    disk0File: undefined,
    disk1: false,
    disk1File: undefined,
    disk2: false,
    disk2File: undefined,
    disk3: false,
    disk3File: undefined,
    nic0: false,
    nic1: false,
    nic2: false,
    nic3: false,
    cpuShares: 1000,
    cpuReservationMhz: 0,
    cpuLimitMhz: 'unlimited',
    cpuUnits: 'mhz',
    image: 'guest',
    initrd: undefined,
    append: '',
    start: '',
    powerOn: true,
    native: false,
    countExecutions: false,
    cpu: 'xeon-5160',
    apic: 'automatic',
  });
});

test('every default that is declared can be written, and reads as the same', () => {
  const empty = read();
  for (const [field, spec] of Object.entries(VMX_KEYS)) {
    if (spec.otherwise === undefined) continue;
    expect(read(`${spec.key} = "${spec.otherwise}"`), spec.key).toEqual(empty);
    expect(Object.hasOwn(empty, field)).toBe(true);
  }
});

test.each([
  ['displayName', 'Web Server (1)', { name: 'Web Server (1)' }],
  ['guestOS', 'other26xlinux', { guestOs: 'other26xlinux' }],
  ['annotation', 'for |22lunch|22', { annotation: 'for "lunch"' }],
  ['memSize', '1024', { memoryMib: 1024 }],
  ['vmi.present', 'true', { vmi: true }],
  ['monitor.virtual_exec', 'Hardware', { virtualExec: 'hardware' }],
  ['monitor.virtual_mmu', 'software', { virtualMmu: 'software' }],
  ['sched.cpu.shares', 'low', { cpuShares: 500 }],
  ['sched.cpu.shares', 'HIGH', { cpuShares: 2000 }],
  ['sched.cpu.shares', '1234', { cpuShares: 1234 }],
  ['sched.cpu.min', '500', { cpuReservationMhz: 500 }],
  ['sched.cpu.max', '1500', { cpuLimitMhz: 1500 }],
  ['sched.cpu.max', 'Unlimited', { cpuLimitMhz: 'unlimited' }],
  ['sched.cpu.max', '-1', { cpuLimitMhz: 'unlimited' }],
  ['sched.cpu.units', 'MHz', { cpuUnits: 'mhz' }],
  ['vmitop.image', '../bzImage', { image: '../bzImage' }],
  ['vmitop.initrd', 'initrd.gz', { initrd: 'initrd.gz' }],
  ['scsi0:0.filename', 'web.img', { disk0File: 'web.img' }],
  ['Ethernet0.Present', 'true', { nic0: true }],
  ['vmitop.append', 'console=ttyS0', { append: 'console=ttyS0' }],
  ['vmitop.start', 'getppid', { start: 'getppid' }],
  ['vmitop.poweron', 'FALSE', { powerOn: false }],
  ['vmitop.native', 'TRUE', { native: true }],
  ['vmitop.countExecutions', 'TRUE', { countExecutions: true }],
  ['vmitop.cpu', 'Pentium2', { cpu: 'pentium2' }],
  ['vmitop.apic', 'TRUE', { apic: 'true' }],
])('%s = "%s"', (key, value, said) => {
  expect(read(`${key} = "${value}"`)).toEqual({ ...read(), ...said });
});

const BAD = [
  ['displayName', 'a,b', 'must be 1 to 32 letters, digits, blanks, or characters of _.-(), not "a,b"'],
  ['displayName', 'B\u00fcro', 'must be 1 to 32 letters, digits, blanks, or characters of _.-(), not "B\u00fcro"'],
  ['guestOS', 'x'.repeat(65), `is longer than 64 characters, not "${'x'.repeat(65)}"`],
  ['annotation', 'x'.repeat(1025), 'is longer than 1024 characters'],
  ['memsize', 'lots', 'must be a multiple of 4 from 8 to 1024, not "lots"'],
  ['memsize', '63', 'must be a multiple of 4 from 8 to 1024, not "63"'],
  ['memsize', '4', 'must be a multiple of 4 from 8 to 1024, not "4"'],
  ['memsize', '1028', 'must be a multiple of 4 from 8 to 1024, not "1028"'],
  ['memsize', '-64', 'must be a multiple of 4 from 8 to 1024, not "-64"'],
  ['numvcpus', '2', 'must be 1: VMs with several virtual CPUs are not built yet, not "2"'],
  ['numvcpus', '3', 'must be 1, not "3"'],
  ['vmi.present', 'yes', 'must be TRUE or FALSE, not "yes"'],
  ['monitor.virtual_exec', 'vt', 'must be one of automatic, software, hardware, not "vt"'],
  ['monitor.virtual_mmu', '', 'must be one of automatic, software, hardware, not ""'],
  ['sched.cpu.shares', '0', 'must be low, normal, high or a whole number from 1 to 100000, not "0"'],
  ['sched.cpu.shares', '100001', 'must be low, normal, high or a whole number from 1 to 100000, not "100001"'],
  ['sched.cpu.min', '-1', 'must be a whole number of MHz, not "-1"'],
  ['sched.cpu.max', '0', 'must be unlimited or a whole number of MHz from 1, not "0"'],
  ['sched.cpu.units', 'percent', 'must be one of mhz, not "percent"'],
  ['vmitop.image', '', 'must name a file, not ""'],
  ['vmitop.initrd', '', 'must name a file, not ""'],
  ...[0, 1, 2, 3].flatMap(index => [
    [`scsi0:${index}.fileName`, '', 'must name a file, not ""'] as const,
    [`scsi0:${index}.present`, '1', 'must be TRUE or FALSE, not "1"'] as const,
    [`ethernet${index}.present`, '', 'must be TRUE or FALSE, not ""'] as const,
  ]),
  ['vmitop.append', 'x'.repeat(1025), 'is longer than 1024 characters'],
  ['vmitop.start', 'x'.repeat(257), 'is longer than 256 characters'],
  ['vmitop.powerOn', '1', 'must be TRUE or FALSE, not "1"'],
  ['vmitop.native', '', 'must be TRUE or FALSE, not ""'],
  ['vmitop.countExecutions', 'on', 'must be TRUE or FALSE, not "on"'],
  ['vmitop.apic', '1', 'must be one of automatic, true, false, not "1"'],
  ['vmitop.cpu', '486', 'must be one of pentium2, pentium4, xeon-5160, not "486"'],
] as const;

describe('a bad value is refused with file, line, key and reason', () => {
  test.each(BAD)('%s = "%s"', (key, value, reason) => {
    let message = '';
    try {
      read('# first', `${key} = "${value}"`);
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      ({ message } = error as Error);
    }
    expect(message.startsWith(`web.vmx:2: ${key}: ${reason}`), message).toBe(true);
  });

  test('every key that can be wrong has its line above', () => {
    const covered = new Set(BAD.map(([key]) => key.toLowerCase()));
    for (const { key } of Object.values(VMX_KEYS)) expect(covered.has(key.toLowerCase()), key).toBe(true);
  });

  test('VMI without a monitor', () => {
    expect(() => read('vmitop.native = "TRUE"', 'vmi.present = "TRUE"')).toThrow(
      new UsageError('web.vmx:2: vmi.present: needs a monitor, and with vmitop.native the VM has none'),
    );
  });

  test('a slip in a key of ours', () => {
    expect(() => read('vmitop.iamge = "x"')).toThrow(
      /^web\.vmx:1: vmitop\.iamge: no such key, must be one of .*vmitop\.image,/,
    );
  });
});

test('keys without a meaning are kept and told, with the reason', () => {
  const file = document('sched.CPU.affinity = "0"\nmemsize = "32"\nfloppy0.present = "TRUE"\n');
  expect(readSettings(file).memoryMib).toBe(32);
  expect(ignoredSettings(file)).toEqual([
    { key: 'sched.CPU.affinity', value: '0', reason: 'every VM may run on every processor' },
    { key: 'floppy0.present', value: 'TRUE', reason: 'not known' },
  ]);
});

test('no key is in both tables', () => {
  const known = new Set(Object.values(VMX_KEYS).map(({ key }) => key.toLowerCase()));
  const ignored = IGNORED_KEYS.map(({ key }) => key.toLowerCase());
  expect(ignored.filter(key => known.has(key))).toEqual([]);
  expect(new Set(ignored).size).toBe(ignored.length);
});

describe('disks and network cards', () => {
  const disk = (index: number) => [`scsi0:${index}.present = "TRUE"`, `scsi0:${index}.fileName = "${index}.img"`];

  test('are those that are present', () => {
    const settings = read(...disk(1), ...disk(0), 'scsi0:2.fileName = "no.img"', 'ethernet0.present = "TRUE"');
    expect([disksOf(settings), nicsOf(settings)]).toEqual([['0.img', '1.img'], 1]);
    expect([disksOf(read()), nicsOf(read())]).toEqual([[], 0]);
  });

  test.each([
    [['scsi0:0.present = "TRUE"'], 'web.vmx:1: scsi0:0.present: needs scsi0:0.fileName'],
    [disk(1), 'web.vmx:1: scsi0:1.present: needs scsi0:0.present: numbers are given without gaps'],
    [
      ['ethernet2.present = "TRUE"'],
      'web.vmx:1: ethernet2.present: needs ethernet1.present: numbers are given without gaps',
    ],
  ])('%s is refused', (lines, message) => {
    expect(() => read(...lines)).toThrow(new UsageError(message));
  });
});
