/**
 * vmware.log: what happened to a VM, in its folder, a new file at each power-on, those before it as vmware-N.log. Times are those of the
 * host's clock, which is virtual: the same session writes the same log. A VM without a folder of its own has no log.
 */
import { appendFileSync, existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  COST_PROFILES,
  EPOCH_SECONDS,
  type HostConfig,
  type HostEvent,
  POWER_ON_REASONS,
} from '../../hypervisor/index.js';
import { printable } from '../../tui/format.js';
import { fileReason } from '../files.js';
import type { Streams } from '../streams.js';
import type { InventoryFolder, VmFile } from './folder.js';
import type { VmSettings } from './keys.js';

const NAME = 'vmware.log';
const OLD = /^vmware-(\d+)\.log$/;
/** Logs of power-ons before, as many as ESX keeps (`log.keepOld`). */
const OLD_MAX = 6;

type Technique = keyof typeof POWER_ON_REASONS;
type ModeWord = 'BT' | 'HV' | 'HWMMU';

/** No processor of the cost profiles is used with nested paging. */
const ALLOWED: readonly ModeWord[] = ['BT', 'HV'];
/** Of 32-bit Linux guests. */
const PREFERRED: readonly ModeWord[] = ['BT', 'HWMMU', 'HV'];
const ANY: readonly ModeWord[] = ['BT', 'HV', 'HWMMU'];

interface Log {
  readonly file: VmFile;
  /** When the VM went off last, cycles: a power-on in the same instant is a reset, which goes on with the log. */
  offAtCycles: number | undefined;
  lines: string[];
}

/** Logs of a host whose VMs are those of a folder, or some of them. */
export const logsOf = (folder: InventoryFolder | undefined, config: HostConfig): VmLogs | undefined =>
  folder && new VmLogs(folder, COST_PROFILES[config.costs]!.cyclesPerSecond);

/** After the session: what could not be logged has not kept it from going on. */
export function tellTroubles(logs: VmLogs | undefined, { stderr }: Streams): void {
  for (const trouble of logs?.troubles ?? []) stderr.write(`vmitop: ${trouble}\n`);
}

export class VmLogs {
  readonly #cyclesPerSecond: number;
  readonly #logs: ReadonlyMap<string, Log>;
  readonly #troubles = new Map<string, string>();

  constructor({ vms }: InventoryFolder, cyclesPerSecond: number) {
    this.#cyclesPerSecond = cyclesPerSecond;
    this.#logs = new Map(
      vms.filter(({ alone }) => alone).map(file => [file.name, { file, offAtCycles: undefined, lines: [] }]),
    );
  }

  /** One line for each log that could not be written, and is not any more. */
  get troubles(): readonly string[] {
    return [...this.#troubles.values()];
  }

  /** The next events of the host, in order. Never throws: a session does not end for want of a log. */
  take(events: readonly HostEvent[]): void {
    for (const event of events) {
      const log = this.#logs.get(event.vm);
      if (log !== undefined) this.#note(log, event);
    }
    for (const log of this.#logs.values()) this.#write(log);
  }

  #note(log: Log, event: HostEvent): void {
    const say = (line: string): void => {
      log.lines.push(`${this.#stamp(event.atCycles)}: vmx| ${printable(line)}\n`);
    };
    switch (event.kind) {
      case 'power':
        if (event.state === 'on') {
          if (log.offAtCycles !== event.atCycles) this.#begin(log);
          say(`Powered on: ${event.reason}`);
          for (const line of monitorLines(event.reason, log.file.settings)) say(line);
        } else if (event.state === 'off') {
          log.offAtCycles = event.atCycles;
          say(`Powered off: ${event.reason}`);
        } else if (event.state === 'suspended') {
          say(`Suspended: ${event.reason}`);
        }
        // A crash is among the messages already.
        break;
      case 'log':
        say(event.line);
        break;
      case 'audit':
        say(`audit: ${event.finding}`);
        break;
      // What the guest does is in its own messages; what it prints, on its console.
      case 'guest':
      case 'console':
        break;
    }
  }

  /** What waits belongs to the log before. */
  #begin(log: Log): void {
    this.#write(log);
    this.#attempt(log, folder => {
      if (existsSync(join(folder, NAME))) putAside(folder);
      writeFileSync(join(folder, NAME), '');
    });
  }

  #write(log: Log): void {
    if (log.lines.length === 0) return;
    const text = log.lines.join('');
    log.lines = [];
    this.#attempt(log, folder => appendFileSync(join(folder, NAME), text));
  }

  #attempt({ file }: Log, work: (folder: string) => void): void {
    if (this.#troubles.has(file.name)) return;
    const folder = dirname(file.path);
    try {
      work(folder);
    } catch (error) {
      this.#troubles.set(file.name, `${join(folder, NAME)}: ${fileReason(error)}`);
    }
  }

  /** `Apr 01 09:00:00.000`. */
  #stamp(atCycles: number): string {
    const date = new Date(EPOCH_SECONDS * 1000 + Math.floor((atCycles / this.#cyclesPerSecond) * 1000));
    const month = date.toLocaleString('en-US', { month: 'short', timeZone: 'UTC' });
    const iso = date.toISOString();
    return `${month} ${iso.slice(8, 10)} ${iso.slice(11, 23)}`;
  }
}

/** Makes the newest log the last of the old ones, of which the first go. */
function putAside(folder: string): void {
  const numbers = readdirSync(folder)
    .flatMap(name => OLD.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  renameSync(join(folder, NAME), join(folder, `vmware-${(numbers.at(-1) ?? 0) + 1}.log`));
  const surplus = numbers.length + 1 - OLD_MAX;
  for (const number of numbers.slice(0, Math.max(0, surplus))) rmSync(join(folder, `vmware-${number}.log`));
}

/** The modes that the monitor had to choose from, as hosted products of the time log them, and what it has chosen. */
function monitorLines(reason: string, settings: VmSettings): string[] {
  const technique = (Object.keys(POWER_ON_REASONS) as Technique[]).find(each => POWER_ON_REASONS[each] === reason);
  if (technique === undefined || technique === 'native') return [];
  const requested = requestedModes(technique, settings);
  const chosen = PREFERRED.filter(mode => ALLOWED.includes(mode) && requested.includes(mode));
  return [
    `MONITOR MODE: allowed modes          : ${ALLOWED.join(' ')}`,
    `MONITOR MODE: user requested modes   : ${requested.join(' ')}`,
    `MONITOR MODE: guestOS preferred modes: ${PREFERRED.join(' ')}`,
    `MONITOR MODE: filtered list          : ${chosen.join(' ')}`,
    `HV Settings: virtual exec = '${technique === 'hv' ? 'hardware' : 'software'}'; virtual mmu = 'software'`,
  ];
}

/** VMI is no mode word: such a VM is one under binary translation. What the file said may have been changed since, what runs has not. */
function requestedModes(technique: Exclude<Technique, 'native'>, settings: VmSettings): readonly ModeWord[] {
  if (technique === 'vmi') return ['BT'];
  const any = technique === 'bt' && settings.virtualExec === 'automatic';
  const words: readonly ModeWord[] = technique === 'hv' ? ['HV', 'HWMMU'] : ['BT'];
  return (any ? ANY : words).filter(word => word !== 'HWMMU' || settings.virtualMmu !== 'software');
}
