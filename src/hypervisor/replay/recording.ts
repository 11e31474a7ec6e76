/**
 * A recording: the host's configuration, every command with the cycle at which it took effect, every sample, and what happened: events,
 * with what guests wrote on their consoles. Since a host is deterministic, the first two determine the rest; `verify.ts` checks that the samples
 * are still determined so. Events are for who looks at a recording, and may be missing.
 *
 * As text it is one JSON object a line, in the order in which things happened:
 *
 *     {"kind":"header","format":"vmitop-recording","version":1,"config":{...},"images":{...},"costs":{...},"hash":"..."}
 *     {"kind":"command","atCycles":N,"command":{...},"hash":"..."}
 *     {"kind":"sample","sample":{...},"hash":"..."}
 *     {"kind":"event","event":{"kind":"console","atCycles":N,"vm":"...","text":"..."},"hash":"..."}
 *     {"kind":"end","atCycles":N,"hash":"..."}
 *
 * `hash` runs over the lines from the first one on (each line without its own hash), so that a damaged or edited file is
 * found where the damage is, and not mistaken for a divergence of the replay.
 */
import { z } from 'zod';
import { UsageError } from '../base/assert.js';
import type { Host, HostConfig, HostEvent, LoggedCommand } from '../index.js';
import { overrideCosts } from '../machine/costs/define.js';
import { COST_PROFILES } from '../machine/costs/index.js';
import type { CostProfile } from '../machine/costs/profile.js';
import type { Sample } from '../stats/sample.js';
import { CPU_MODELS } from '../vm/cpuid.js';
import { bytesDigest, Digest } from '../vm/digest.js';
import { VmHost } from '../vm/host.js';

const FORMAT = 'vmitop-recording';
const VERSION = 1;

const vmConfigSchema = z.strictObject({
  name: z.string(),
  memoryMib: z.number(),
  monitor: z.enum(['bt', 'hv', 'native']),
  countExecutions: z.boolean().optional(),
  tcKib: z.number().optional(),
  vmi: z.boolean(),
  image: z.string(),
  rom: z.boolean().optional(),
  initrd: z.string().optional(),
  disks: z.array(z.string()).optional(),
  nics: z.number().optional(),
  append: z.string(),
  cpu: z.enum(CPU_MODELS).optional(),
  apic: z.boolean().optional(),
  cpuShares: z.number().optional(),
  cpuReservationMhz: z.number().optional(),
  cpuLimitMhz: z.number().optional(),
  powerOn: z.boolean().optional(),
  suspended: z.string().optional(),
});

const configSchema = z.strictObject({
  name: z.string(),
  pcpus: z.number(),
  memoryMib: z.number(),
  costs: z.string(),
  costOverrides: z.record(z.string(), z.number()).optional(),
  vms: z.array(vmConfigSchema),
  sampleIntervalMs: z.number(),
  auditEveryQuanta: z.number().optional(),
});

const vm = z.string();
const commandSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('addVm'), config: vmConfigSchema }),
  z.strictObject({ kind: z.literal('removeVm'), vm }),
  z.strictObject({ kind: z.literal('powerOn'), vm }),
  z.strictObject({ kind: z.literal('powerOff'), vm }),
  z.strictObject({ kind: z.literal('reset'), vm }),
  z.strictObject({ kind: z.literal('suspend'), vm }),
  z.strictObject({ kind: z.literal('resume'), vm }),
  z.strictObject({ kind: z.literal('setVmi'), vm, enabled: z.boolean() }),
  z.strictObject({ kind: z.literal('setMonitor'), vm, monitor: z.enum(['bt', 'hv']) }),
  z.strictObject({
    kind: z.literal('setCpu'),
    vm,
    shares: z.number().optional(),
    reservationMhz: z.number().optional(),
    limitMhz: z.number().nullable().optional(),
  }),
  z.strictObject({ kind: z.literal('type'), vm, text: z.string() }),
  z.strictObject({ kind: z.literal('setSampleInterval'), ms: z.number() }),
]);

