/** What the programs that run one emulator in a Node process of its own have in common. */
import { readFileSync } from 'node:fs';
import type { EngineOptions } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { RowReader, type RowTime, type Stamp } from './rows.js';
import { makeYardstick } from './yardstick.js';

export type Tiering = NonNullable<EngineOptions['tiering']>;

/** Given as the only argument, as JSON. */
export interface ChildOptions {
  readonly imagePath: string;
  readonly memoryMib: number;
  readonly commandLine: string;
  /** When our processor compiles; the normal way if absent. */
  readonly tiering?: Tiering;
}

/** Written to stdout, one line of JSON each. */
export type ChildMessage =
  | { readonly kind: 'row'; readonly row: RowTime }
  | { readonly kind: 'figures'; readonly figures: Readonly<Record<string, number>> }
  | { readonly kind: 'end'; readonly remarks: readonly string[] };

export const childOptions = (): ChildOptions => JSON.parse(process.argv[2]!) as ChildOptions;

export const readImage = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

export const send = (message: ChildMessage): void => {
  process.stdout.write(`${JSON.stringify(message)}\n`);
};

const yardstick = makeYardstick();

/** The yardstick is laid on outside of the row. */
const stamp = (begins: boolean): Stamp => {
  const before = begins ? yardstick() : 0;
  const { user, system } = process.cpuUsage();
  const wallMs = performance.now();
  return { wallMs, cpuMs: (user + system) / 1000, slowness: begins ? before : yardstick() };
};

/** A reader whose rows go to the parent; they wait until the guest is through, so that no row pays for the output of another. */
export const childReader = (): RowReader => new RowReader(stamp);

export function sendAll(reader: RowReader, figures: Readonly<Record<string, number>> = {}): void {
  for (const row of reader.rows) send({ kind: 'row', row });
  send({ kind: 'figures', figures });
  send({ kind: 'end', remarks: reader.remarks });
}
