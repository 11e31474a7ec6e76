/** The software walk against a model of SDM vol. 3, 4.3 and 4.6 that is written down independently, over every combination. */
import { describe, expect, it } from 'vitest';
import { Cr0, Cr4 } from '../../src/hypervisor/machine/cpu/state.js';
import { markUsed, walk } from '../../src/hypervisor/monitor/guest-walk.js';
import { A, D, G, P, PS, U, W } from './test-vm.js';

const DIRECTORY = 0x1000;
const TABLE = 0x2000;
const LINEAR = 0x00c03123;

class Tables {
  readonly words = new Map<number, number>();
  peekEntry(at: number): number {
    return this.words.get(at) ?? 0;
  }
  setEntryBits(at: number, bits: number): void {
    this.words.set(at, this.peekEntry(at) | bits);
  }
}

/** Of no use without PAE. */
const pointers = new Int32Array(4);

interface Case {
  readonly pde: number;
  readonly pte: number;
  readonly wp: boolean;
  readonly write: boolean;
  readonly user: boolean;
}

function* cases(): Generator<Case> {
  const subsets = (bits: readonly number[]) =>
    Array.from({ length: 1 << bits.length }, (_, n) => bits.reduce((sum, bit, i) => sum | ((n >> i) & 1 ? bit : 0), 0));
  for (const pde of subsets([P, W, U, A, PS])) {
    for (const pte of subsets([P, W, U, A, D])) {
      for (const flags of [0, 1, 2, 3, 4, 5, 6, 7]) {
        yield { pde, pte, wp: (flags & 1) !== 0, write: (flags & 2) !== 0, user: (flags & 4) !== 0 };
      }
    }
  }
}

/** The manual, read aloud. */
function model({ pde, pte, wp, write, user }: Case): number | 'allowed' {
  const code = (write ? 2 : 0) + (user ? 4 : 0);
  const large = (pde & PS) !== 0;
  const levels = large ? [pde] : [pde, pte];
  if (levels.some(entry => (entry & P) === 0)) return code;
  const isUserPage = levels.every(entry => (entry & U) !== 0);
  const isWritable = levels.every(entry => (entry & W) !== 0);
  if (user && !isUserPage) return code + 1;
  if (write && user && !isWritable) return code + 1;
  if (write && !user && wp && !isWritable) return code + 1;
  return 'allowed';
}

function build(c: Case): Tables {
  const tables = new Tables();
  tables.words.set(DIRECTORY + 4 * 3, c.pde | ((c.pde & PS) !== 0 ? 0x00800000 : TABLE));
  tables.words.set(TABLE + 4 * 3, 0x5000 | c.pte);
  return tables;
}

describe('walk', () => {
  it('agrees with the model for every combination of entry bits, WP and access', () => {
    let count = 0;
    for (const c of cases()) {
      const tables = build(c);
      const before = new Map(tables.words);
      const state = { cr0: Cr0.PG | (c.wp ? Cr0.WP : 0), cr3: DIRECTORY, cr4: Cr4.PSE, pointers };
      const found = walk(tables, state, LINEAR, c);
      const expected = model(c);
      if (expected === 'allowed') {
        expect(found.kind, JSON.stringify(c)).toBe('mapped');
        if (found.kind !== 'mapped') continue;
        expect(found.ppn).toBe((c.pde & PS) !== 0 ? 0x803 : 5);
        expect(tables.words).toEqual(before);
        markUsed(tables, found, c.write);
        const pde = tables.peekEntry(DIRECTORY + 12);
        const pte = tables.peekEntry(TABLE + 12);
        expect(pde & A).toBe(A);
        if ((c.pde & PS) !== 0) {
          expect((pde & D) !== 0).toBe(c.write);
          expect(pte).toBe(before.get(TABLE + 12));
        } else {
          expect(pde & D).toBe(0);
          expect(pte & A).toBe(A);
          expect((pte & D) !== 0).toBe((c.pte & D) !== 0 || c.write);
        }
      } else {
        expect(found, JSON.stringify(c)).toMatchObject({ kind: 'fault', errorCode: expected });
        expect(tables.words).toEqual(before);
        // The page table has been read, so its directory entry has been used.
        const wentOn = (c.pde & P) !== 0 && (c.pde & PS) === 0;
        markUsed(tables, found, c.write);
        expect(tables.peekEntry(DIRECTORY + 12)).toBe(before.get(DIRECTORY + 12)! | (wentOn ? A : 0));
        expect(tables.peekEntry(TABLE + 12)).toBe(before.get(TABLE + 12));
      }
      count += 1;
    }
    expect(count).toBe(32 * 32 * 8);
  });

  it('ignores the page-size bit without PSE, and refuses reserved bits with it', () => {
    const tables = new Tables();
    tables.words.set(DIRECTORY + 12, TABLE | P | PS);
    tables.words.set(TABLE + 12, 0x9000 | P);
    const access = { write: false, user: false };
    expect(walk(tables, { cr0: Cr0.PG, cr3: DIRECTORY, cr4: 0, pointers }, LINEAR, access)).toMatchObject({ ppn: 9 });
    expect(walk(tables, { cr0: Cr0.PG, cr3: DIRECTORY, cr4: Cr4.PSE, pointers }, LINEAR, access)).toMatchObject({
      kind: 'fault',
      errorCode: 9,
    });
  });

  it('reports global pages only with PGE, and maps one to one without paging', () => {
    const tables = new Tables();
    tables.words.set(DIRECTORY + 12, 0x00800000 | P | PS | G);
    const access = { write: false, user: true };
    const state = { cr0: Cr0.PG, cr3: DIRECTORY, cr4: Cr4.PSE | Cr4.PGE, pointers };
    const supervisor = { write: false, user: false };
    expect(walk(tables, state, LINEAR, supervisor)).toMatchObject({ global: true });
    expect(walk(tables, { ...state, cr4: Cr4.PSE }, LINEAR, supervisor)).toMatchObject({ global: false });
    expect(walk(tables, { ...state, cr0: 0 }, 0xfedcb123, access)).toMatchObject({ ppn: 0xfedcb, levels: 0 });
  });
});
