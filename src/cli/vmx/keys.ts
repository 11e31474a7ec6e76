/**
 * The keys of .vmx files that vmitop knows, declared once: what a value may be, what it means, what holds without it. Checks, the help of
 * `vmitop vm` and the tables of docs/inventory.md come from here. Names and values are those of ESX 3.5; what ESX has no key for has the
 * prefix `vmitop.`.
 */
import { CPU_MODELS, DEFAULT_CPU } from '../../hypervisor/index.js';
import { OWN_GUEST } from '../files.js';

/** A value as it is used, or why it cannot be. */
export type Reading<T> = { readonly value: T } | { readonly reason: string };

export interface VmxKey<T = unknown> {
  readonly key: string;
  /** What may be written, in a few words. */
  readonly values: string;
  readonly help: string;
  /** What a file without the key means, as it would be written; undefined where that depends. */
  readonly otherwise: string | undefined;
  read(text: string): Reading<T>;
}

/** How values of one kind are read. */
type Kind<T> = Pick<VmxKey<T>, 'values' | 'read'>;

const MEMORY_MB = { min: 8, max: 1024, step: 4 } as const;
/** `low`, `normal` and `high` of a VM with one virtual CPU. */
const CPU_SHARES = { low: 500, normal: 1000, high: 2000 } as const;
const CPU_SHARES_MAX = 100_000;
/** Console, CSV and scripts show and take names: no commas, quotes and backslashes, which their readers stumble over. */
const NAME = /^[\w.() -]{1,32}$/;

const FLAG: Kind<boolean> = {
  values: '`TRUE`, `FALSE`',
  read(text) {
    const word = text.toUpperCase();
    return word === 'TRUE' || word === 'FALSE' ? { value: word === 'TRUE' } : { reason: 'must be TRUE or FALSE' };
  },
};

const word = <const T extends string>(words: readonly T[]): Kind<T> => ({
  values: words.map(each => `\`${each}\``).join(', '),
  read(text) {
    const value = words.find(each => each === text.toLowerCase());
    return value === undefined ? { reason: `must be one of ${words.join(', ')}` } : { value };
  },
});

const EXECUTION = word(['automatic', 'software', 'hardware']);

const text = (values: string, lengthMax: number): Kind<string> => ({
  values,
  read: value => (value.length > lengthMax ? { reason: `is longer than ${lengthMax} characters` } : { value }),
});

const file = (values: string): Kind<string> => ({
  values,
  read: value => (value === '' ? { reason: 'must name a file' } : { value }),
});

const wholeNumber = (written: string): number => (/^\d{1,9}$/.test(written) ? Number(written) : Number.NaN);

const MEMORY: Kind<number> = {
  values: `MB: a multiple of ${MEMORY_MB.step} from ${MEMORY_MB.min} to ${MEMORY_MB.max}`,
  read(written) {
    const value = wholeNumber(written);
    const fits = value >= MEMORY_MB.min && value <= MEMORY_MB.max && value % MEMORY_MB.step === 0;
    return fits
      ? { value }
      : { reason: `must be a multiple of ${MEMORY_MB.step} from ${MEMORY_MB.min} to ${MEMORY_MB.max}` };
  },
};

const VCPUS: Kind<1> = {
  values: '`1`',
  read(written) {
    if (written === '1') return { value: 1 };
    return {
      reason: /^[24]$/.test(written) ? 'must be 1: VMs with several virtual CPUs are not built yet' : 'must be 1',
    };
  },
};

const SHARES: Kind<number> = {
  values: `\`low\` (${CPU_SHARES.low}), \`normal\` (${CPU_SHARES.normal}), \`high\` (${CPU_SHARES.high}), or 1 to ${CPU_SHARES_MAX}`,
  read(written) {
    const level = written.toLowerCase();
    if (level === 'low' || level === 'normal' || level === 'high') return { value: CPU_SHARES[level] };
    const value = wholeNumber(written);
    return value >= 1 && value <= CPU_SHARES_MAX
      ? { value }
      : { reason: `must be low, normal, high or a whole number from 1 to ${CPU_SHARES_MAX}` };
  },
};

const RESERVATION: Kind<number> = {
  values: 'MHz',
  read(written) {
    const value = wholeNumber(written);
    return Number.isNaN(value) ? { reason: 'must be a whole number of MHz' } : { value };
  },
};

