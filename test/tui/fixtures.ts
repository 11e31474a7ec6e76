/** Samples made by hand: every figure on a frame can be worked out from here with pencil and paper. */
import {
  CAUSE_NAMES,
  type CauseCycles,
  COUNTER_NAMES,
  type Counters,
  type Sample,
  type VmDiskSample,
  type VmNicSample,
  type VmSample,
  type WorldSample,
} from '../../src/hypervisor/index.js';

/** 1000 cycles a second: a cycle is a millisecond, and 10 cycles of a 1000-cycle interval are one percent. */
export const HZ = 1000;

const zeros = <K extends string>(names: readonly K[], some: Partial<Record<K, number>>): Record<K, number> =>
  Object.fromEntries(names.map(name => [name, some[name] ?? 0])) as Record<K, number>;

export const causes = (some: Partial<CauseCycles>): CauseCycles => zeros(CAUSE_NAMES, some);
export const counters = (some: Partial<Counters>): Counters => zeros(COUNTER_NAMES, some);

export function world(id: number, name: string, some: Partial<WorldSample> = {}): WorldSample {
  return {
    id,
    name,
    kind: name.startsWith('vmm') ? 'vmm' : name.startsWith('vcpu') ? 'vcpu' : 'vmx',
    state: 'wait',
    pcpu: undefined,
    usedCycles: 0,
    runCycles: 0,
    sysCycles: 0,
    waitCycles: 0,
    idleCycles: 0,
    readyCycles: 0,
    overlapCycles: 0,
    costopCycles: 0,
    maxLimitedCycles: 0,
    switches: 0,
    migrations: 0,
    quantumExpiries: 0,
    wakeups: 0,
    ...some,
  };
}

export function vm(gid: number, name: string, some: Partial<VmSample> = {}): VmSample {
  return {
    gid,
    name,
    power: 'on',
    crashReason: undefined,
    mode: 'bt',
    monitor: 'bt',
    vmiEnabled: false,
    vmiConfigured: false,
    vmiActive: false,
    guestState: 'idle',
    poweredOnAtCycles: 0,
    bootCycles: 250,
    worlds: ['vmm0', 'vcpu0', 'vmx'].map((kind, index) =>
      world(gid * 10 + index, `${kind}:${name}`, some.power === undefined ? {} : { state: 'off' }),
    ),
    counters: counters({}),
    causes: causes({}),
    chargedCycles: 0,
    memory: {
      sizeKb: 262_144,
      grantedKb: 20_480,
      targetKb: 262_144,
      touchedKb: 13_107,
      overheadKb: 6_144,
      overheadMaxKb: 32_768,
      shadowKb: 512,
      tcKb: 1_024,
    },
    timer: {
      source: 'pit',
      requestedHz: 250,
      delivered: 0,
      backlog: 0,
      lagCycles: 0,
      stolenCycles: 0,
      wakeups: 0,
    },
    cpu: { shares: 1000, minMhz: 0, maxMhz: undefined },
    disks: [],
    nics: [],
    interrupts: [],
    ...some,
  };
}

/** Lines with what `delivered` has counted on each. */
export const lines = (timer: number, keys: number, serial: number, ...more: string[]): VmSample['interrupts'] => [
  { irq: 0, vector: 0x20, devices: ['pit', ...more], delivered: timer },
  { irq: 1, vector: 0x21, devices: ['keyboard'], delivered: keys },
  { irq: 4, vector: 0x24, devices: ['com1'], delivered: serial },
];

/** In a second: 40 reads, 10 writes and 2 flushes, each of which waited for 1 ms and was served for 2 ms. */
export const disk = (name: string, some: Partial<VmDiskSample> = {}): VmDiskSample => ({
  name,
  image: `${name}.img`,
  sizeKb: 4_194_304,
  reads: 40,
  writes: 10,
  flushes: 2,
  readBytes: 4 * 1_048_576,
  writeBytes: 1_048_576,
  errors: 0,
  outstanding: 3,
  queueCycles: 52,
  deviceCycles: 104,
  readCycles: 120,
  writeCycles: 30,
  ...some,
});

export const nic = (port: number, some: Partial<VmNicSample> = {}): VmNicSample => ({
  name: 'ethernet0',
  mac: '00:0c:29:00:00:01',
  port,
  sentPackets: 99,
  sentBytes: 125_000,
  sentDropped: 1,
  receivedPackets: 50,
  receivedBytes: 250_000,
  receivedDropped: 0,
  ...some,
});

