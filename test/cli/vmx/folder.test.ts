/** Folders of .vmx files as inventories. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hostConfig, loadInventory, typedWhenIdle } from '../../../src/cli/inventory.js';
import { createVm, deleteVm, findFile, setInVm } from '../../../src/cli/vmx/folder.js';
import { UsageError } from '../../../src/hypervisor/index.js';

let lab: string;
beforeEach(() => {
  lab = mkdtempSync(join(tmpdir(), 'vmitop-lab-'));
});
afterEach(() => rmSync(lab, { recursive: true, force: true }));

function put(name: string, ...lines: string[]): string {
  const path = join(lab, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, lines.map(line => `${line}\n`).join(''));
  return path;
}

describe('an inventory', () => {
  test('is made of host.json and of both layouts, in the order of the paths', () => {
    put('host.json', '{ "pcpus": 2, "memoryMib": 1024 }');
    put('web/web.vmx', 'displayName = "web 01"', 'vmi.present = "TRUE"', 'vmitop.start = "getppid"');
    put('web/vmware.log', 'no inventory');
    put('db.vmx', 'monitor.virtual_exec = "hardware"', 'memsize = "128"', 'sched.cpu.shares = "high"');
    put('alone/other.vmx', 'memsize = "nobody reads this"');
    put('.hidden.vmx', 'memsize = "nor this"');
    const { inventory } = loadInventory(lab);
    expect(inventory).toMatchObject({ name: 'esx01', pcpus: 2, memoryMib: 1024, costs: 'xeon-5160' });
    const config = hostConfig(inventory, 1000);
    expect(config.vms).toEqual([
      {
        name: 'db',
        memoryMib: 128,
        monitor: 'hv',
        vmi: false,
        image: 'guest',
        append: '',
        cpuShares: 2000,
        countExecutions: false,
        cpu: 'xeon-5160',
        powerOn: true,
      },
      {
        name: 'web 01',
        memoryMib: 64,
        monitor: 'bt',
        vmi: true,
        image: 'guest',
        append: '',
        cpuShares: 1000,
        countExecutions: false,
        cpu: 'xeon-5160',
        powerOn: true,
      },
    ]);
    expect(typedWhenIdle(inventory)).toEqual({ 'web 01': 'getppid\n' });
  });

  test('APICs are what the file says, or what the kernel decides', () => {
    put('a.vmx');
    put('b.vmx', 'vmitop.apic = "TRUE"');
    put('c.vmx', 'vmitop.apic = "FALSE"');
    const { vms } = hostConfig(loadInventory(lab).inventory, 1000);
    expect(vms.map(({ apic }) => apic)).toEqual([undefined, true, false]);
  });

  test('without host.json is the default host', () => {
    put('a.vmx');
    expect(loadInventory(lab).inventory).toMatchObject({ name: 'esx01', pcpus: 4, memoryMib: 5120 });
  });

  test.each([
    ['software', 'FALSE', 'bt'],
    ['automatic', 'FALSE', 'bt'],
    ['hardware', 'FALSE', 'hv'],
    ['software', 'TRUE', 'native'],
  ])('virtual_exec %s, native %s: monitor %s', (exec, native, monitor) => {
    put('a.vmx', `monitor.virtual_exec = "${exec}"`, `vmitop.native = "${native}"`);
    expect(loadInventory(lab).inventory.vms[0]!.monitor).toBe(monitor);
  });

  test('images are where the .vmx file says, seen from there', () => {
    put('a/a.vmx', 'vmitop.image = "../kernels/bzImage"', 'vmitop.initrd = "initrd.gz"');
    put('kernels/bzImage', 'kernel');
    put('a/initrd.gz', 'disk');
    const config = hostConfig(loadInventory(lab).inventory, 1000);
    expect(config.vms[0]).toMatchObject({ image: join(lab, 'kernels/bzImage'), initrd: join(lab, 'a/initrd.gz') });
    expect(Object.keys(config.images)).toEqual([join(lab, 'kernels/bzImage'), join(lab, 'a/initrd.gz')]);
  });

  test('so are disks, in memory that threads share', () => {
    put('a/a.vmx', 'scsi0:0.present = "TRUE"', 'scsi0:0.fileName = "../a.img"', 'ethernet0.present = "TRUE"');
    put('b.vmx', 'scsi0:0.fileName = "no.img"');
    put('a.img', 'contents of it');
    const config = hostConfig(loadInventory(lab).inventory, 1000);
    const path = join(lab, 'a.img');
    expect(config.vms[0]).toMatchObject({ disks: [path], nics: 1 });
    expect(Object.keys(config.vms[1]!).filter(key => key === 'disks' || key === 'nics')).toEqual([]);
    expect(Buffer.from(config.images[path]!).toString()).toContain('contents of it');
    expect(config.images[path]!.buffer).toBeInstanceOf(SharedArrayBuffer);
  });
});

test.each<[string, () => void, () => string]>([
  ['no VM', () => {}, () => `inventory ${lab}: holds 0 VMs, must be 1 to 64 .vmx files`],
  [
    'two of one name',
    () => {
      put('a.vmx');
      put('b.vmx', '', 'displayName = "a"');
    },
    () => `${lab}/b.vmx:2: "a" is the name of ${lab}/a.vmx already`,
  ],
  [
    'a bad value',
    () => put('a.vmx', 'memsize = "1"'),
    () => `${lab}/a.vmx:1: memsize: must be a multiple of 4 from 8 to 1024, not "1"`,
  ],
  [
    'a file name that no VM can have',
    () => put('a,b.vmx'),
    () =>
      `${lab}/a,b.vmx: needs a displayName: the name of a VM must be 1 to 32 letters, digits, blanks, or characters of _.-(), not "a,b"`,
  ],
  [
    'VMs in host.json',
    () => put('a.vmx') + put('host.json', '{ "vms": [] }'),
    () => `inventory ${lab}/host.json: Unrecognized key: "vms"`,
  ],
])('%s is refused in one line', (_, prepare, message) => {
  prepare();
  expect(() => loadInventory(lab)).toThrow(new UsageError(message()));
});

test('a VM is found by the name of its file first, then by its own', () => {
  put('a.vmx', 'displayName = "b"');
  put('b.vmx', 'displayName = "c"');
  expect(findFile(lab, 'a').path).toBe(join(lab, 'a.vmx'));
  expect(findFile(lab, 'b').path).toBe(join(lab, 'b.vmx'));
  expect(findFile(lab, 'c').path).toBe(join(lab, 'b.vmx'));
  expect(() => findFile(lab, 'd')).toThrow(new UsageError(`inventory ${lab}: no VM is called "d"`));
});

test('where two files have one name, the name of the VM decides', () => {
  put('a.vmx', 'displayName = "one"');
  put('a/a.vmx', 'displayName = "a"');
  expect(findFile(lab, 'a').path).toBe(join(lab, 'a/a.vmx'));
});

describe('setting keys', () => {
  test('changes one line, keeps the mode of the file, and leaves nothing beside it', () => {
    const path = put('a.vmx', '# mine', 'memsize = "64" # enough', 'vmi.present = "FALSE"', 'colour = "red"');
    chmodSync(path, 0o640);
    setInVm(lab, findFile(lab, 'a'), [['VMI.Present', 'TRUE']]);
    expect(readFileSync(path, 'utf8')).toBe('# mine\nmemsize = "64" # enough\nvmi.present = "TRUE"\ncolour = "red"\n');
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(readdirSync(lab)).toEqual(['a.vmx']);
  });

  test('follows a link instead of replacing it', () => {
    const path = put('kept/real', 'memsize = "64"');
    const link = join(lab, 'link.vmx');
    symlinkSync(path, link);
    setInVm(lab, findFile(lab, 'link'), [['memsize', '32']]);
    expect(readFileSync(path, 'utf8')).toBe('memsize = "32"\n');
  });

  test('all or nothing', () => {
    const path = put('a.vmx', 'memsize = "64"');
    expect(() =>
      setInVm(lab, findFile(lab, 'a'), [
        ['memsize', '128'],
        ['numvcpus', '2'],
      ]),
    ).toThrow(`${path}:2: numvcpus: must be 1: VMs with several virtual CPUs are not built yet, not "2"`);
    expect(readFileSync(path, 'utf8')).toBe('memsize = "64"\n');
    expect(readdirSync(lab)).toEqual(['a.vmx']);
  });

  test('a new key gets its usual spelling', () => {
    const path = put('a.vmx');
    setInVm(lab, findFile(lab, 'a'), [
      ['VMI.PRESENT', 'TRUE'],
      ['Foo.Bar', '1'],
    ]);
    expect(readFileSync(path, 'utf8')).toBe('vmi.present = "TRUE"\nFoo.Bar = "1"\n');
  });

  test('repairs a file that could not be used, beside another', () => {
    const path = put('a.vmx', 'memsize = "1"');
    put('b.vmx', 'memsize = "2"');
    setInVm(lab, findFile(lab, 'a'), [['memsize', '32']]);
    expect(readFileSync(path, 'utf8')).toBe('memsize = "32"\n');
  });

  test('refuses the name of another VM', () => {
    put('a.vmx');
    put('b.vmx', 'memsize = "32"');
    expect(() => setInVm(lab, findFile(lab, 'b'), [['displayname', 'a']])).toThrow(
      new UsageError(`${lab}/b.vmx:2: "a" is the name of ${lab}/a.vmx already`),
    );
    expect(readFileSync(join(lab, 'b.vmx'), 'utf8')).toBe('memsize = "32"\n');
  });
});

describe('VMs come and go', () => {
  test('a new one can be used, and one that exists is not written over', () => {
    const folder = join(lab, 'new');
    const path = createVm(folder, 'web', [['memsize', '32']]);
    expect(path).toBe(join(folder, 'web/web.vmx'));
    const text = readFileSync(path, 'utf8');
    expect(text).toContain('\nmemsize = "32"\n');
    expect(text).toContain('\ndisplayName = "web"\n');
    expect(loadInventory(folder).inventory.vms).toMatchObject([
      { name: 'web', memoryMib: 32, monitor: 'bt', vmi: false },
    ]);
    expect(() => createVm(folder, 'web', [])).toThrow(new UsageError(`${path}: is there already`));
    expect(() => createVm(folder, 'web2', [['displayName', 'web']])).toThrow(
      new UsageError(`${folder}/web2/web2.vmx:10: "web" is the name of ${path} already`),
    );
    expect(readdirSync(folder)).toEqual(['web']);
  });

  test.each(['.web', 'web.', ' web', 'a/b', '..', '', 'a,b'])('none is called %j', name => {
    expect(() => createVm(lab, name, [])).toThrow(/^vm create: the name of a VM must [^\n]+, not "/);
    expect(readdirSync(lab)).toEqual([]);
  });

  test('one that goes takes its logs and its folder along, but nothing else', () => {
    createVm(lab, 'web', []);
    put('web/vmware.log', 'x');
    put('web/vmware-3.log', 'x');
    expect(deleteVm(findFile(lab, 'web'))).toEqual([]);
    expect(readdirSync(lab)).toEqual([]);
    createVm(lab, 'db', []);
    put('db/vmware.log', 'x');
    put('db/disk.img', 'x');
    expect(deleteVm(findFile(lab, 'db'))).toEqual(['disk.img']);
    expect(readdirSync(join(lab, 'db'))).toEqual(['disk.img']);
    put('flat.vmx');
    put('vmware.log', 'x');
    expect(deleteVm(findFile(lab, 'flat'))).toEqual([]);
    expect(readdirSync(lab)).toEqual(['db', 'vmware.log']);
  });
});
