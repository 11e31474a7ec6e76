/**
 * One run of a host in a process of its own, the result as JSON on stdout. A test runner's import machinery would make the simulator several
 * times slower.
 *
 *     node --import tsx boot-child.ts MODE CPU KERNEL INITRD [disk] [breaks] [replay]      one VM and the self-test, with a disk if asked
 *     node --import tsx boot-child.ts network KERNEL INITRD                       two VMs that talk to each other
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Prng } from '../../src/hypervisor/base/prng.js';
import {
  type CpuModel,
  createHost,
  formatRecording,
  type Host,
  type HostConfig,
  type PowerState,
  parseRecording,
  recordingOf,
  type VmConfig,
  type VmSample,
  verifyRecording,
} from '../../src/hypervisor/index.js';
import { openWorkshop } from '../../src/session/workshop.js';

export interface VmResult {
  readonly text: string;
  readonly sample: VmSample;
}

export interface RunResult {
  readonly vms: readonly VmResult[];
  /** Of the audits, and lines of the VMs' logs. */
  readonly findings: readonly string[];
  readonly log: readonly string[];
  readonly seconds: number;
  /** The recording of the run, read back and replayed, shows the same; undefined where nobody asked. */
  readonly replays?: boolean;
}

const SECONDS_MAX = 60;
const AUDIT_QUANTA = 1000;
/** Room for the test's files and a file system. */
const DISK_BYTES = 8 << 20;

/** Every VM that is on is suspended each so many quanta, for so long. */
const BREAK_EVERY_QUANTA = 300;
const BREAK_QUANTA = 20;

function takeBreak(host: Host): void {
  const each = (kind: 'suspend' | 'resume', power: PowerState) => {
    for (const vm of host.sample().vms.filter(one => one.power === power)) {
      const result = host.execute({ kind, vm: vm.name });
      if (!result.ok) throw new Error(result.reason);
    }
  };
  each('suspend', 'on');
  host.advance(host.nowCycles + BREAK_QUANTA * host.quantumCycles);
  each('resume', 'suspended');
}

function run(config: HostConfig, replay: boolean, breaks = false): RunResult {
  const host = createHost(config, openWorkshop());
  const [findings, log]: string[][] = [[], []];
  const texts = new Map(config.vms.map(({ name }) => [name, '']));
  while (host.anyPoweredOn && host.nowCycles < SECONDS_MAX * host.cyclesPerSecond) {
    host.advance(host.nowCycles + 10 * host.quantumCycles);
    if (breaks && Math.round(host.nowCycles / host.quantumCycles) % BREAK_EVERY_QUANTA === 0) takeBreak(host);
    for (const event of host.drainEvents()) {
      if (event.kind === 'console') texts.set(event.vm, texts.get(event.vm)! + event.text);
      else if (event.kind === 'audit') findings!.push(event.finding);
      else if (event.kind === 'log') log!.push(event.line);
    }
  }
  const replays = (): boolean => {
    const recording = parseRecording(formatRecording(recordingOf(host), config.images), 'recording');
    return verifyRecording(recording, config.images, { workshop: openWorkshop() }).identical;
  };
  return {
    vms: host.sample().vms.map(sample => ({ text: texts.get(sample.name)!, sample })),
    findings: findings!,
    log: log!,
    seconds: host.nowCycles / host.cyclesPerSecond,
    ...(replay && { replays: replays() }),
  };
}

const hostOf = (images: HostConfig['images'], pcpus: number, vms: readonly Partial<VmConfig>[]): HostConfig => ({
  name: 'linux',
  pcpus,
  memoryMib: 1024,
  costs: 'xeon-5160',
  images,
  vms: vms.map((some, index) => ({
    name: `debian${index + 1}`,
    memoryMib: 256,
    monitor: 'bt',
    vmi: false,
    image: 'kernel',
    initrd: 'initrd',
    powerOn: true,
    append: 'console=ttyS0',
    ...some,
  })),
  sampleIntervalMs: 1000,
  auditEveryQuanta: AUDIT_QUANTA,
});

function randomDisk(): { readonly disk: Uint8Array; readonly digest: string } {
  const prng = new Prng(1);
  const disk = Uint8Array.from({ length: DISK_BYTES }, () => prng.below(256));
  return { disk, digest: createHash('sha256').update(disk).digest('hex') };
}

function boot([mode, cpu, kernel, initrd, ...words]: readonly string[]): RunResult {
  const some = { monitor: mode as VmConfig['monitor'], cpu: cpu as CpuModel };
  const images = { kernel: readFileSync(kernel!), initrd: readFileSync(initrd!) };
  const plain = { ...some, append: 'console=ttyS0 selftest' };
  const breaks = words.includes('breaks');
  if (!words.includes('disk')) return run(hostOf(images, 1, [plain]), words.includes('replay'), breaks);
  const { disk, digest } = randomDisk();
  const withDisk = { ...some, disks: ['disk'], append: `console=ttyS0 selftest disk=${digest}` };
  return run(hostOf({ ...images, disk }, 1, [withDisk]), words.includes('replay'), breaks);
}

/**
 * On a processor each; natively, which is the fastest way to two kernels. The card is the fifth, and shares its interrupt line with the first disk;
 * one of the kernels has it from the 8259s, the other from the I/O APIC.
 */
function talk([kernel, initrd]: readonly string[]): RunResult {
  const { disk, digest } = randomDisk();
  const images = { kernel: readFileSync(kernel!), initrd: readFileSync(initrd!), disk };
  const vms = ['noapic nolapic', ''].map((words, index) => ({
    monitor: 'native' as const,
    memoryMib: 128,
    disks: ['disk', 'disk', 'disk', 'disk'],
    nics: 1,
    append: `console=ttyS0 network=${index + 1} disk=${digest} ${words}`,
  }));
  return run(hostOf(images, 2, vms), true);
}

const [first, ...others] = process.argv.slice(2);
const result = first === 'network' ? talk(others) : boot([first!, ...others]);
process.stdout.write(JSON.stringify(result), () => process.exit(0));
