/**
 * What the keys do to VMs. Every action checks what the newest sample can tell, says why it cannot be done, asks before a
 * guest's state is lost, and otherwise leaves the judgement to the host: a refusal's reason is shown as it came.
 */
import type { Command, VmSample } from '../hypervisor/index.js';
import { openCpuMenu } from './cpu-resources.js';
import { printable } from './format.js';
import type { Asker } from './prompts.js';
import type { GuestProgram } from './session.js';
import type { MenuItem } from './state.js';

/** What an action may do with the console; the controller implements it. */
export interface Desk {
  say(text: string, alarm?: boolean): void;
  ask(question: string, yes: () => void): void;
  openMenu(title: string, columns: readonly string[], items: readonly MenuItem[]): void;
  /** Sends a command; false after a refusal, whose reason is on the screen then. */
  send(command: Command): Promise<boolean>;
}

/** Sends commands one after another while they succeed, then says `done`. */
async function inOrder(desk: Desk, commands: readonly Command[], done: string): Promise<void> {
  for (const command of commands) {
    if (!(await desk.send(command))) return;
  }
  desk.say(done);
}

/** Off: at once. On: the monitor reads `vmi.present` at power-on, so the change waits, and a restart is offered. */
export async function toggleVmi(desk: Desk, vm: VmSample): Promise<void> {
  const enabled = !vm.vmiConfigured;
  const word = enabled ? 'on' : 'off';
  const name = printable(vm.name);
  if (!(await desk.send({ kind: 'setVmi', vm: vm.name, enabled }))) return;
  if (vm.power !== 'on') {
    desk.say(`${name}: VMI: ${word}`);
  } else if (vm.vmiEnabled === enabled) {
    desk.say(`${name}: VMI stays ${word} at next power-on`);
  } else {
    desk.say(`${name}: VMI: ${word} at next power-on`);
    desk.ask(`${name}: VMI: ${word} at next power-on. Restart it now, losing its state? (y/n)`, () => {
      void inOrder(
        desk,
        [
          { kind: 'powerOff', vm: vm.name },
          { kind: 'powerOn', vm: vm.name },
        ],
        `${name} restarted with VMI ${word}`,
      );
    });
  }
}

/** What `p` offers in each power state. `loses`: the guest's state is gone afterwards, so ask. */
const POWER_ACTIONS = [
  {
    name: 'power on',
    kind: 'powerOn',
    states: ['off', 'crashed'],
    done: 'is on',
    loses: false,
    help: 'boot the guest',
  },
  { name: 'power off', kind: 'powerOff', states: ['on'], done: 'is off', loses: true, help: 'pull the plug' },
  {
    name: 'resume',
    kind: 'resume',
    states: ['suspended'],
    done: 'goes on',
    loses: false,
    help: 'let the guest go on where it was',
  },
  {
    name: 'discard',
    kind: 'powerOff',
    states: ['suspended'],
    done: 'is off',
    loses: true,
    help: 'switch it off, and forget where the guest was',
  },
  {
    name: 'reset',
    kind: 'reset',
    states: ['on'],
    done: 'was reset',
    loses: true,
    help: 'off and on again; a changed VMI setting takes effect',
  },
  {
    name: 'suspend',
    kind: 'suspend',
    states: ['on'],
    done: 'is suspended',
    loses: false,
    help: 'put the guest away as it is, to go on later',
  },
] as const;

/** `k`: what esxtop kills is a world; of a VM's worlds none lives without the others. */
export function killVm(desk: Desk, vm: VmSample): void {
  const name = printable(vm.name);
  if (vm.power !== 'on') {
    desk.say(`${name} is ${vm.power}: there is nothing to kill`);
    return;
  }
  desk.ask(`kill ${name}: its power goes off and its guest’s state is lost. Sure? (y/n)`, () => {
    void inOrder(desk, [{ kind: 'powerOff', vm: vm.name }], `${name} is off`);
  });
}

/** A whole number as typed, or the reason why it cannot be used. */
export function parseCount(text: string, most: number): { ok: true; count: number } | { ok: false; reason: string } {
  const typed = text.trim();
  if (!/^\d+$/.test(typed)) return { ok: false, reason: `not a whole number: ${printable(text)}` };
  if (Number(typed) > most) return { ok: false, reason: `can be 0 to ${most}: ${typed}` };
  return { ok: true, count: Number(typed) };
}

