/** A session without a host: takes commands as a host would, advances by hand or by a timer, and remembers what it was asked. */
import type {
  CodeAnswer,
  Command,
  CommandResult,
  HostEvent,
  Sample,
  ScreenAnswer,
  VmSample,
} from '../../src/hypervisor/index.js';
import type { Session } from '../../src/tui/session.js';
import { inventory, withDevices } from './fixtures.js';

export class FakeSession implements Session {
  readonly commands: Command[] = [];
  refreshes = 0;
  readonly asked: { readonly vm: string; readonly linear: number }[] = [];
  /** What `disassemble` answers about a place. */
  code: (linear: number) => CodeAnswer = linear => ({ ok: false, reason: `nothing at ${linear.toString(16)}` });
  /** What `screen` answers about a VM. */
  textScreen: (vm: string) => ScreenAnswer = vm => ({ ok: false, reason: `${vm} is off` });
  closed = false;
  failed: string | undefined;
  /** When set, the next command is refused with it. */
  refuse: string | undefined;
  #second = 2;
  #devices = false;
  #only: string | undefined;
  #changes = new Map<string, Partial<VmSample>>();
  #latest: Sample = inventory(2);
  #previous: Sample = inventory(1);
  #events: readonly HostEvent[] = [];
  readonly #console = new Map<string, string>([
    ['web-vmi', 'Vmilinux version 2.6.21-vmitop\r\nVMI: Found VMware ROM\r\n# '],
  ]);
  readonly #listeners = new Set<() => void>();

  latest = (): Sample => this.#latest;
  previous = (): Sample => this.#previous;
  events = (): readonly HostEvent[] => this.#events;
  consoleText = (vm: string): string => this.#console.get(vm) ?? '';
  speed = (): number => 0.83;
  failure = (): string | undefined => this.failed;

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** One second of virtual time. */
  tick(): void {
    this.#second += 1;
    this.#previous = this.#latest;
    this.#latest = this.#now();
    this.tell();
  }

  #now(): Sample {
    const now = this.#devices ? withDevices(inventory(this.#second)) : inventory(this.#second);
    const vms = now.vms.filter(({ name }) => this.#only === undefined || name === this.#only);
    return { ...now, vms: vms.map(vm => ({ ...vm, ...this.#changes.get(vm.name) })) };
  }

  /** A host with VMs that have disks and network cards. */
  plugDevices(): void {
    this.#devices = true;
    this.#previous = withDevices(this.#previous);
    this.#latest = withDevices(this.#latest);
    this.tell();
  }

  /** A host with one VM. */
  only(name: string): void {
    this.#only = name;
    this.change(name, {});
  }

  tell(): void {
    for (const listener of this.#listeners) listener();
  }

  event(event: HostEvent): void {
    this.#events = [...this.#events, event];
    this.tell();
  }

  print(vm: string, text: string): void {
    this.#console.set(vm, this.consoleText(vm) + text);
    this.tell();
  }

  change(name: string, change: Partial<VmSample>): void {
    this.#changes.set(name, { ...this.#changes.get(name), ...change });
    this.#latest = this.#now();
    this.tell();
  }

  #vm(name: string): VmSample | undefined {
    return this.#latest.vms.find(vm => vm.name === name);
  }

  async execute(command: Command): Promise<CommandResult> {
    this.commands.push(command);
    if (this.refuse !== undefined) return { ok: false, reason: this.refuse };
    if ('vm' in command) {
      const vm = this.#vm(command.vm);
      if (!vm) return { ok: false, reason: `no VM is named ${command.vm}` };
      switch (command.kind) {
        case 'powerOn':
          if (vm.power === 'on') return { ok: false, reason: `${vm.name} is on already` };
          this.change(vm.name, { power: 'on', guestState: 'booting', vmiEnabled: vm.vmiConfigured, mode: 'bt' });
          break;
        case 'powerOff':
          this.change(vm.name, { power: 'off', guestState: 'off' });
          break;
        case 'reset':
          this.change(vm.name, { guestState: 'booting' });
          break;
        case 'setVmi':
          this.change(vm.name, { vmiConfigured: command.enabled });
          break;
        case 'setCpu': {
          const { shares = vm.cpu.shares, reservationMhz = vm.cpu.minMhz, limitMhz } = command;
          const maxMhz = limitMhz === undefined ? vm.cpu.maxMhz : (limitMhz ?? undefined);
          this.change(vm.name, { cpu: { shares, minMhz: reservationMhz, maxMhz } });
          break;
        }
        case 'setMonitor':
          this.change(vm.name, { monitor: command.monitor });
          break;
        case 'type':
          this.print(vm.name, command.text.replace(/[\r\n]/g, '\r\n'));
          break;
      }
    }
    return { ok: true };
  }

  async disassemble(vm: string, linear: number): Promise<CodeAnswer> {
    this.asked.push({ vm, linear });
    return this.code(linear);
  }

  async screen(vm: string): Promise<ScreenAnswer> {
    return this.textScreen(vm);
  }

  refresh(): void {
    this.refreshes += 1;
    this.tell();
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