const hash = z.string();
const cycles = z.number().int().nonnegative();
const headerSchema = z.strictObject({
  kind: z.literal('header'),
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  config: configSchema,
  images: z.record(z.string(), z.strictObject({ bytes: z.number(), digest: z.string() })),
  costs: z.strictObject({ profile: z.string(), digest: z.string() }),
  hash,
});
const eventSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('power'),
    atCycles: cycles,
    vm,
    state: z.enum(['off', 'on', 'suspended', 'crashed']),
    reason: z.string(),
  }),
  z.strictObject({ kind: z.literal('log'), atCycles: cycles, vm, line: z.string() }),
  z.strictObject({ kind: z.literal('console'), atCycles: cycles, vm, text: z.string() }),
  z.strictObject({ kind: z.literal('guest'), atCycles: cycles, vm, state: z.string() }),
  z.strictObject({ kind: z.literal('audit'), atCycles: cycles, vm, finding: z.string() }),
]);
const entrySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('event'), event: eventSchema, hash }),
  z.strictObject({ kind: z.literal('command'), atCycles: cycles, command: commandSchema, hash }),
  z.strictObject({ kind: z.literal('sample'), sample: z.looseObject({ sequence: cycles, atCycles: cycles }), hash }),
  z.strictObject({ kind: z.literal('end'), atCycles: cycles, hash }),
]);

/** The configuration without the bytes of the images, and without what nobody in the host can see. */
export type RecordedConfig = Omit<HostConfig, 'images' | 'engine'>;

export interface Recording {
  readonly config: RecordedConfig;
  /** Size and digest of each image. */
  readonly images: Readonly<Record<string, { readonly bytes: number; readonly digest: string }>>;
  readonly costs: { readonly profile: string; readonly digest: string };
  readonly commands: readonly LoggedCommand[];
  /** Each as JSON, as it was written. */
  readonly samples: readonly string[];
  readonly events: readonly HostEvent[];
  /** Host clock at the end of the session; of one that is cut off, at the last thing in it. */
  readonly endCycles: number;
  /** Where and why it stops before the end of its session, in one line; only if the reader takes such recordings. */
  readonly cutOff?: string;
}

export function costsDigest(costs: CostProfile): string {
  const digest = new Digest();
  digest.text(JSON.stringify([costs.name, costs.cyclesPerSecond, costs.cycles]));
  return digest.toString();
}

/** The profile that a configuration names, with its replacements. Throws `UsageError`. */
export function costsOf(config: RecordedConfig): CostProfile {
  const profile = COST_PROFILES[config.costs];
  if (profile === undefined) throw new UsageError(`unknown cost profile "${config.costs}"`);
  return config.costOverrides === undefined ? profile : overrideCosts(profile, config.costOverrides);
}

function headOf({ images, engine: _, ...config }: HostConfig): Pick<Recording, 'config' | 'images' | 'costs'> {
  const costs = costsOf(config);
  return {
    config,
    images: Object.fromEntries(
      Object.entries(images).map(([name, bytes]) => [name, { bytes: bytes.length, digest: bytesDigest(bytes) }]),
    ),
    costs: { profile: costs.name, digest: costsDigest(costs) },
  };
}

/** Writes a recording line by line while its session goes on. Every method returns one line without a line end. */
export class RecordingWriter {
  readonly #digest = new Digest();

  /** The first line. */
  header(config: HostConfig): string {
    return this.#line({ kind: 'header', format: FORMAT, version: VERSION, ...headOf(config) });
  }

  command({ atCycles, command }: LoggedCommand): string {
    return this.#line({ kind: 'command', atCycles, command });
  }

  sample(sample: Sample): string {
    return this.#line({ kind: 'sample', sample });
  }

  event(event: HostEvent): string {
    return this.#line({ kind: 'event', event });
  }

  /** The last line: what the session did after its last sample ends here. */
  end(atCycles: number): string {
    return this.#line({ kind: 'end', atCycles });
  }