const LIMIT: Kind<number | 'unlimited'> = {
  values: 'MHz, or `unlimited`',
  read(written) {
    if (/^(?:unlimited|-1)$/i.test(written)) return { value: 'unlimited' };
    const value = wholeNumber(written);
    return value >= 1 ? { value } : { reason: 'must be unlimited or a whole number of MHz from 1' };
  },
};

const DISPLAY_NAME: Kind<string> = {
  values: '1 to 32 letters, digits, blanks or `_ . - ( )`',
  read: value =>
    NAME.test(value) ? { value } : { reason: 'must be 1 to 32 letters, digits, blanks, or characters of _.-()' },
};

const meaning = <T>(key: string, kind: Kind<T>, otherwise: string | undefined, help: string): VmxKey<T> => ({
  key,
  ...kind,
  otherwise,
  help,
});

const diskPresent = (index: number): VmxKey<boolean> =>
  meaning(
    `scsi0:${index}.present`,
    FLAG,
    'FALSE',
    index === 0 ? 'there is a disk; the controller is virtio' : 'likewise',
  );
const diskFile = (index: number): VmxKey<string> =>
  meaning(
    `scsi0:${index}.fileName`,
    file('a file'),
    undefined,
    index === 0 ? 'its contents, sector by sector (a `-flat.vmdk` is such a file); never changed' : 'likewise',
  );
const nicPresent = (index: number): VmxKey<boolean> =>
  meaning(
    `ethernet${index}.present`,
    FLAG,
    'FALSE',
    index === 0 ? 'there is a network card on virtio, on the host’s one switch' : 'likewise',
  );

/** Keys with a meaning, by the field of `VmSettings` that they fill. */
export const VMX_KEYS = {
  name: meaning('displayName', DISPLAY_NAME, undefined, 'name of the VM (without it, that of the file)'),
  guestOs: meaning('guestOS', text('text', 64), 'other', 'what `vm list` shows; the guest is not asked'),
  annotation: meaning('annotation', text('text', 1024), '', 'what `vm list` shows'),
  memoryMib: meaning('memsize', MEMORY, '64', 'memory of the guest'),
  vcpus: meaning('numvcpus', VCPUS, '1', 'virtual CPUs'),
  vmi: meaning('vmi.present', FLAG, 'FALSE', 'offer the VMI ROM to the guest, which then runs on the BT monitor'),
  virtualExec: meaning(
    'monitor.virtual_exec',
    EXECUTION,
    'automatic',
    'binary translation (`software`) or hardware assist; `automatic` is `software`, as for 32-bit guests on ESX 3.5',
  ),
  virtualMmu: meaning(
    'monitor.virtual_mmu',
    EXECUTION,
    'automatic',
    'a wish: shadow page tables are all that this generation of processors allows',
  ),
  disk0: diskPresent(0),
  disk0File: diskFile(0),
  disk1: diskPresent(1),
  disk1File: diskFile(1),
  disk2: diskPresent(2),
  disk2File: diskFile(2),
  disk3: diskPresent(3),
  disk3File: diskFile(3),
  nic0: nicPresent(0),
  nic1: nicPresent(1),
  nic2: nicPresent(2),
  nic3: nicPresent(3),
  cpuShares: meaning('sched.cpu.shares', SHARES, 'normal', 'share of the processors when they are contended'),
  cpuReservationMhz: meaning(
    'sched.cpu.min',
    RESERVATION,
    '0',
    'reservation: what the VM gets of a processor, whatever the others claim',
  ),
  cpuLimitMhz: meaning(
    'sched.cpu.max',
    LIMIT,
    'unlimited',
    'limit: what it does not exceed although a processor is free',
  ),
  cpuUnits: meaning('sched.cpu.units', word(['mhz']), 'mhz', 'unit of the two'),
  image: meaning(
    'vmitop.image',
    file(`\`${OWN_GUEST}\` or a file`),
    OWN_GUEST,
    'kernel: a Linux bzImage, a multiboot ELF32 file, or the one that comes with vmitop; relative to the .vmx file',
  ),
  initrd: meaning('vmitop.initrd', file('a file'), undefined, 'initial RAM disk of a Linux kernel'),
  append: meaning('vmitop.append', text('text', 1024), '', 'kernel command line'),
  cpu: meaning(
    'vmitop.cpu',
    word(CPU_MODELS),
    DEFAULT_CPU,
    'what CPUID says; prices are those of the host’s processor',
  ),
  apic: meaning(
    'vmitop.apic',
    word(['automatic', 'true', 'false']),
    'automatic',
    'a local APIC and an I/O APIC; `automatic`: for Linux kernels',
  ),
  start: meaning('vmitop.start', text('text', 256), '', 'typed at the shell of the guest when it has booted'),
  powerOn: meaning('vmitop.powerOn', FLAG, 'TRUE', 'power the VM on when the host starts'),
  native: meaning('vmitop.native', FLAG, 'FALSE', 'no monitor: the guest has a machine of its own, for comparison'),
  countExecutions: meaning('vmitop.countExecutions', FLAG, 'FALSE', 'translated code counts how often it is executed'),
} as const;

