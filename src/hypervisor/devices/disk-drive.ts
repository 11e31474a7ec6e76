/**
 * How long a disk takes: one arm and one spindle, requests in the order of their arrival.
 *
 *     overhead, seek, wait for the sector to come round, one track after the other at the speed of the platter
 *
 * The platter turns with virtual time, so where the head finds it follows from the time at which it arrives. Seek time by distance is
 * Lee and Katz's curve through the drive's three documented seeks ("An Analytic Performance Model of Disk Arrays", SIGMETRICS 1993). Reads
 * that go on where the last one ended come from the drive's read-ahead buffer, as fast as the platter has filled it. Not modelled: zones, head
 * switches, reordering, a write cache.
 */
import type { Archive } from '../base/archive.js';
import type { DriveFigures } from '../machine/costs/disks.js';

export interface Transfer {
  readonly write: boolean;
  /** In bytes from the start of the disk. */
  readonly offset: number;
  readonly length: number;
}

export interface Service {
  readonly startCycles: number;
  readonly endCycles: number;
}

type Seek = DriveFigures['readSeekMs'];

export class DiskDrive {
  readonly #figures: DriveFigures;
  readonly #cyclesPerMs: number;
  readonly #turnCycles: number;
  #freeAt = 0;
  #cylinder = 0;
  /** Where reads go on without a seek: end of the last one, and when the buffer had it. */
  #readAheadFrom = -1;
  #readAheadAt = 0;

  constructor(figures: DriveFigures, cyclesPerSecond: number) {
    this.#figures = figures;
    this.#cyclesPerMs = cyclesPerSecond / 1000;
    this.#turnCycles = (60 * cyclesPerSecond) / figures.turnsPerMinute;
  }

  /** When a request that arrives now is served, behind those before it. Without a transfer (flush, error): overhead alone. */
  serve(atCycles: number, transfer?: Transfer): Service {
    const startCycles = Math.max(atCycles, this.#freeAt);
    const begun = startCycles + this.#figures.overheadMs * this.#cyclesPerMs;
    const endCycles = Math.ceil(transfer === undefined ? begun : this.#transferEnd(begun, transfer));
    this.#freeAt = endCycles;
    return { startCycles, endCycles };
  }

  /** What was asked for is not wanted any more. */
  abort(atCycles: number): void {
    this.#freeAt = Math.min(this.#freeAt, atCycles);
    this.#readAheadFrom = -1;
  }

  exchange(archive: Archive): void {
    this.#freeAt = archive.number(this.#freeAt);
    this.#cylinder = archive.number(this.#cylinder);
    this.#readAheadFrom = archive.number(this.#readAheadFrom);
    this.#readAheadAt = archive.number(this.#readAheadAt);
  }

  #transferEnd(begun: number, { write, offset, length }: Transfer): number {
    const moving = (length / this.#figures.trackBytes) * this.#turnCycles;
    let end: number;
    if (!write && offset === this.#readAheadFrom) {
      // The platter has not stopped meanwhile: what it has passed by is in the buffer.
      end = Math.max(begun, this.#readAheadAt + moving);
    } else {
      const { trackBytes, heads, readSeekMs, writeSeekMs } = this.#figures;
      const cylinder = Math.floor(offset / (trackBytes * heads));
      const seek = this.#seekMs(Math.abs(cylinder - this.#cylinder), write ? writeSeekMs : readSeekMs);
      const arrived = begun + seek * this.#cyclesPerMs;
      const place = (offset % trackBytes) / trackBytes;
      const turn = place - ((arrived / this.#turnCycles) % 1);
      end = arrived + (turn < 0 ? turn + 1 : turn) * this.#turnCycles + moving;
    }
    const last = offset + length;
    this.#cylinder = Math.floor(last / (this.#figures.trackBytes * this.#figures.heads));
    this.#readAheadFrom = write ? -1 : last;
    this.#readAheadAt = end;
    return end;
  }

  #seekMs(distance: number, { single, average, full }: Seek): number {
    if (distance === 0) return 0;
    const { cylinders } = this.#figures;
    const root = (-10 * single + 15 * average - 5 * full) / (3 * Math.sqrt(cylinders));
    const linear = (7 * single - 15 * average + 8 * full) / (3 * cylinders);
    return root * Math.sqrt(distance - 1) + linear * (distance - 1) + single;
  }
}