export function sample(atCycles: number, vms: readonly VmSample[], some: Partial<Sample> = {}): Sample {
  return {
    sequence: atCycles / HZ,
    atCycles,
    cyclesPerSecond: HZ,
    host: {
      name: 'esx01',
      cpuModel: 'Xeon 5160',
      loadAverages: [0.21, 0.17, 0.2],
      worldCount: vms.length * 3,
      memory: {
        totalKb: 5_242_880,
        kernelKb: 262_144,
        otherKb: 102_400,
        freeKb: 4_878_336,
        minFreeKb: 314_573,
        reservedKb: 204_800,
        state: 'high',
      },
    },
    pcpus: [
      { id: 0, usedCycles: atCycles / 2, idleCycles: atCycles / 2, world: 'vmm0', switches: 0 },
      { id: 1, usedCycles: 0, idleCycles: atCycles, world: undefined, switches: 0 },
    ],
    vms,
    ...some,
  };
}

const running = (used: number, ready: number, at: number): Partial<WorldSample> => ({
  state: 'run',
  pcpu: 2,
  usedCycles: used,
  runCycles: used,
  sysCycles: used / 10,
  readyCycles: ready,
  waitCycles: at - used - ready,
  idleCycles: at - used - ready,
});

/** Everything that rises in a device, `n` times. */
function times<T extends VmDiskSample | VmNicSample>(device: T, n: number): T {
  const fixed = new Set(['sizeKb', 'outstanding', 'port']);
  return Object.fromEntries(
    Object.entries(device).map(([name, value]) => [
      name,
      typeof value === 'number' && !fixed.has(name) ? value * n : value,
    ]),
  ) as T;
}

/** Two VMs of the inventory with virtual disks and network cards; each second is like the one before. */
export function withDevices(now: Sample): Sample {
  const n = now.atCycles / HZ;
  const devices: Readonly<Record<string, Partial<VmSample>>> = {
    'web-vmi': {
      disks: [times(disk('scsi0:0', { reads: 20, writes: 30 }), n)],
      nics: [times(nic(1, { receivedDropped: 50 }), n)],
    },
    'db-bt': {
      disks: [
        times(disk('scsi0:0', { writeBytes: 0 }), n),
        times(disk('scsi0:1', { reads: 0, readCycles: 0, outstanding: 0 }), n),
      ],
      nics: [times(nic(2, { sentPackets: 7, sentBytes: 1_000, receivedPackets: 70, receivedBytes: 900_000 }), n)],
    },
  };
  return { ...now, vms: now.vms.map(one => ({ ...one, ...devices[one.name] })) };
}

/** Five VMs, one of each kind that the screens tell apart, at second `n` since the host's start. */
export function inventory(n: number): Sample {
  const at = n * HZ;
  const worlds = (gid: number, name: string, some: Partial<WorldSample>) => [
    world(gid * 10, `vmm0:${name}`, some),
    world(gid * 10 + 1, `vcpu0:${name}`, { waitCycles: at, idleCycles: at }),
    world(gid * 10 + 2, `vmx:${name}`, { waitCycles: at }),
  ];
  return sample(at, [
    vm(16, 'web-vmi', {
      mode: 'vmi',
      vmiEnabled: true,
      vmiConfigured: true,
      vmiActive: true,
      interrupts: lines(n * 30, 0, 4, 'vmi-alarm'),
      worlds: worlds(16, 'web-vmi', running(n * 20, 0, at)),
      timer: {
        source: 'vmi-alarm',
        requestedHz: 100,
        delivered: n * 30,
        backlog: 0,
        lagCycles: 0,
        stolenCycles: 0,
        wakeups: n * 30,
      },
    }),
    vm(17, 'db-bt', {
      guestState: 'getppid',
      worlds: worlds(17, 'db-bt', running(n * 600, n * 150, at)),
      counters: counters({ exits: n * 12_300 }),
      causes: causes({ guestUser: n * 200, guestKernel: n * 250, syscall: n * 100, callout: n * 50 }),
      chargedCycles: n * 600,
      interrupts: lines(n * 240, 0, n * 10),
      timer: {
        source: 'pit',
        requestedHz: 250,
        delivered: n * 240,
        backlog: 3,
        lagCycles: 12,
        stolenCycles: n * 150,
        wakeups: 0,
      },
    }),
    vm(18, 'boot-bt', {
      guestState: 'booting',
      bootCycles: undefined,
      vmiConfigured: true,
      worlds: worlds(18, 'boot-bt', running(n * 300, n * 20, at)),
    }),
    vm(19, 'spare', { power: 'off', guestState: 'off', vmiConfigured: true, timer: OFF_TIMER }),
    vm(20, 'broken', {
      power: 'crashed',
      guestState: 'crashed',
      crashReason: 'triple fault at 0xc0100123',
      timer: OFF_TIMER,
    }),
  ]);
}

const OFF_TIMER = {
  source: 'none',
  requestedHz: 0,
  delivered: 0,
  backlog: 0,
  lagCycles: 0,
  stolenCycles: 0,
  wakeups: 0,
} as const;