type ValueOf<K> = K extends VmxKey<infer T> ? T : never;

/** What the keys of one file say; undefined: nothing, and there is no default either. */
export type VmSettings = {
  readonly [F in keyof typeof VMX_KEYS]: F extends 'name' | 'initrd' | `disk${number}File`
    ? string | undefined
    : ValueOf<(typeof VMX_KEYS)[F]>;
};

/** Keys of ours, with a meaning or not: a slip in one of them is worth a word. */
export const OWN_PREFIX = 'vmitop.';

const ONE_SWITCH = 'there is one virtual switch, and every card is on it';
const NO_RECLAIMING = 'the host has memory for all its VMs: nothing is reclaimed';

/** Keys that ESX knows and a host of ours keeps without following them, and why. */
export const IGNORED_KEYS: readonly { readonly key: string; readonly reason: string }[] = [
  { key: 'sched.cpu.affinity', reason: 'every VM may run on every processor' },
  { key: 'sched.mem.shares', reason: NO_RECLAIMING },
  { key: 'sched.mem.min', reason: NO_RECLAIMING },
  { key: 'sched.mem.minsize', reason: NO_RECLAIMING },
  { key: 'sched.mem.max', reason: NO_RECLAIMING },
  { key: 'sched.mem.maxmemctl', reason: NO_RECLAIMING },
  { key: 'sched.mem.pshare.enable', reason: 'pages are not shared' },
  { key: 'sched.swap.derivedName', reason: 'nothing is swapped' },
  { key: 'scsi0.present', reason: 'disks need no controller of their own' },
  { key: 'scsi0.virtualDev', reason: 'disks are on virtio' },
  { key: 'scsi0:0.deviceType', reason: 'disks are on virtio' },
  { key: 'ethernet0.virtualDev', reason: 'network cards are on virtio' },
  { key: 'ethernet0.networkName', reason: ONE_SWITCH },
  { key: 'ethernet0.addressType', reason: 'addresses are made from the place of the VM on its host' },
  { key: 'ethernet0.generatedAddress', reason: 'addresses are made from the place of the VM on its host' },
  { key: 'timeTracker.apparentTimeIgnoresInterrupts', reason: 'ticks that the guest missed are always caught up' },
  { key: 'timeTracker.periodicStats', reason: 'the timer screen shows the backlog' },
  { key: 'timeTracker.statsInterval', reason: 'the timer screen shows the backlog' },
  { key: 'tools.syncTime', reason: 'guests run no tools' },
  { key: 'uuid.bios', reason: 'no device shows it to the guest' },
  { key: 'uuid.location', reason: 'no device shows it to the guest' },
];

/** Keys about the file itself. */
export const FILE_KEYS: readonly { readonly key: string; readonly help: string }[] = [
  { key: '.encoding', help: 'encoding of the values; without it, UTF-8' },
  { key: 'config.version', help: 'version of the format: 8 on ESX 3.5; not looked at' },
  { key: 'virtualHW.version', help: 'version of the virtual hardware: 4 on ESX 3.5; what `vm list` shows' },
];

const BY_NAME: ReadonlyMap<string, VmxKey> = new Map(
  Object.values(VMX_KEYS).map((key): [string, VmxKey] => [key.key.toLowerCase(), key]),
);
const IGNORED_BY_NAME: ReadonlyMap<string, string> = new Map(
  IGNORED_KEYS.map(({ key, reason }) => [key.toLowerCase(), reason]),
);

const OF_FILE: ReadonlySet<string> = new Set(FILE_KEYS.map(({ key }) => key.toLowerCase()));

/** A key with a meaning, in whatever case it is written. */
export const knownKey = (name: string): VmxKey | undefined => BY_NAME.get(name.toLowerCase());

/** Why a key of a VM has no effect; undefined for one that has, and for one about the file. */
export function ignoredReason(name: string): string | undefined {
  if (knownKey(name) || OF_FILE.has(name.toLowerCase())) return undefined;
  return IGNORED_BY_NAME.get(name.toLowerCase()) ?? 'not known';
}
