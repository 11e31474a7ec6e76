/**
 * The console's door for other processes: while it has a folder of .vmx files open, it listens on a socket in that folder, and `vmitop vm start` and
 * its like ask it. A request and its answer are a line of JSON each. Only the console's user may ask: the socket is closed to others.
 */
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { UsageError } from '../../hypervisor/index.js';
import type { Session } from '../../tui/session.js';
import { fileReason } from '../files.js';

const SOCKET = '.vmitop.sock';
/** What fits into a socket's address on Linux, and on the BSDs. */
const ADDRESS_BYTES_MAX = 103;
/** No request is longer. */
const REQUEST_CHARACTERS_MAX = 1024;
const ANSWER_MS_MAX = 10_000;

const requestSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.enum(['powerOn', 'powerOff', 'reset', 'suspend', 'resume']),
    vm: z.string(),
  }),
  z.strictObject({ kind: z.literal('states') }),
]);
export type DoorRequest = z.output<typeof requestSchema>;

const answerSchema = z.discriminatedUnion('ok', [
  z.strictObject({ ok: z.literal(true), states: z.record(z.string(), z.string()).optional() }),
  z.strictObject({ ok: z.literal(false), reason: z.string() }),
]);
export type DoorAnswer = z.output<typeof answerSchema>;

const addressOf = (folder: string): string => join(folder, SOCKET);

/** Answers in the name of a session until it is closed. */
export class Door {
  readonly #session: Pick<Session, 'execute' | 'latest'>;
  readonly #server: Server;

  private constructor(session: Pick<Session, 'execute' | 'latest'>) {
    this.#session = session;
    this.#server = createServer(socket => this.#serve(socket));
    this.#server.unref();
  }

  /** Or why there is none: another console has the folder open, or no socket can be made there. */
  static async open(folder: string, session: Pick<Session, 'execute' | 'latest'>): Promise<Door | string> {
    const address = addressOf(folder);
    if (Buffer.byteLength(address) > ADDRESS_BYTES_MAX) return `${address}: its path is too long for a socket`;
    if (existsSync(address)) {
      if (await isAnswered(address))
        return `${folder}: another console has it open, and takes the commands of vmitop vm`;
      // Left behind by one that was killed.
      rmSync(address, { force: true });
    }
    const door = new Door(session);
    return new Promise(resolve => {
      door.#server.once('error', error => resolve(`${address}: ${fileReason(error)}`));
      door.#server.listen(address, () => {
        chmodSync(address, 0o600);
        resolve(door);
      });
    });
  }

  close(): Promise<void> {
    return new Promise(resolve => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    let text = '';
    socket.setEncoding('utf8');
    // Who has gone away wants no answer.
    socket.on('error', () => {});
    socket.on('data', (piece: string) => {
      text += piece;
      const end = text.indexOf('\n');
      if (end >= 0) {
        void this.#answer(text.slice(0, end)).then(answer => socket.end(`${JSON.stringify(answer)}\n`));
        socket.removeAllListeners('data');
      } else if (text.length > REQUEST_CHARACTERS_MAX) {
        socket.destroy();
      }
    });
  }

  async #answer(line: string): Promise<DoorAnswer> {
    try {
      const request = requestSchema.parse(JSON.parse(line));
      if (request.kind !== 'states') return await this.#session.execute(request);
      const vms = this.#session.latest()?.vms ?? [];
      return { ok: true, states: Object.fromEntries(vms.map(({ name, power }) => [name, power])) };
    } catch (error) {
      const isForeign = error instanceof z.ZodError || error instanceof SyntaxError;
      return { ok: false, reason: isForeign ? 'the request is none' : (error as Error).message };
    }
  }
}

/** Is somebody behind the socket? */
const isAnswered = (address: string): Promise<boolean> =>
  new Promise(resolve => {
    const socket = createConnection(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });

/** What the console that has a folder open answers; undefined where none has. Throws `UsageError` for an answer that is none. */
export function askConsole(folder: string, request: DoorRequest): Promise<DoorAnswer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(addressOf(folder));
    let text = '';
    const fail = (): void => reject(new UsageError(`${folder}: the console that has it open gives no answer`));
    socket.setEncoding('utf8');
    socket.setTimeout(ANSWER_MS_MAX, () => {
      fail();
      socket.destroy();
    });
    socket.once('error', () => resolve(undefined));
    socket.once('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (piece: string) => {
      text += piece;
    });
    socket.once('end', () => {
      try {
        resolve(answerSchema.parse(JSON.parse(text)));
      } catch {
        fail();
      }
    });
  });
}

/** The power of the VMs of the console that has a folder open, by name; undefined where none has. Throws `UsageError` likewise. */
export async function powersIn(folder: string): Promise<Readonly<Record<string, string>> | undefined> {
  const answer = await askConsole(folder, { kind: 'states' });
  return answer?.ok === true ? answer.states : undefined;
}
