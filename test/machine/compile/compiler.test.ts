/** What compiled code takes: the same code in two pages is compiled once, and at the bound what is in use stays. */
import { afterEach, describe, expect, test } from 'vitest';
import { type EngineOptions, engineDefaults } from '../../../src/hypervisor/machine/cpu/code-cache.js';
import { ModuleCache } from '../../../src/hypervisor/machine/cpu/compile/module-cache.js';
import { BYTES_MAX } from '../../../src/hypervisor/machine/cpu/compile/region-source.js';
import { assembleModule, Type, WasmWriter } from '../../../src/hypervisor/machine/cpu/compile/wasm-writer.js';
import { S } from '../../../src/hypervisor/machine/cpu/state.js';
import { CODE, DATA, Machine } from '../fixture.js';

const before = { ...engineDefaults };
afterEach(() => {
  Object.assign(engineDefaults, before);
});

/** A machine whose engine is set this way, whatever the suite runs in. */
function machineWith(options: EngineOptions): Machine {
  Object.assign(engineDefaults, options);
  return new Machine();
}

/** A module whose function answers a number. */
function moduleBytes(value: number): Uint8Array<ArrayBuffer> {
  const w = new WasmWriter();
  w.i32(value);
  const code = w.done();
  const types = [{ parameters: [], results: [Type.I32] }];
  return assembleModule({
    types,
    imports: [],
    memoryPages: 1,
    table: false,
    functions: [{ type: 0, locals: [], code }],
  });
}

describe('modules by their bytes', () => {
  test('equal bytes share a module, which is accounted once and goes with its last user', () => {
    const cache = new ModuleCache();
    const first = cache.take(moduleBytes(1));
    const { bytes } = cache;
    const again = cache.take(moduleBytes(1));
    expect(again.module).toBe(first.module);
    expect([cache.size, cache.bytes]).toEqual([1, bytes]);
    const other = cache.take(moduleBytes(2));
    expect(other.module).not.toBe(first.module);
    expect([cache.size, cache.bytes]).toEqual([2, 2 * bytes]);
    cache.release(first);
    expect(cache.take(moduleBytes(1)).module).toBe(again.module);
    for (const shared of [again, again, other]) cache.release(shared);
    expect([cache.size, cache.bytes]).toEqual([0, 0]);
  });

  test('bytes of one hash are told apart', () => {
    const cache = new ModuleCache();
    const [one, two] = [moduleBytes(1), moduleBytes(2)];
    // Behind the last whole word the hash does not look.
    const at = one.findIndex((byte, i) => byte !== two[i]);
    expect(at).toBeGreaterThanOrEqual(one.length & -4);
    const [first, second] = [cache.take(one), cache.take(two)];
    expect(first.hash).toBe(second.hash);
    expect(first.module).not.toBe(second.module);
    cache.release(first);
    expect(cache.take(moduleBytes(2)).module).toBe(second.module);
  });
});

describe('the same code in two pages', () => {
  /** Branches, memory, and ops that helpers execute: their arguments are found by where the ops of this very page are. */
  const body = (add: number) => `
     mov esi, 40
     top:
     add eax, ${add}
     rcl eax, 3
     adc [${DATA}], eax
     clts
     smsw edx
     add eax, edx
     dec esi
     jnz top
     ret`;
  const pages = [0x60000, 0x71000, 0x92000];
  const call = `
     mov ebp, 200
     again:
     mov ebx, eax
     call ecx
     dec ebp
     jnz again
     hlt`;

  function run(options: EngineOptions, adds: readonly number[]) {
    const machine = machineWith(options);
    const results = adds.map((add, i) => {
      machine.loadAt(pages[i]!, body(add));
      machine.load(call, CODE + i * 0x1000 + i * 16);
      machine.cpu.s[S.EAX] = i;
      machine.cpu.s[S.ECX] = pages[i]!;
      machine.run();
      return [machine.reg(S.EAX), machine.read32(DATA)];
    });
    const { cycles, instructions } = machine.cpu;
    return { results, cycles, instructions, compiler: machine.cache.compiler };
  }

  test('is compiled once and does in each what the interpreter does', () => {
    const reference = run({ tiering: 'never' }, [5, 5, 5]);
    const one = run({ tiering: 'normal' }, [5]);
    const three = run({ tiering: 'normal' }, [5, 5, 5]);
    expect(three).toMatchObject({
      results: reference.results,
      cycles: reference.cycles,
      instructions: reference.instructions,
    });
    expect(one.compiler.regions).toBe(1);
    expect(three.compiler.regions).toBe(3);
    expect(three.compiler.modules).toBe(1);
    // Less than half of a module for each that is only an instance.
    expect(three.compiler.bytes).toBeLessThan(2 * one.compiler.bytes);
  });

  test('has a module of its own where a constant differs', () => {
    const reference = run({ tiering: 'never' }, [5, 6, 5]);
    const normal = run({ tiering: 'normal' }, [5, 6, 5]);
    expect(normal.results).toEqual(reference.results);
    expect([normal.compiler.regions, normal.compiler.modules]).toEqual([3, 2]);
  });
});

