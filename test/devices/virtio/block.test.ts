/** Requests to a virtio disk against a flat array of bytes, and what is wrong with requests. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Prng } from '../../../src/hypervisor/base/prng.js';
import { DiskDrive } from '../../../src/hypervisor/devices/disk-drive.js';
import { DiskImage } from '../../../src/hypervisor/devices/disk-image.js';
import { type DiskFigures, VirtioBlock, zeroDiskFigures } from '../../../src/hypervisor/devices/virtio/block.js';
import { SAVVIO_10K_1 } from '../../../src/hypervisor/machine/costs/disks.js';
import { ManualClock } from '../fixtures.js';
import { Driver, Port } from './driver.js';

const SECTORS = 200;
const Type = { READ: 0, WRITE: 1, FLUSH: 4, GET_ID: 8 } as const;
const MS = 3_000_000;

let base: Uint8Array;
let image: DiskImage;
let clock: ManualClock;
let figures: DiskFigures;
let driver: Driver;

beforeEach(() => {
  base = Uint8Array.from({ length: SECTORS * 512 }, (_, i) => (i * 7 + (i >>> 9)) & 0xff);
  image = new DiskImage(base);
  clock = new ManualClock();
  figures = zeroDiskFigures();
  driver = new Driver(transport => {
    const drive = new DiskDrive(SAVVIO_10K_1, clock.cyclesPerSecond);
    return new VirtioBlock({ transport, clock: clock.clock, image, drive, id: 'scsi0:0', figures });
  });
  driver.start();
});

function header(type: number, sector: number, high = 0): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(0, type, true);
  view.setUint32(8, sector, true);
  view.setUint32(12, high, true);
  return new Uint8Array(view.buffer);
}

/** One request from offer to end: what the device wrote, status last. */
function run(buffers: Parameters<Driver['offer']>[1], options: Parameters<Driver['offer']>[2] = {}): number[] {
  driver.rewind();
  driver.offer(0, buffers, options);
  driver.notify(0);
  expect(driver.used(0)).toEqual([]);
  clock.advance(100 * MS);
  const [used] = driver.used(0);
  // Of a request that failed only the status is written.
  expect(used!.written).toBe(used!.bytes.at(-1) === 0 ? used!.bytes.length : 1);
  return [...used!.bytes];
}

test('says how large it is, and its name', () => {
  expect(driver.port.readPort(Port.CONFIG, 4)).toBe(SECTORS);
  expect(driver.port.readPort(Port.CONFIG + 4, 4)).toBe(0);
  expect(driver.port.readPort(Port.CONFIG + 12, 4)).toBe(126);
  const answer = run([header(Type.GET_ID, 0), 20, 1]);
  expect(String.fromCharCode(...answer.slice(0, 20))).toBe('scsi0:0'.padEnd(20, '\0'));
  expect(answer[20]).toBe(0);
});

test.each([1, 2, 3])('reads and writes are those of an array; the image itself never changes (seed %i)', seed => {
  const prng = new Prng(seed);
  const before = base.slice();
  const model = base.slice();
  const sums = { reads: 0, writes: 0, flushes: 0, readBytes: 0, writeBytes: 0 };
  for (let round = 0; round < 400; round++) {
    const sectors = 1 + prng.below(30);
    const sector = prng.below(SECTORS - sectors + 1);
    const [at, length] = [sector * 512, sectors * 512];
    // Data in pieces that know nothing of sectors.
    const first = prng.below(length);
    const indirect = prng.below(2) === 0;
    switch (prng.below(3)) {
      case 0: {
        const data = Uint8Array.from({ length }, () => prng.below(256));
        expect(
          run([header(Type.WRITE, sector), data.subarray(0, first), data.subarray(first), 1], { indirect }),
        ).toEqual([0]);
        model.set(data, at);
        sums.writes += 1;
        sums.writeBytes += length;
        break;
      }
      case 1: {
        const answer = run([header(Type.READ, sector), first, length - first, 1], { indirect });
        expect(answer.at(-1)).toBe(0);
        const wrong = answer.slice(0, -1).findIndex((byte, i) => byte !== model[at + i]);
        expect(wrong, `seed ${seed}, round ${round}`).toBe(-1);
        sums.reads += 1;
        sums.readBytes += length;
        break;
      }
      default:
        expect(run([header(Type.FLUSH, 0), 1])).toEqual([0]);
        sums.flushes += 1;
    }
  }
  expect(image.read(0, base.length)).toEqual(model);
  expect(base).toEqual(before);
  expect(figures).toMatchObject({ ...sums, errors: 0, outstanding: 0 });
  expect(driver.log).toEqual([]);
});

describe('refuses', () => {
  test.each([
    ['a read behind the end', [header(Type.READ, SECTORS), 512, 1], 1],
    ['a read across the end', [header(Type.READ, SECTORS - 1), 1024, 1], 1],
    ['a write behind the end', [header(Type.WRITE, SECTORS), new Uint8Array(512), 1], 1],
    ['a sector above 2^32', [header(Type.READ, 0, 1), 512, 1], 1],
    ['a sector near 2^64', [header(Type.READ, 0xffffffff, 0xffffffff), 512, 1], 1],
    ['half a sector', [header(Type.READ, 0), 256, 1], 1],
    ['room for half a name', [header(Type.GET_ID, 0), 10, 1], 1],
    ['what nobody knows', [header(2, 0), 1], 2],
  ] as const)('%s', (_what, buffers, status) => {
    expect(run(buffers).at(-1)).toBe(status);
    expect([figures.errors, figures.reads, figures.writes, image.writtenBlocks]).toEqual([1, 0, 0, 0]);
    expect(driver.log).toEqual([]);
  });

  test.each([
    ['no whole header', [new Uint8Array(15), 1]],
    ['no room for the status', [header(Type.WRITE, 0), new Uint8Array(512)]],
  ] as const)('%s, and stops', (_what, buffers) => {
    driver.offer(0, buffers);
    driver.notify(0);
    expect(driver.log).toEqual(['card: a block request without header or status: stopped until the guest resets it']);
    clock.advance(100 * MS);
    expect(driver.used(0)).toEqual([]);
  });
});

test('requests are done in order, and their times are what they waited and what the drive took', () => {
  const heads = [150, 3, 90].map(sector => driver.offer(0, [header(Type.READ, sector), 512, 1]));
  driver.notify(0);
  expect(figures.outstanding).toBe(3);
  const ends: number[] = [];
  const done: number[] = [];
  while (done.length < 3) {
    clock.advanceTo(clock.clock.nextAt);
    ends.push(clock.now);
    done.push(...driver.used(0).map(({ head }) => head));
  }
  expect(done).toEqual(heads);
  const [first, second, third] = ends as [number, number, number];
  expect(figures.deviceCycles).toBe(third);
  expect(figures.queueCycles).toBe(first + second);
  expect(figures.readCycles).toBe(first + second + third);
});

test('a reset gives up what goes on', () => {
  driver.offer(0, [header(Type.WRITE, 0), new Uint8Array(512), 1]);
  driver.notify(0);
  driver.port.writePort(Port.STATUS, 1, 0);
  clock.advance(100 * MS);
  expect([figures.writes, figures.outstanding, image.writtenBlocks, driver.level]).toEqual([0, 0, 0, false]);
});
