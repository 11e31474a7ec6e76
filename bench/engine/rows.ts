/** What the guest writes on its console, turned into measurements. See guest/main.c for the protocol. */

/** One execution of one row on one emulator. */
export interface RowTime {
  readonly name: string;
  /** How many operations; 0 where the processor lacks what the row needs. */
  readonly count: number;
  /** Result of the work; the same on every correct processor. */
  readonly check: string;
  /** Wall time between the guest's two marks. */
  readonly wallMs: number;
  /** Processor time of the emulator between them, all threads. */
  readonly cpuMs: number;
  /** Wall time on a computer whose speed does not change (`yardstick.ts`), where it was measured. */
  readonly steadyMs?: number;
}

/** Row whose work is to wait: only processor time can be compared, since real-time emulators wait in real time. */
export const WAITING_ROWS: ReadonlySet<string> = new Set(['idle']);

export const timeOf = ({ name, wallMs, cpuMs }: RowTime): number => (WAITING_ROWS.has(name) ? cpuMs : wallMs);

export interface Stamp {
  readonly wallMs: number;
  readonly cpuMs: number;
  /** What the yardstick says. */
  readonly slowness?: number;
}

/** First line of the guest; an emulator may print things of its own before. */
const GREETING = 'vmitop engine benchmark';
const START = 1;
const STOP = 2;

/** Takes the console byte by byte. */
export class RowReader {
  readonly rows: RowTime[] = [];
  /** The guest has said that it is through, or why it is not. */
  ended = false;
  /** Lines that are not rows: the greeting, a trap's report. */
  readonly remarks: string[] = [];
  readonly #stamp: (begins: boolean) => Stamp;
  readonly #onRow: (row: RowTime) => void;
  #line = '';
  #start: Stamp | undefined;
  #stop: Stamp | undefined;

  /** `stamp` tells the time now; it is called when the mark of a row's beginning or end arrives. */
  constructor(stamp: (begins: boolean) => Stamp, onRow: (row: RowTime) => void = () => {}) {
    this.#stamp = stamp;
    this.#onRow = onRow;
  }

  push(byte: number): void {
    if (byte === START) this.#start = this.#stamp(true);
    else if (byte === STOP) this.#stop = this.#stamp(false);
    else if (byte === 10) this.#endLine();
    else if (byte !== 13) this.#line += String.fromCharCode(byte);
  }

  #endLine(): void {
    const line = this.#line.trim();
    this.#line = '';
    const [name, count, check] = line.split(/ +/);
    if (line.endsWith(GREETING)) {
      this.remarks.length = 0;
    } else if (line === 'end') {
      this.ended = true;
    } else if (count === '-' && check === '-') {
      this.#add({ name: name!, count: 0, check: '-', wallMs: 0, cpuMs: 0 });
    } else if (this.#start !== undefined && this.#stop !== undefined && /^[0-9a-f]{8}$/.test(check ?? '')) {
      const wallMs = this.#stop.wallMs - this.#start.wallMs;
      const cpuMs = this.#stop.cpuMs - this.#start.cpuMs;
      const [before, after] = [this.#start.slowness, this.#stop.slowness];
      const steady = before === undefined || after === undefined ? {} : { steadyMs: (2 * wallMs) / (before + after) };
      this.#add({ name: name!, count: Number(count), check: check!, wallMs, cpuMs, ...steady });
    } else if (line !== '') {
      this.remarks.push(line);
    }
    if (line !== '') {
      this.#start = undefined;
      this.#stop = undefined;
    }
  }

  #add(row: RowTime): void {
    this.rows.push(row);
    this.#onRow(row);
  }
}
