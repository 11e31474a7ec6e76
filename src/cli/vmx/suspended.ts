/**
 * NAME.vmss beside NAME.vmx: a suspended VM, as ESX keeps it. It is there from the suspension until the VM goes on or is switched off, so that whoever
 * opens the folder next finds the VM suspended.
 *
 *     vmitop suspended VM 1 <newline>   SHA-256 of what follows, in hexadecimal <newline>   the state, compressed (RFC 1950)
 *
 * No .vmss of a product can be read, nor can a product read ours: the devices are others.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { deflate, inflateSync } from 'node:zlib';
import { UsageError } from '../../hypervisor/index.js';
import type { Progress } from '../../session/protocol.js';
import { fileReason, putFile } from '../files.js';
import type { Streams } from '../streams.js';
import type { InventoryFolder, VmxFile } from './folder.js';

const FORMAT = 'vmitop suspended VM 1\n';
const EXTENSION = '.vmss';
const HASH_CHARACTERS = 64;
/** Most of it is memory, and a console waits for nobody. */
const LEVEL = 1;

export const stateFileOf = ({ path, base }: VmxFile): string => join(dirname(path), base + EXTENSION);

export const isSuspended = (file: VmxFile): boolean => existsSync(stateFileOf(file));

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The state in a file. Throws `UsageError`, which says what is wrong with the file. */
export function readState(path: string): Uint8Array {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new UsageError(`${path}: ${fileReason(error)}`, { cause: error });
  }
  const start = FORMAT.length + HASH_CHARACTERS + 1;
  if (bytes.toString('latin1', 0, FORMAT.length) !== FORMAT)
    throw new UsageError(`${path}: is no suspended VM of this version of vmitop`);
  const hash = bytes.toString('latin1', FORMAT.length, start - 1);
  const compressed = bytes.subarray(start);
  if (hash !== hashOf(compressed)) throw new UsageError(`${path}: is cut off or damaged: it does not fit its hash`);
  return new Uint8Array(inflateSync(compressed));
}

/** The states that VMs begin with, by their files. Throws `UsageError`. */
export const readStates = (
  vms: readonly { readonly suspended?: string | undefined }[],
): Readonly<Record<string, Uint8Array>> =>
  Object.fromEntries(vms.flatMap(({ suspended: path }) => (path === undefined ? [] : [[path, readState(path)]])));

/** Whole or not at all. */
export async function writeState(path: string, state: Uint8Array): Promise<void> {
  const compressed: Buffer = await promisify<Uint8Array, object, Buffer>(deflate)(state, { level: LEVEL });
  putFile(path, Buffer.concat([Buffer.from(`${FORMAT}${hashOf(compressed)}\n`), compressed]));
}

/** Keeps the files of a folder as its VMs are suspended and go on. */
export class SuspendedFiles {
  readonly #files: ReadonlyMap<string, VmxFile>;
  readonly #troubles: string[] = [];
  /** One after the other: what happened last to a VM is what its file says. */
  #work: Promise<void> = Promise.resolve();

  constructor({ vms }: InventoryFolder) {
    this.#files = new Map(vms.map(file => [file.name, file]));
  }

  take({ events, suspended }: Pick<Progress, 'events' | 'suspended'>): void {
    const states = new Map(suspended.map(({ vm, state }) => [vm, state]));
    for (const event of events) {
      const file = event.kind === 'power' ? this.#files.get(event.vm) : undefined;
      if (file === undefined || event.kind !== 'power') continue;
      const state = states.get(event.vm);
      if (event.state !== 'suspended') this.#then(file, path => rmSync(path, { force: true }));
      else if (state !== undefined) this.#then(file, path => writeState(path, state));
    }
  }

  /** Nothing waits to be written any more. Says what could not be. */
  async finish({ stderr }: Streams): Promise<void> {
    await this.#work;
    for (const trouble of this.#troubles) stderr.write(`vmitop: ${trouble}\n`);
  }

  #then(file: VmxFile, work: (path: string) => void | Promise<void>): void {
    const path = stateFileOf(file);
    this.#work = this.#work
      .then(() => work(path))
      .catch((error: unknown) => {
        this.#troubles.push(`${path}: ${fileReason(error)}`);
      });
  }
}
