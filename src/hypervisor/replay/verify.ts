/** Re-runs a recording and compares every sample byte for byte. */
import { UsageError } from '../base/assert.js';
import type { EngineOptions, HostConfig, Workshop } from '../index.js';
import { bytesDigest } from '../vm/digest.js';
import { VmHost } from '../vm/host.js';
import { costsDigest, costsOf, type Recording } from './recording.js';

export interface Divergence {
  /** Number of the first sample that differs. */
  readonly sequence: number;
  readonly atCycles: number;
  /** Virtual time of that sample. */
  readonly atSeconds: number;
  /** The first field that differs, such as `vms[web].causes.hiddenFault`. */
  readonly path: string;
  /** Values as JSON; `nothing` where a side has none. */
  readonly recorded: string;
  readonly replayed: string;
}

export interface Verification {
  /** Same images, same costs, same samples. */
  readonly identical: boolean;
  /** Samples compared, up to the first difference. */
  readonly samples: number;
  readonly commands: number;
  /** Inputs that are not those of the recording: one line each. */
  readonly differences: readonly string[];
  readonly divergence?: Divergence;
}

export interface VerifyOptions {
  /** Costs that replace those of the recording, on top of its own replacements. */
  readonly costOverrides?: Readonly<Record<string, number>>;
  /** How the engine works: it cannot matter. */
  readonly engine?: EngineOptions;
  /** Compiles, if there is one. */
  readonly workshop?: Workshop;
  /** Called now and then with the share of the virtual time that is done, 0..1. */
  onProgress?(done: number): void;
}

/** Quanta between two looks at the samples. */
const STEP_QUANTA = 100;

/** Throws `UsageError` when an image is missing or cannot be used at all. */
export function verifyRecording(
  recording: Recording,
  images: HostConfig['images'],
  options: VerifyOptions = {},
): Verification {
  const overrides = { ...recording.config.costOverrides, ...options.costOverrides };
  const config: HostConfig = {
    ...recording.config,
    ...(Object.keys(overrides).length > 0 ? { costOverrides: overrides } : {}),
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    images,
  };
  const differences = inputDifferences(recording, config);
  const replay = new Replay(recording, new VmHost(config, [], options.workshop), options);
  const divergence = replay.run();
  return {
    identical: divergence === undefined && differences.length === 0,
    samples: replay.compared,
    commands: recording.commands.length,
    differences,
    ...(divergence === undefined ? {} : { divergence }),
  };
}

function inputDifferences(recording: Recording, config: HostConfig): string[] {
  const differences: string[] = [];
  for (const [name, { bytes, digest }] of Object.entries(recording.images)) {
    const image = config.images[name];
    if (image === undefined) throw new UsageError(`the recording needs the image "${name}"`);
    const now = bytesDigest(image);
    if (now !== digest) {
      differences.push(
        `image "${name}" is not the recorded one (${image.length} bytes ${now}, not ${bytes} bytes ${digest})`,
      );
    }
  }
  const costs = costsOf(config);
  const now = costsDigest(costs);
  if (now !== recording.costs.digest) {
    differences.push(`cost profile "${costs.name}" is not the recorded one (${now}, not ${recording.costs.digest})`);
  }
  return differences;
}

class Replay {
  compared = 0;
  readonly #recording: Recording;
  readonly #host: VmHost;
  readonly #options: VerifyOptions;

  constructor(recording: Recording, host: VmHost, options: VerifyOptions) {
    this.#recording = recording;
    this.#host = host;
    this.#options = options;
  }

  run(): Divergence | undefined {
    const { commands, samples, endCycles } = this.#recording;
    for (const { atCycles, command } of commands) {
      const divergence = this.#advance(atCycles);
      if (divergence !== undefined) return divergence;
      const result = this.#host.execute(command);
      if (!result.ok)
        return this.#at(this.compared, atCycles, `command ${command.kind}`, 'accepted', `refused: ${result.reason}`);
    }
    const divergence = this.#advance(endCycles);
    if (divergence !== undefined) return divergence;
    const missing = samples[this.compared];
    if (missing === undefined) return undefined;
    return this.#at(this.compared, endCycles, 'sample', 'present', 'nothing');
  }

  #advance(untilCycles: number): Divergence | undefined {
    const host = this.#host;
    while (host.nowCycles < untilCycles) {
      host.advance(Math.min(untilCycles, host.nowCycles + STEP_QUANTA * host.quantumCycles));
      // Nobody reads them, and they would pile up.
      host.drainEvents();
      for (const sample of host.drainSamples()) {
        const replayed = JSON.stringify(sample);
        const recorded = this.#recording.samples[this.compared];
        if (recorded === undefined) return this.#at(sample.sequence, sample.atCycles, 'sample', 'nothing', 'present');
        if (recorded !== replayed) {
          const found = firstDifference(JSON.parse(recorded), JSON.parse(replayed), '');
          const { path, a, b } = found ?? { path: '(order of fields)', a: recorded, b: replayed };
          return this.#at(sample.sequence, sample.atCycles, path, a, b);
        }
        this.compared += 1;
      }
      this.#options.onProgress?.(host.nowCycles / Math.max(1, this.#recording.endCycles));
    }
    return undefined;
  }

  #at(sequence: number, atCycles: number, path: string, recorded: string, replayed: string): Divergence {
    return { sequence, atCycles, atSeconds: atCycles / this.#host.cyclesPerSecond, path, recorded, replayed };
  }
}

interface Difference {
  readonly path: string;
  readonly a: string;
  readonly b: string;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

/** First field, in the order of the first object, whose values differ. */
function firstDifference(a: unknown, b: unknown, path: string): Difference | undefined {
  if (Object.is(a, b)) return undefined;
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return { path, a: show(a), b: show(b) };
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const found = firstDifference(a[key], b[key], join(path, key, Array.isArray(a), a[key]));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Elements of lists are called by their name where they have one. */
function join(path: string, key: string, inList: boolean, element: unknown): string {
  if (inList) return `${path}[${isObject(element) && typeof element['name'] === 'string' ? element['name'] : key}]`;
  return path === '' ? key : `${path}.${key}`;
}
