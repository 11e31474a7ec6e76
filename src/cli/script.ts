/**
 * Scripted sessions: what a person at the console would do, as lines. Each line waits for its condition, then sends its
 * command; the lines are worked through in order. Time is virtual, so a script does the same on every computer.
 *
 *     at 1500 vmi web01 off              at an instant, in ms since the host started
 *     when web02 idle run web02 segv     as soon as the guest is in a state: idle, booting, off, crashed, or a program's name
 *     when web02 idle                    waits and does nothing
 *     at 9000 end                        ends the session (so does the end of the file)
 *
 * A `when` after `run`, `power-on` or `reset` first waits for the guest to react at all: the state before does not count.
 */
import { type Command, type Host, type HostEvent, UsageError } from '../hypervisor/index.js';
import { Runner } from '../session/runner.js';

export type Condition =
  | { readonly kind: 'at'; readonly ms: number }
  | { readonly kind: 'when'; readonly vm: string; readonly state: string };

export interface ScriptStep {
  readonly line: number;
  readonly condition: Condition;
  readonly action: Command | 'end' | undefined;
  /** The guest's state will change because of it. */
  readonly stirs: boolean;
}

interface Verb {
  readonly words: string;
  readonly stirs?: true;
  /** Undefined when the arguments do not fit. */
  parse(rest: string): Command | undefined;
}

const vmOnly =
  (kind: 'powerOn' | 'powerOff' | 'reset' | 'suspend' | 'resume') =>
  (rest: string): Command | undefined =>
    /^\S+$/.test(rest) ? { kind, vm: rest } : undefined;

/** Figures of a VM's CPU resources, each at most once and one at least. */
function parseCpu(rest: string): Command | undefined {
  const [vm, ...settings] = rest.split(/\s+/);
  const command: { kind: 'setCpu'; vm: string; shares?: number; reservationMhz?: number; limitMhz?: number | null } = {
    kind: 'setCpu',
    vm: vm!,
  };
  for (const setting of settings) {
    const [, name, value] = /^(shares|reservation|limit)=(\d{1,9}|none)$/.exec(setting) ?? [];
    if (name === undefined || (value === 'none' && name !== 'limit')) return undefined;
    if (name === 'shares') command.shares = Number(value);
    else if (name === 'reservation') command.reservationMhz = Number(value);
    else command.limitMhz = value === 'none' ? null : Number(value);
  }
  return settings.length === 0 ? undefined : command;
}

const VERBS: Readonly<Record<string, Verb>> = {
  'power-on': { words: 'power-on VM', stirs: true, parse: vmOnly('powerOn') },
  'power-off': { words: 'power-off VM', parse: vmOnly('powerOff') },
  reset: { words: 'reset VM', stirs: true, parse: vmOnly('reset') },
  suspend: { words: 'suspend VM', parse: vmOnly('suspend') },
  resume: { words: 'resume VM', parse: vmOnly('resume') },
  vmi: {
    words: 'vmi VM on|off',
    parse: rest => {
      const match = /^(\S+)\s+(on|off)$/.exec(rest);
      return match ? { kind: 'setVmi', vm: match[1]!, enabled: match[2] === 'on' } : undefined;
    },
  },
  monitor: {
    words: 'monitor VM bt|hv',
    parse: rest => {
      const match = /^(\S+)\s+(bt|hv)$/.exec(rest);
      return match ? { kind: 'setMonitor', vm: match[1]!, monitor: match[2] as 'bt' | 'hv' } : undefined;
    },
  },
  cpu: { words: 'cpu VM [shares=N] [reservation=MHZ] [limit=MHZ|none]', parse: parseCpu },
  run: {
    words: 'run VM PROGRAM...',
    stirs: true,
    parse: rest => {
      const match = /^(\S+)\s+(\S.*)$/.exec(rest);
      return match ? { kind: 'type', vm: match[1]!, text: `${match[2]!}\n` } : undefined;
    },
  },
  type: {
    words: 'type VM "TEXT" (a JSON string)',
    parse: rest => {
      const match = /^(\S+)\s+(".*")$/.exec(rest);
      if (!match) return undefined;
      try {
        return { kind: 'type', vm: match[1]!, text: JSON.parse(match[2]!) as string };
      } catch {
        return undefined;
      }
    },
  },
  interval: {
    words: 'interval MS',
    parse: rest => (/^[1-9]\d*$/.test(rest) ? { kind: 'setSampleInterval', ms: Number(rest) } : undefined),
  },
};

/** What a line may say after its condition, for help texts. */
export const SCRIPT_VERBS: readonly string[] = [...Object.values(VERBS).map(verb => verb.words), 'end'];

/** Throws `UsageError` with one line that names `source`, the line's number and the reason. */
export function parseScript(text: string, source: string): ScriptStep[] {
  const steps: ScriptStep[] = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const content = raw.trim();
    if (content === '' || content.startsWith('#')) continue;
    steps.push(parseLine(content, index + 1, reason => new UsageError(`script ${source}:${index + 1}: ${reason}`)));
  }
  if (steps.length === 0) throw new UsageError(`script ${source}: holds no line`);
  return steps;
}