/** What `p` offers besides power: the other monitor. */
const MONITORS = {
  bt: { other: 'hv', name: 'hardware assist', help: 'run the guest by VT-x, not by binary translation' },
  hv: { other: 'bt', name: 'binary translation', help: 'run the guest by binary translation, not by VT-x' },
} as const;

/** Chooses the other monitor, in force at the next power-on. */
async function changeMonitor(desk: Desk, vm: VmSample, { other, name }: (typeof MONITORS)['bt' | 'hv']): Promise<void> {
  if (!(await desk.send({ kind: 'setMonitor', vm: vm.name, monitor: other }))) return;
  const when = vm.power === 'on' ? ' at next power-on' : '';
  const unless = vm.vmiConfigured ? ', once VMI is off' : '';
  desk.say(`${printable(vm.name)}: ${name}${when}${unless}`);
}

export function openPowerMenu(desk: Desk & Asker, vm: VmSample): void {
  const name = printable(vm.name);
  const monitor = vm.monitor === 'native' || vm.monitor === 'unknown' ? undefined : MONITORS[vm.monitor];
  const items = POWER_ACTIONS.filter(action => (action.states as readonly string[]).includes(vm.power)).map(
    (action): MenuItem => ({
      cells: [action.name, action.help],
      choose: () => {
        const go = () => void inOrder(desk, [{ kind: action.kind, vm: vm.name }], `${name} ${action.done}`);
        if (action.loses) desk.ask(`${action.name} ${name}: its guest’s state is lost. Sure? (y/n)`, go);
        else go();
      },
    }),
  );
  if (monitor && vm.power !== 'suspended') {
    items.push({ cells: [monitor.name, monitor.help], choose: () => void changeMonitor(desk, vm, monitor) });
  }
  items.push({
    cells: ['CPU resources', 'change shares, reservation and limit'],
    choose: () => openCpuMenu(desk, vm),
  });
  desk.openMenu(`Power of ${name} (${vm.power})`, ['action', 'meaning'], items);
}

/** Why a program cannot be typed at the guest's shell now; undefined when it can. */
export function runRefusal(vm: VmSample): string | undefined {
  const name = printable(vm.name);
  if (vm.power !== 'on')
    return `${name} is ${vm.power}: ${vm.power === 'suspended' ? 'resume it' : 'power it on'} first (p)`;
  if (vm.guestState === 'booting') return `${name} is still booting: no shell yet`;
  if (vm.guestState !== 'idle')
    return `${name} is running ${printable(vm.guestState)}: wait for its end, or attach (A)`;
  return undefined;
}

export function openRunMenu(desk: Desk, vm: VmSample, programs: readonly GuestProgram[]): void {
  const refusal = runRefusal(vm);
  if (refusal !== undefined) {
    desk.say(refusal, true);
    return;
  }
  const items = programs.map(
    (program): MenuItem => ({
      cells: [program.name, program.help],
      choose: () =>
        void inOrder(
          desk,
          [{ kind: 'type', vm: vm.name, text: `${program.name}\n` }],
          `${program.name} typed at the shell of ${printable(vm.name)}`,
        ),
    }),
  );
  if (items.length === 0) desk.say('no programs are known for this guest', true);
  else desk.openMenu(`Run a program in ${printable(vm.name)}`, ['program', 'what it does'], items);
}

/** A delay as typed, in ms; or the reason why it cannot be used. */
export function parseDelay(text: string): { ok: true; ms: number } | { ok: false; reason: string } {
  const seconds = Number(text.trim().replace(',', '.'));
  if (text.trim() === '' || !Number.isFinite(seconds)) return { ok: false, reason: `not a number: ${printable(text)}` };
  if (seconds < DELAY_MIN_S || seconds > DELAY_MAX_S) {
    return { ok: false, reason: `the delay can be ${DELAY_MIN_S} to ${DELAY_MAX_S} seconds` };
  }
  return { ok: true, ms: Math.round(seconds * 1000) };
}
export const DELAY_MIN_S = 0.1;
export const DELAY_MAX_S = 3600;
