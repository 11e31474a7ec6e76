/** The leaf helpers against plain models, on whatever input fast-check finds. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lpnOf, pageBase, pageOffset } from '../../src/hypervisor/base/pages.js';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { Ring } from '../../src/hypervisor/base/ring.js';

test('a ring keeps the newest items, in order, and counts what it dropped', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.array(fc.oneof(fc.integer(), fc.constant('drain' as const))),
      (capacity, steps) => {
        const ring = new Ring<number>(capacity);
        let model: number[] = [];
        let dropped = 0;
        for (const step of steps) {
          if (step === 'drain') {
            expect(ring.drain()).toEqual(model);
            model = [];
          } else {
            ring.push(step);
            model.push(step);
            if (model.length > capacity) {
              model = model.slice(1);
              dropped += 1;
            }
          }
          expect(ring.items()).toEqual(model);
          expect(ring.dropped).toBe(dropped);
        }
      },
    ),
  );
});

test('an address is its page and its offset, also above 2 GiB', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), linear => {
      expect(pageBase(lpnOf(linear)) + pageOffset(linear)).toBe(linear);
    }),
  );
});

test('the generator repeats from its seed and stays below its bound', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 1000 }), (seed, bound) => {
      const [a, b] = [new Prng(seed), new Prng(seed)];
      for (let i = 0; i < 20; i++) {
        const value = a.below(bound);
        expect(value).toBe(b.below(bound));
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThan(bound);
      }
    }),
  );
});