function parseLine(content: string, line: number, complaint: (reason: string) => UsageError): ScriptStep {
  const at = /^at\s+(\d+)(?:\s+(.*))?$/.exec(content);
  const when = /^when\s+(\S+)\s+(\S+)(?:\s+(.*))?$/.exec(content);
  if (!at && !when) throw complaint('must begin with "at MS" or "when VM STATE"');
  const condition: Condition = at
    ? { kind: 'at', ms: Number(at[1]) }
    : { kind: 'when', vm: when![1]!, state: when![2]! };
  const rest = ((at ? at[2] : when![3]) ?? '').trim();
  if (rest === '') return { line, condition, action: undefined, stirs: false };
  if (rest === 'end') return { line, condition, action: 'end', stirs: false };
  const name = rest.split(/\s+/, 1)[0]!;
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (!verb) throw complaint(`unknown command "${name}", must be one of ${[...Object.keys(VERBS), 'end'].join(', ')}`);
  const action = verb.parse(rest.slice(name.length).trim());
  if (!action) throw complaint(`must be: ${verb.words}`);
  return { line, condition, action, stirs: verb.stirs === true };
}

/** Virtual time that one `when` may wait, seconds. */
const PATIENCE_SECONDS = 300;

export type ScriptEnd =
  | { readonly kind: 'done' }
  | { readonly kind: 'interrupted' }
  /** A condition cannot come true any more; one line says which and why. */
  | { readonly kind: 'stuck'; readonly reason: string };

export interface ScriptRun {
  /** For messages. */
  readonly source: string;
  /** Ends the script between two quanta. */
  readonly signal?: AbortSignal;
  /** After every quantum, before the script's own commands. */
  onEvents?(events: readonly HostEvent[]): void;
  /** After every slice and at the end: often enough to write samples out and to show progress. */
  onSlice?(stepsDone: number, virtualMs: number): void;
}

/**
 * Works a script through on a host, as fast as the computer can. Throws `UsageError` when the host refuses a command, naming
 * the line.
 */
export async function runScript(host: Host, steps: readonly ScriptStep[], run: ScriptRun): Promise<ScriptEnd> {
  const { source } = run;
  const states = new Map(host.sample().vms.map(vm => [vm.name, vm.guestState]));
  const stirred = new Set<string>();
  for (const { condition, line } of steps) {
    if (condition.kind === 'when' && !states.has(condition.vm)) {
      throw new UsageError(`script ${source}:${line}: no VM is called "${condition.vm}"`);
    }
  }
  let next = 0;
  let waitingSince = host.nowCycles;
  let end: ScriptEnd | undefined;
  const seconds = (cycles: number): number => cycles / host.cyclesPerSecond;

  const note = (events: readonly HostEvent[]): void => {
    run.onEvents?.(events);
    for (const event of events) {
      if (event.kind === 'guest') states.set(event.vm, event.state);
      else if (event.kind === 'power') states.set(event.vm, event.state === 'on' ? 'booting' : event.state);
      else continue;
      stirred.delete(event.vm);
    }
  };
  const holds = (condition: Condition): boolean =>
    condition.kind === 'at'
      ? seconds(host.nowCycles) * 1000 >= condition.ms
      : states.get(condition.vm) === condition.state && !stirred.has(condition.vm);

  const work = (): void => {
    while (end === undefined) {
      const step = steps[next];
      if (!step) {
        end = { kind: 'done' };
        return;
      }
      const { condition } = step;
      if (!holds(condition)) {
        if (condition.kind === 'at') return;
        const where = `script ${source}:${step.line}: ${condition.vm}`;
        if (states.get(condition.vm) === 'crashed') end = { kind: 'stuck', reason: `${where} has crashed` };
        else if (seconds(host.nowCycles - waitingSince) > PATIENCE_SECONDS) {
          const found = states.get(condition.vm) ?? 'gone';
          end = {
            kind: 'stuck',
            reason: `${where} is not ${condition.state} after ${PATIENCE_SECONDS} s, but ${found}`,
          };
        }
        return;
      }
      next += 1;
      waitingSince = host.nowCycles;
      if (step.action === 'end') end = { kind: 'done' };
      else if (step.action) {
        const result = host.execute(step.action);
        if (!result.ok) throw new UsageError(`script ${source}:${step.line}: ${result.reason}`);
        note(host.drainEvents());
        if (step.stirs && 'vm' in step.action) stirred.add(step.action.vm);
      }
    }
  };

  note(host.drainEvents());
  work();
  if (end === undefined) {
    const runner = new Runner(host, 'max', {
      onQuantum: events => {
        note(events);
        work();
        if (run.signal?.aborted) end ??= { kind: 'interrupted' };
        return end === undefined ? 'go' : 'stop';
      },
      onSlice: () => run.onSlice?.(next, seconds(host.nowCycles) * 1000),
    });
    await runner.run();
  }
  run.onSlice?.(next, seconds(host.nowCycles) * 1000);
  return end ?? { kind: 'done' };
}