  #line(entry: object): string {
    this.#digest.text(JSON.stringify(entry));
    return JSON.stringify({ ...entry, hash: this.#digest.toString() });
  }
}

/** The session of a host so far, without its events: whoever drains them has them. Throws `UsageError` when it is longer than a host remembers. */
export function recordingOf(host: Host): Recording {
  if (!(host instanceof VmHost)) throw new UsageError('this host does not keep its session');
  if (host.history === undefined) throw new UsageError('the session is too long to be recorded afterwards');
  return {
    ...headOf(host.config),
    commands: [...host.commandLog],
    samples: host.history.map(sample => JSON.stringify(sample)),
    events: [],
    endCycles: host.nowCycles,
  };
}

export interface ParseOptions {
  /**
   * Takes a recording whose writer was stopped (killed, disk full) for what it holds: its last line may be missing, or the end of its last
   * line. Its samples can be looked at; a session without an end cannot be verified.
   */
  readonly cutOff?: 'taken';
}

/** Reads a recording's text; `name` is for messages. Throws `UsageError` with the number of the first bad line. */
export function parseRecording(text: string, name: string, options: ParseOptions = {}): Recording {
  const place = (line: number, reason: string): string => `recording ${name}:${line}: ${reason}`;
  const fail = (line: number, reason: string): never => {
    throw new UsageError(place(line, reason));
  };
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  if (lines.length === 0) throw new UsageError(`recording ${name}: is empty`);
  let cutOff: string | undefined;
  if (options.cutOff === 'taken' && lines.length > 1 && !isJson(lines.at(-1)!)) {
    cutOff = place(lines.length, CUT_LINE);
    lines.pop();
  }
  const digest = new Digest();
  const read = <T extends { hash: string }>(schema: z.ZodType<T>, index: number): T => {
    let value: unknown;
    try {
      value = JSON.parse(lines[index]!);
    } catch {
      return fail(index + 1, index === lines.length - 1 ? CUT_LINE : 'is not JSON');
    }
    const parsed = schema.safeParse(value);
    if (!parsed.success) return fail(index + 1, describe(parsed.error));
    const { hash: claimed, ...rest } = value as { hash: string };
    digest.text(JSON.stringify(rest));
    if (digest.toString() !== claimed) return fail(index + 1, 'does not fit its hash: the file was changed or damaged');
    return parsed.data;
  };

  const header = read(headerSchema, 0);
  const commands: LoggedCommand[] = [];
  const samples: string[] = [];
  const events: HostEvent[] = [];
  let endCycles: number | undefined;
  let lastCycles = 0;
  for (let index = 1; index < lines.length; index++) {
    if (endCycles !== undefined) return fail(index + 1, 'stands behind the end of the session');
    const entry = read(entrySchema, index);
    if (entry.kind === 'command') {
      const { atCycles, command } = entry;
      if (atCycles < (commands.at(-1)?.atCycles ?? 0)) return fail(index + 1, 'commands are out of order');
      commands.push({ atCycles, command } as LoggedCommand);
      lastCycles = atCycles;
    } else if (entry.kind === 'sample') {
      samples.push(JSON.stringify(entry.sample));
      lastCycles = entry.sample.atCycles;
    } else if (entry.kind === 'event') {
      events.push(entry.event);
      lastCycles = entry.event.atCycles;
    } else {
      endCycles = entry.atCycles;
    }
  }
  if (endCycles === undefined) {
    cutOff ??= place(lines.length, 'the recording stops here, without the end of its session');
    if (options.cutOff !== 'taken') throw new UsageError(cutOff);
  }
  const { config, images, costs } = header;
  return {
    config: config as RecordedConfig,
    images,
    costs,
    commands,
    samples,
    events,
    endCycles: endCycles ?? lastCycles,
    ...(cutOff !== undefined && { cutOff }),
  };
}

const CUT_LINE = 'is cut off in the middle';

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

/** What a session consists of, each list in its order. */
export interface RecordedNews {
  readonly samples: readonly Sample[];
  readonly commands: readonly LoggedCommand[];
  readonly events: readonly HostEvent[];
}

/**
 * Lines in the order in which things happened. Of one cycle, samples come first, which closed the quantum, then commands, which took effect
 * behind it, and what came of them.
 */
export function linesOf(writer: RecordingWriter, { samples, commands, events }: RecordedNews): string[] {
  const happened = [
    ...samples.map(sample => ({ at: sample.atCycles, write: () => writer.sample(sample) })),
    ...commands.map(command => ({ at: command.atCycles, write: () => writer.command(command) })),
    ...events.map(event => ({ at: event.atCycles, write: () => writer.event(event) })),
  ];
  return happened.sort((a, b) => a.at - b.at).map(({ write }) => write());
}

/** The whole recording as text, as a `RecordingWriter` would have written it. */
export function formatRecording(recording: Recording, images: HostConfig['images']): string {
  const writer = new RecordingWriter();
  const header = writer.header({ ...recording.config, images });
  const samples = recording.samples.map(text => JSON.parse(text) as Sample);
  const lines = linesOf(writer, { ...recording, samples });
  return `${[header, ...lines, writer.end(recording.endCycles)].join('\n')}\n`;
}

/** The first issue, with the path to it. */
function describe(error: z.ZodError): string {
  const issue = error.issues[0]!;
  const path = issue.path.join('.');
  return `${path === '' ? '' : `${path}: `}${issue.message}`;
}
