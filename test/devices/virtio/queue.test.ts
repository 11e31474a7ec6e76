/** Chains of descriptors as drivers build them, and as they must not. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Prng } from '../../../src/hypervisor/base/prng.js';
import {
  type VirtioDevice,
  VirtioKind,
  type VirtioTransport,
} from '../../../src/hypervisor/devices/virtio/transport.js';
import { Driver, Flag, MEMORY_BYTES, Port } from './driver.js';

const SIZE = 16;

/** Answers each chain with the bytes that it was given, backwards, and a count of them. */
class Mirror implements VirtioDevice {
  readonly kind = VirtioKind.block;
  readonly features = 0;
  readonly queueSizes = [SIZE];
  readonly configuration = Uint8Array.of(1, 2, 3);
  resets = 0;

  constructor(readonly transport: VirtioTransport) {}

  notified(): void {
    for (let chain = this.transport.pop(0); chain !== undefined; chain = this.transport.pop(0)) {
      const bytes = chain.read(0, chain.readableBytes).reverse().subarray(0, chain.writableBytes);
      chain.write(0, bytes);
      this.transport.push(0, chain, bytes.length);
      this.transport.interrupt(0);
    }
  }

  reset(): void {
    this.resets += 1;
  }

  exchange(): void {}
}

let mirror: Mirror;
let driver: Driver;

beforeEach(() => {
  driver = new Driver(transport => {
    mirror = new Mirror(transport);
    return mirror;
  });
  driver.start();
});

const bytes = (prng: Prng, length: number) => Uint8Array.from({ length }, () => prng.below(256));

/** Cuts into pieces of any length, empty ones too. */
function cut(prng: Prng, whole: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < whole.length; ) {
    const next = Math.min(whole.length, at + prng.below(40));
    pieces.push(whole.subarray(at, next));
    at = next;
    if (pieces.length === 6) {
      pieces.push(whole.subarray(at));
      break;
    }
  }
  return pieces;
}

test.each([1, 2, 3, 4, 5])(
  'any chains come back as they should, more than the indexes count (seed %i)',
  seed => {
    const prng = new Prng(seed);
    const expected = new Map<number, Uint8Array>();
    let seen = 0;
    let offered = 0;
    // The indexes of a ring wrap at 65536.
    driver.start();
    for (let round = 0; offered < 70_000; round++) {
      const chains = 1 + prng.below(2);
      for (let i = 0; i < chains; i++) {
        const given = bytes(prng, round < 200 ? prng.below(100) : prng.below(3));
        const pieces = [...cut(prng, given), ...Array.from({ length: 1 + prng.below(2) }, () => prng.below(60))];
        const head = driver.offer(0, pieces, { indirect: prng.below(2) === 0, shuffle: prng });
        expected.set(head, given.slice().reverse());
        offered += 1;
      }
      driver.notify(0);
      for (const { head, written, bytes: room } of driver.used(0)) {
        const whole = expected.get(head)!;
        const fits = whole.subarray(0, room.length);
        if (written !== fits.length || fits.some((byte, i) => byte !== room[i])) {
          expect([written, [...room.subarray(0, written)]], `seed ${seed}, round ${round}`).toEqual([
            fits.length,
            [...fits],
          ]);
        }
        expected.delete(head);
        seen += 1;
      }
      driver.rewind();
    }
    expect([seen, expected.size, driver.log, driver.memory.outside]).toEqual([offered, 0, [], 0]);
  },
  20_000,
);

describe('interrupts', () => {
  test('come when a chain is done, and reading their register acknowledges them', () => {
    driver.offer(0, [Uint8Array.of(1), 1]);
    driver.notify(0);
    expect(driver.level).toBe(true);
    expect(driver.port.readPort(Port.ISR, 1)).toBe(1);
    expect(driver.level).toBe(false);
    expect(driver.port.readPort(Port.ISR, 1)).toBe(0);
  });

  test('do not come where the driver does not want them', () => {
    driver.setNoInterrupt(0, true);
    driver.offer(0, [Uint8Array.of(1), 1]);
    driver.notify(0);
    expect(driver.used(0)).toHaveLength(1);
    expect(driver.level).toBe(false);
  });
});

