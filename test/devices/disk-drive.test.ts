/** A drive's times against its manual: what the figures promise has to come out of the curve through them. */
import { beforeEach, expect, test } from 'vitest';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { DiskDrive } from '../../src/hypervisor/devices/disk-drive.js';
import { SAVVIO_10K_1 } from '../../src/hypervisor/machine/costs/disks.js';

const HZ = 3_000_000_000;
const MS = HZ / 1000;
const { trackBytes, heads, cylinders } = SAVVIO_10K_1;
const CYLINDER = trackBytes * heads;
const TURN_MS = 6;

let drive: DiskDrive;

beforeEach(() => {
  drive = new DiskDrive(SAVVIO_10K_1, HZ);
});

const ms = ({ startCycles, endCycles }: { startCycles: number; endCycles: number }) => (endCycles - startCycles) / MS;

test.each([
  ['read', false, 4.0],
  ['write', true, 4.4],
] as const)('a random %s takes overhead, an average seek and half a turn', (_name, write, seek) => {
  const prng = new Prng(5);
  let sum = 0;
  let at = 0;
  const count = 20_000;
  for (let i = 0; i < count; i++) {
    const offset =
      Math.floor((prng.u32() / 2 ** 32) * cylinders) * CYLINDER + Math.floor((prng.u32() / 2 ** 32) * CYLINDER);
    const service = drive.serve(at, { write, offset: offset - (offset % 512), length: 512 });
    sum += ms(service);
    // Idle for any time in between.
    at = service.endCycles + prng.below(10 * MS);
  }
  const expected = 0.2 + seek + TURN_MS / 2 + (512 / trackBytes) * TURN_MS;
  expect(Math.abs(sum / count - expected) / expected).toBeLessThan(0.02);
});

test.each([
  ['one track', 1, 0.2],
  ['the whole surface', cylinders, 8.1],
] as const)('a seek across %s is the documented one', (_name, distance, seek) => {
  // The shortest of many is the one behind which the sector was just there.
  let shortest = Infinity;
  for (let phase = 0; phase < 600; phase++) {
    const fresh = new DiskDrive(SAVVIO_10K_1, HZ);
    shortest = Math.min(
      shortest,
      ms(fresh.serve(phase * 0.01 * MS, { write: false, offset: distance * CYLINDER, length: 512 })),
    );
  }
  expect(shortest).toBeCloseTo(0.2 + seek + (512 / trackBytes) * TURN_MS, 1);
});

test('reads that go on where the last one ended run at the speed of the platter', () => {
  const length = 32 * 1024;
  const first = drive.serve(0, { write: false, offset: 0, length });
  let last = first;
  for (let i = 1; i <= 200; i++) last = drive.serve(0, { write: false, offset: i * length, length });
  const perSecond = (200 * length) / ((last.endCycles - first.endCycles) / HZ);
  // 360 000 bytes in 6 ms are 60 MB/s; the overhead of a command is spent while the buffer fills.
  expect(perSecond / 1e6).toBeCloseTo(60, 0);
});

test('writes that go on miss their sector, and wait for it to come round', () => {
  const length = 4096;
  drive.serve(0, { write: true, offset: 0, length });
  const second = drive.serve(0, { write: true, offset: length, length });
  expect(ms(second)).toBeCloseTo(TURN_MS + (length / trackBytes) * TURN_MS, 6);
});

test('one after the other; what was given up makes room', () => {
  const [a, b] = [0, 1].map(() => drive.serve(1000, { write: true, offset: 0, length: 512 }));
  expect([a!.startCycles, b!.startCycles]).toEqual([1000, a!.endCycles]);
  drive.abort(2000);
  expect(drive.serve(1500).startCycles).toBe(2000);
  expect(ms(drive.serve(100 * MS))).toBe(0.2);
});
