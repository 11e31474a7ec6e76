/** The thread that compiles, from sources: what it builds is what is built here, and what goes wrong there is known here. */
import { setTimeout } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { engineDefaults } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { regionBuilder } from '../../src/hypervisor/machine/cpu/compile/build-region.js';
import type { RegionSource } from '../../src/hypervisor/machine/cpu/compile/region-source.js';
import type { FinishedRegion, Workshop } from '../../src/hypervisor/machine/cpu/compile/workshop.js';
import { S } from '../../src/hypervisor/machine/cpu/state.js';
import { openWorkshop } from '../../src/session/workshop.js';
import { DATA, Machine } from '../machine/fixture.js';

const before = { ...engineDefaults };
afterEach(() => {
  Object.assign(engineDefaults, before);
});

const ROUNDS = 3000;
const PROGRAM = `
    mov ecx, ${ROUNDS}
  top:
    add eax, ecx
    mov [${DATA}], eax
    rcl ebx, 3
    loop top
    hlt`;

async function finished(workshop: Workshop): Promise<FinishedRegion> {
  for (;;) {
    const made = workshop.take();
    if (made !== undefined) return made;
    await setTimeout(1);
  }
}

/** What is ordered for the program. */
function orders(): RegionSource[] {
  const sources: RegionSource[] = [];
  const workshop: Workshop = { open: true, order: (_, source) => sources.push(source), take: () => undefined };
  Object.assign(engineDefaults, { tiering: 'normal', workshop: () => workshop });
  const machine = new Machine();
  machine.load(PROGRAM);
  expect(machine.run().kind).toBe('halt');
  return sources;
}

test('a region that the thread builds is the one that is built here', async () => {
  const [source] = orders();
  const here = regionBuilder()(source!);
  const workshop = openWorkshop();
  workshop.order(7, source!);
  const { number, built, module } = await finished(workshop);
  expect(number).toBe(7);
  expect(built).toEqual(here);
  expect(module).toBeInstanceOf(WebAssembly.Module);
}, 30_000);

test('a machine runs what the thread has built', async () => {
  const workshop = openWorkshop();
  Object.assign(engineDefaults, { tiering: 'normal', workshop: () => workshop });
  const machine = new Machine();
  const { compiler } = machine.cache;
  machine.load(PROGRAM);
  while (compiler.regions === 0) {
    machine.load(PROGRAM);
    machine.cpu.s.fill(0, S.EAX, S.EBX + 1);
    expect(machine.run().kind).toBe('halt');
    await setTimeout(1);
  }
  machine.load(PROGRAM);
  machine.cpu.s[S.EAX] = 0;
  machine.run();
  expect(machine.read32(DATA)).toBe((ROUNDS * (ROUNDS + 1)) / 2);
}, 30_000);

test('what goes wrong where a region is built is thrown where it is taken', async () => {
  const [source] = orders();
  const workshop = openWorkshop();
  // The first block has no ops.
  workshop.order(1, { ...source!, blocks: [] });
  await expect(finished(workshop)).rejects.toThrow();
}, 30_000);