describe('nonsense stops the device, with one line, until it is reset', () => {
  const at = (address: number, length: number, flags = 0, next = 0) => ({ address, length, flags, next });
  const table = (index: number, descriptor: Parameters<Driver['describe']>[2]) =>
    driver.describe(driver.tableOf(0), index, descriptor);
  const CASES: readonly (readonly [what: string, write: () => void, reason: string])[] = [
    ['a head that is no descriptor', () => driver.offerHead(0, SIZE), 'the head 16 is none of 16 descriptors'],
    [
      'a next that is no descriptor',
      () => table(0, at(0x40000, 4, Flag.NEXT, SIZE)),
      'the next descriptor 16 is none of 16',
    ],
    ['a chain that bites its tail', () => table(0, at(0x40000, 4, Flag.NEXT, 0)), 'a chain of descriptors has no end'],
    ['a buffer behind memory', () => table(0, at(MEMORY_BYTES - 3, 4)), 'a buffer is outside memory'],
    ['a buffer that wraps', () => table(0, at(0xfffffff0, 0x20)), 'a buffer is outside memory'],
    ['a buffer above 4 GiB', () => table(0, { ...at(0x40000, 4), high: 1 }), 'a buffer is outside memory'],
    [
      'a buffer to read behind one to write',
      () => {
        table(0, at(0x40000, 4, Flag.NEXT | Flag.WRITE, 1));
        table(1, at(0x40000, 4));
      },
      'a buffer to read behind one to write',
    ],
    ['an empty table', () => table(0, at(0x40000, 0, Flag.INDIRECT)), 'an indirect table of 0 bytes'],
    ['a table of broken size', () => table(0, at(0x40000, 24, Flag.INDIRECT)), 'an indirect table of 24 bytes'],
    [
      'a table outside memory',
      () => table(0, at(MEMORY_BYTES, 16, Flag.INDIRECT)),
      'an indirect table is outside memory',
    ],
    [
      'a table and a next',
      () => table(0, at(0x40000, 16, Flag.INDIRECT | Flag.NEXT, 1)),
      'an indirect descriptor has a next one',
    ],
    [
      'a table within a table',
      () => {
        table(0, at(0x40000, 32, Flag.INDIRECT));
        driver.describe(0x40000, 0, at(0x50000, 16, Flag.INDIRECT));
      },
      'an indirect descriptor within a chain',
    ],
    [
      'a loop in a table',
      () => {
        table(0, at(0x40000, 32, Flag.INDIRECT));
        driver.describe(0x40000, 0, at(0x50000, 16, Flag.NEXT, 1));
        driver.describe(0x40000, 1, at(0x50000, 16, Flag.NEXT, 0));
      },
      'a chain of descriptors has no end',
    ],
    ['more chains than fit', () => driver.setAvailable(0, SIZE + 1), '17 chains are offered by a queue of 16'],
  ];

  test.each(CASES)('%s', (what, write, reason) => {
    write();
    if (!['a head that is no descriptor', 'more chains than fit'].includes(what)) driver.offerHead(0, 0);
    driver.notify(0);
    expect(driver.log).toEqual([`card: ${reason}: stopped until the guest resets it`]);
    expect([driver.status & 0x40, driver.level, driver.port.readPort(Port.ISR, 1)]).toEqual([0x40, true, 2]);
    expect(driver.memory.outside).toBe(0);
    // Deaf: also to a sound chain, and to attempts to take the mark away.
    driver.port.writePort(Port.STATUS, 1, 0x07);
    driver.notify(0);
    expect([driver.log.length, driver.status]).toEqual([1, 0x47]);
    const { resets } = mirror;
    driver.start();
    expect([mirror.resets, driver.status]).toEqual([resets + 1, 0x07]);
    driver.offer(0, [Uint8Array.of(7, 8), 2]);
    driver.notify(0);
    expect(driver.used(0).map(({ bytes: room }) => [...room])).toEqual([[8, 7]]);
  });

  test('a queue outside memory', () => {
    driver.port.writePort(Port.SELECT, 2, 0);
    driver.port.writePort(Port.PAGE, 4, MEMORY_BYTES / 4096 - 1);
    driver.notify(0);
    expect(driver.log).toEqual(['card: the queue is outside memory: stopped until the guest resets it']);
    expect(driver.memory.outside).toBe(0);
  });

  test('a table that was not agreed on', () => {
    driver.start(false);
    driver.offer(0, [Uint8Array.of(1), 1], { indirect: true });
    driver.notify(0);
    expect(driver.log).toEqual([
      'card: an indirect descriptor, which was not agreed on: stopped until the guest resets it',
    ]);
  });

  test('random descriptors never reach outside memory', () => {
    const prng = new Prng(99);
    let stopped = 0;
    for (let round = 0; round < 3000; round++) {
      driver.start();
      const wild = () => [0, 0x40000, MEMORY_BYTES - 8, MEMORY_BYTES, 0x10000, 0xffffffff][prng.below(6)]!;
      for (let i = 0; i < SIZE; i++) {
        const length = [0, 1, 16, 32, 64, 0xffffffff][prng.below(6)]!;
        table(i, {
          address: wild(),
          high: prng.below(20) === 0 ? 1 : 0,
          length,
          flags: prng.below(8),
          next: prng.below(20),
        });
      }
      driver.offerHead(0, prng.below(SIZE));
      const before = driver.log.length;
      driver.notify(0);
      stopped += driver.log.length - before;
    }
    expect(driver.memory.outside).toBe(0);
    // Both ends occur.
    expect(stopped).toBeGreaterThan(500);
    expect(stopped).toBeLessThan(2900);
  });
});

test('registers: features, sizes, configuration, and queues that do not exist', () => {
  const { port } = driver;
  expect(port.readPort(Port.FEATURES, 4)).toBe(0x18000000);
  port.writePort(Port.ACCEPT, 4, 0xffffffff);
  expect(port.readPort(Port.ACCEPT, 4)).toBe(0x18000000);
  port.writePort(Port.SELECT, 2, 1);
  expect([port.readPort(Port.SIZE, 2), port.readPort(Port.PAGE, 4)]).toEqual([0, 0]);
  port.writePort(Port.PAGE, 4, 5);
  expect(port.readPort(Port.PAGE, 4)).toBe(0);
  driver.notify(1);
  expect([port.readPort(Port.CONFIG, 4), port.readPort(Port.CONFIG + 1, 2), port.readPort(0x3c, 4)]).toEqual([
    0x030201, 0x0302, 0,
  ]);
  expect(driver.log).toEqual([]);
});
