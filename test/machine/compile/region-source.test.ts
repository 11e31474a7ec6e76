/** Which blocks are compiled together. */
import { describe, expect, test } from 'vitest';
import { Mode } from '../../../src/hypervisor/machine/cpu/cache-layout.js';
import { Tiering } from '../../../src/hypervisor/machine/cpu/compile/compiler.js';
import { collectBlocks, copyBlocks } from '../../../src/hypervisor/machine/cpu/compile/region-source.js';
import { SHAPE } from '../../../src/hypervisor/machine/cpu/layout.js';
import { inSetting } from '../../engine-setting.js';
import { CODE, Machine } from '../fixture.js';

const HOT = Tiering.normal + 10;

/** Bytes from the beginning of the program's page to its caller, which is in another one. */
const CALLER = 0x1000;

/**
 * Runs a program to its end, or what calls its `before`, and answers what would be compiled with the block at a label, and what is
 * compiled already.
 */
function around(program: string, caller?: string) {
  const machine = inSetting('normal', () => new Machine());
  const labels = machine.load(program);
  if (caller !== undefined) machine.load(caller.replace('before', `${CODE}`), CODE + CALLER);
  expect(machine.run().kind).toBe('halt');
  const { cache } = machine;
  const names = new Map([...labels].map(([name, at]) => [machine.base + at, name]));
  const named = (machines: Iterable<number>) => [...machines].map(at => names.get(at) ?? '?').sort();
  const block = (label: string) => cache.find(machine.base + labels.get(label)!, Mode.PLAIN)!;
  const shape = machine.cpu.s[SHAPE]!;
  return {
    collect: (label: string, warm: number) =>
      named(collectBlocks(cache, block(label), shape, warm).map(found => found.machine)),
    regionOf: (label: string) => named(block(label).region?.blocks.map(found => found.machine) ?? []),
    block,
    cache,
  };
}

describe('what is compiled already', () => {
  test('is left where it is by code that leads there', () => {
    const { collect, regionOf } = around(
      `
      before:
        mov ecx, ${HOT}
      inner:
        loop inner
        ret`,
      `
        mov edx, 20
      top:
        call before
        dec edx
        jnz top
        hlt`,
    );
    expect(regionOf('inner')).toContain('inner');
    const found = collect('before', 1000);
    expect(found).toContain('before');
    expect(found).not.toContain('inner');
  });

  test('is compiled once more where it returns into the loop that calls it', () => {
    const { collect, regionOf } = around(`
        mov edx, 20
        mov ecx, ${HOT}
        call leaf
      caller:
        mov ecx, 3
        call leaf
      back:
        dec edx
        jnz caller
        hlt
      leaf:
        loop leaf
      end:
        ret`);
    expect(regionOf('leaf')).toContain('leaf');
    expect(collect('caller', 1000)).toEqual(expect.arrayContaining(['back', 'caller', 'leaf']));
  });
});

test('where there is a call by address, code that was executed some times may be its target', () => {
  const program = (transfer: string) => `
      mov edx, 40
      mov eax, target
    top:
      ${transfer}
    back:
      dec edx
      jnz top
      hlt
    target:
      inc ebx
      ret`;
  const warm = 125;
  expect(around(program('call eax')).collect('top', warm)).toContain('target');
  expect(around(program('cmp eax, 0')).collect('top', warm)).not.toContain('target');
});

test('copies of blocks have their ops and marks, wherever the blocks lie', () => {
  const { block, cache } = around(`
      mov ecx, 20
    one:
      inc eax
      add eax, ecx
      jmp two
    nobody:
      nop
    two:
      dec ecx
      jnz one
      hlt`);
  const blocks = [block('two'), block('one')];
  const copy = copyBlocks(cache.code, blocks);
  copy.blocks.forEach(({ start, marks, instructions, machine }, i) => {
    const original = blocks[i]!;
    expect([machine, instructions, marks - start]).toEqual([
      original.machine,
      original.instructions,
      original.marks - original.start,
    ]);
    expect(copy.code.slice(start, marks)).toEqual(cache.code.slice(original.start, original.marks));
    expect(copy.code[marks]).toBe(start);
  });
});
