/**
 * Precise state: the guest is taken out of the TC at random TC instructions, inside sequences too, and put back. What it sees
 * in the end must be what a bare processor shows.
 */
import { expect, test } from 'vitest';
import { Prng } from '../../../src/hypervisor/base/prng.js';
import type { Exit } from '../../../src/hypervisor/machine/cpu/state.js';
import { S } from '../../../src/hypervisor/machine/cpu/state.js';
import { ROUTINE_LINEAR } from '../../../src/hypervisor/monitor/hole.js';
import { type BtMachine, differences, guest, makeBt, runBt, runNative } from './bt-machine.js';
import { Generator } from './generator.js';

/** Makes hardware stop after a few TC instructions, wherever the guest can be taken out, and takes it out there. */
function interruptEverywhere(machine: BtMachine, random: Prng): { taken: number; inside: number; rolledBack: number } {
  const { thread } = machine.vcpu;
  const { technique } = machine;
  const counts = { taken: 0, inside: 0, rolledBack: 0 };
  const pointHere = () => {
    const at = thread.s[S.EIP]! >>> 0;
    const { cache } = technique;
    return at >= cache.lookupAt
      ? cache.shared.points.find(point => cache.lookupAt + point.at === at)
      : cache.find(at)?.pointAt(at);
  };
  const { run: reallyRun, step: reallyStep } = thread;
  const step = (): Exit => {
    // `step` is a `run` of one instruction.
    thread.run = reallyRun;
    const exit = reallyStep.call(thread);
    thread.run = runShortly;
    return exit;
  };
  const runShortly = (): Exit => {
    for (let left = random.below(12); ; left--) {
      const exit = step();
      if (exit.kind !== 'stepped') return exit;
      // On the way to a routine of the monitor: the call is as good as made.
      if (thread.s[S.EIP]! >>> 0 === ROUTINE_LINEAR) continue;
      const point = pointHere();
      expect(point).toBeDefined();
      if (point!.kind === 'inside') counts.inside += 1;
      else if (left <= 0) {
        counts.taken += 1;
        if (point!.kind === 'spilled' || point!.kind === 'target') counts.rolledBack += 1;
        return { kind: 'deadline' };
      }
    }
  };
  thread.step = step;
  thread.run = runShortly;
  const enter = technique.enter.bind(technique);
  technique.enter = (deadline: number): Exit => {
    const exit = enter(deadline);
    if (exit.kind === 'deadline') technique.capture();
    return exit;
  };
  return counts;
}

test('random programs, taken out of the TC every few instructions', () => {
  const total = { taken: 0, inside: 0, rolledBack: 0 };
  for (let seed = 101; seed <= 112; seed++) {
    const start = guest(new Generator(new Prng(seed)).program());
    const native = runNative(start, 3_000_000);
    const machine = makeBt(start);
    const counts = interruptEverywhere(machine, new Prng(seed * 7));
    const bt = runBt(machine, 1_000_000_000);
    expect(differences(native, bt), `seed ${seed}`).toEqual([]);
    expect(machine.technique.audit(), `seed ${seed}`).toEqual([]);
    total.taken += counts.taken;
    total.inside += counts.inside;
    total.rolledBack += counts.rolledBack;
  }
  expect(total.taken).toBeGreaterThan(500);
  expect(total.inside).toBeGreaterThan(50);
  expect(total.rolledBack).toBeGreaterThan(100);
});