describe('a page with more code than a region may have', () => {
  /** Blocks that each go to the next, with memory operands, and round and round. */
  const COUNT = 90;
  const ROUNDS = 50;
  const program = `
     mov ecx, ${ROUNDS}
     top:
     ${Array.from(
       { length: COUNT },
       (_, i) => `
     add [${DATA + 4 * i}], eax
     xor eax, [${DATA + 4 * ((i * 7) % COUNT)}]
     add eax, ${i}
     jnz on${i}
     add edx, 1
     on${i}:`,
     ).join('')}
     dec ecx
     jnz top
     hlt`;

  test('becomes several, each within what is expected of its bytes', () => {
    const run = (options: EngineOptions) => {
      const machine = machineWith(options);
      machine.execute(program);
      const { cycles, instructions } = machine.cpu;
      return { machine, results: [machine.reg(S.EAX), machine.reg(S.EDX), cycles, instructions] };
    };
    const { results } = run({ tiering: 'never' });
    const always = run({ tiering: 'always' });
    expect(always.results).toEqual(results);
    const blocks = always.machine.cache.blocksIn((always.machine.base + CODE) >>> 12);
    const regions = new Set(blocks.flatMap(block => block.regions));
    expect(regions.size).toBeGreaterThan(1);
    // What begins and ends a function is besides.
    const largest = Math.max(...[...regions].map(({ module }) => module.wasm.length));
    expect(largest).toBeLessThan(BYTES_MAX * 1.1 + 1000);
    expect(largest).toBeGreaterThan(BYTES_MAX / 2);
  });
});

describe('at the bound of compiled code', () => {
  const HOT = 0x60000;
  const COLD = 0x100000;
  const COUNT = 60;

  test('what is entered stays, and other code is dropped', () => {
    const codeBytesMax = 512 << 10;
    const machine = machineWith({ tiering: 'always', codeBytesMax });
    const { compiler } = machine.cache;
    machine.loadAt(HOT, 'add ebx, 1\nret');
    for (let i = 0; i < COUNT; i++) machine.loadAt(COLD + i * 4096, `add eax, ${i * 1000}\nret`);
    machine.load(`
     mov ebp, ${COUNT}
     mov edi, ${COLD}
     next:
     call edi
     call edi
     add edi, 4096
     mov esi, ${HOT}
     call esi
     dec ebp
     jnz next
     hlt`);
    const hot = () => machine.cache.blocksIn((machine.base + HOT) >>> 12)[0]!;
    let largest = 0;
    const compile = compiler.compile.bind(compiler);
    let dropped = 0;
    let first: unknown;
    compiler.compile = (block, shape) => {
      compile(block, shape);
      largest = Math.max(largest, compiler.bytes);
      if (block.machine === machine.base + HOT) {
        first ??= block.region;
        if (block.region !== first) dropped += 1;
      }
    };
    machine.run();
    expect(machine.reg(S.EAX)).toBe(COUNT * (COUNT - 1) * 1000);
    expect(machine.reg(S.EBX)).toBe(COUNT);
    // The oldest but for the caller, and in use: never dropped, though most of what came behind it was.
    expect(hot().region).toBe(first);
    expect(dropped).toBe(0);
    expect(compiler.drops).toBeGreaterThan(COUNT / 2);
    // One region may be added before the bound is looked at.
    expect(largest).toBeLessThan(codeBytesMax + (64 << 10));
    expect(compiler.bytes).toBeGreaterThan(codeBytesMax / 2);
  });
});
