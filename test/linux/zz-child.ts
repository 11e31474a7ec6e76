/**
 * One boot in a process of its own: `node --import tsx boot-child.ts MODE CPU KERNEL INITRD [replay]`, the result as JSON on stdout. A test runner's
 * import machinery would make the simulator several times slower.
 */
import { readFileSync } from 'node:fs';
import {
  type CpuModel,
  createHost,
  formatRecording,
  type HostConfig,
  parseRecording,
  recordingOf,
  type VmConfig,
  verifyRecording,
} from '../../src/hypervisor/index.js';
import { openWorkshop } from '../../src/session/workshop.js';

export interface BootResult {
  readonly text: string;
  /** Of the audits, and lines of the VM's log. */
  readonly findings: readonly string[];
  readonly log: readonly string[];
  readonly power: string;
  readonly seconds: number;
  /** Cycles by cause in sum, and charged. */
  readonly causes: number;
  readonly charged: number;
  /** The recording of the boot, read back and replayed, shows the same; undefined where nobody asked. */
  readonly replays?: boolean;
}

const SECONDS_MAX = 60;
const AUDIT_QUANTA = 0;

function boot(
  monitor: VmConfig['monitor'],
  cpu: CpuModel,
  kernel: string,
  initrd: string,
  replay: boolean,
): BootResult {
  const images = { kernel: readFileSync(kernel), initrd: readFileSync(initrd) };
  const vm = { name: 'debian', memoryMib: 256, monitor, vmi: false, image: 'kernel', initrd: 'initrd', powerOn: true };
  const config: HostConfig = {
    name: 'linux',
    pcpus: 1,
    memoryMib: 1024,
    costs: 'xeon-5160',
    images,
    vms: [{ ...vm, cpu, append: 'console=ttyS0 selftest' }],
    sampleIntervalMs: 1000,
    auditEveryQuanta: AUDIT_QUANTA,
  };
  const host = createHost(config, openWorkshop());
  const [findings, log]: string[][] = [[], []];
  let text = '';
  while (host.anyPoweredOn && host.nowCycles < SECONDS_MAX * host.cyclesPerSecond) {
    host.advance(host.nowCycles + 10 * host.quantumCycles);
    for (const event of host.drainEvents()) {
      if (event.kind === 'console') text += event.text;
      else if (event.kind === 'audit') findings!.push(event.finding);
      else if (event.kind === 'log') log!.push(event.line);
    }
  }
  const [sample] = host.sample().vms;
  const replays = (): boolean => {
    const recording = parseRecording(formatRecording(recordingOf(host), images), 'recording');
    return verifyRecording(recording, images, { workshop: openWorkshop() }).identical;
  };
  return {
    text,
    findings: findings!,
    log: log!,
    power: sample!.power,
    seconds: host.nowCycles / host.cyclesPerSecond,
    causes: Object.values(sample!.causes).reduce((sum, cycles) => sum + cycles, 0),
    charged: sample!.chargedCycles,
    ...(replay && { replays: replays() }),
  };
}

const [mode, cpu, kernel, initrd, replay] = process.argv.slice(2) as [
  VmConfig['monitor'],
  CpuModel,
  string,
  string,
  string?,
];
process.stdout.write(JSON.stringify(boot(mode, cpu, kernel, initrd, replay === 'replay')), () => process.exit(0));
