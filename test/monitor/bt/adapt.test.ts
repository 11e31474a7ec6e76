/** Adaptive translation in both directions: sites that keep needing the monitor, and sites that no longer do. */
import { describe, expect, it } from 'vitest';
import { HITS_TO_ADAPT, IDLE_TO_REVERT } from '../../../src/hypervisor/monitor/bt/adapt.js';
import { CODE, DATA, guest, makeBt, RAM_BYTES, runBt } from './bt-machine.js';

/** A page that holds code: stores to it are trace hits. */
const WATCHED = CODE + 0x800;
const PLAIN = DATA + 0x100;

/** Runs `rounds` in order, each so many stores to one address by one and the same instruction. */
function stores(rounds: readonly (readonly [address: number, count: number])[], access = 'mov [ebx], ecx') {
  const calls = rounds.map(
    ([address, count], n) => `mov ebx, ${address}\n mov ecx, ${count}\n l${n}: call site\n dec ecx\n jnz l${n}`,
  );
  const machine = makeBt(guest(`${calls.join('\n')}\n hlt\n site: ${access}\n ret`));
  const end = runBt(machine);
  expect(end.why).toBe('halt');
  expect(machine.technique.audit()).toEqual([]);
  return { machine, end, counters: machine.vm.counters };
}

describe('a site that keeps storing to a watched page', () => {
  it('is adapted, and goes back when nobody watches what it stores to', () => {
    const { counters, machine } = stores([
      [WATCHED, 20],
      [PLAIN, IDLE_TO_REVERT],
    ]);
    expect([counters.tcAdapted, counters.tcReverted]).toEqual([1, 1]);
    expect(counters.traceFaults).toBe(HITS_TO_ADAPT);
    expect(machine.technique.adaptation.adaptedSites).toEqual([]);
  });

  it('stays adapted as long as every now and then it is needed', () => {
    const rounds = Array.from({ length: 6 }, () => [
      [WATCHED, 2],
      [PLAIN, IDLE_TO_REVERT - 1],
    ]);
    const { counters } = stores([[WATCHED, HITS_TO_ADAPT], ...rounds.flat()] as [number, number][]);
    expect([counters.tcAdapted, counters.tcReverted]).toEqual([1, 0]);
  });

  it('has to fault more often each time that it comes back, so one that alternates settles down', () => {
    const turns = 30;
    const rounds = Array.from({ length: turns }, () => [
      [WATCHED, 5],
      [PLAIN, IDLE_TO_REVERT + 10],
    ]);
    const { counters } = stores(rounds.flat() as [number, number][]);
    // 4, 16 and 64 faults lead to three adaptations; for the fourth it would take 256.
    expect(counters.tcAdapted).toBe(3);
    expect(counters.tcReverted).toBe(3);
    expect(counters.traceFaults).toBeLessThan(5 * turns);
  });

  it('is adapted, and goes back, in every unit that it stands in', () => {
    // The site begins a unit, and stands in the one that begins with the NOP.
    const source = (address: number, count: number) => `mov ebx, ${address}
      mov esi, ${count}
 again${address}: call before
      call site
      dec esi
      jnz again${address}`;
    const body = `${source(WATCHED, 50)}\n${source(PLAIN, IDLE_TO_REVERT)}\n hlt\n before: nop\n site: mov [ebx], ecx\n ret`;
    const machine = makeBt(guest(body));
    expect(runBt(machine).why).toBe('halt');
    const { counters } = machine.vm;
    expect(counters.traceFaults).toBe(HITS_TO_ADAPT);
    expect([counters.tcAdapted, counters.tcReverted]).toEqual([1, 1]);
    expect(machine.technique.audit()).toEqual([]);
  });

  it('does the same whichever way it is translated', () => {
    const { end } = stores([
      [WATCHED, 10],
      [PLAIN, IDLE_TO_REVERT + 10],
      [WATCHED, 3],
    ]);
    const word = (at: number) => new DataView(end.memory.buffer).getUint32(at, true);
    // The last store of each round is of 1.
    expect([word(WATCHED), word(PLAIN)]).toEqual([1, 1]);
  });
});

describe('a site that keeps reaching device memory', () => {
  const NOWHERE = RAM_BYTES + 0x1000;

  it('is adapted, for loads and stores', () => {
    for (const access of ['mov eax, [ebx]', 'mov [ebx], ecx', 'mov al, [ebx+1]', 'or dword [ebx], 5']) {
      const { counters } = stores([[NOWHERE, 50]], access);
      expect([access, counters.tcAdapted]).toEqual([access, 1]);
      // What it touches while it still faults: a site that reads and writes does so in one fault each time.
      expect(counters.mmioFaults).toBe(HITS_TO_ADAPT);
    }
  });

  it('reads what the bus says: ones, where nobody is', () => {
    const { end } = stores([[NOWHERE, 20]], 'mov eax, [ebx]\n mov dh, [ebx]');
    expect(end.registers[0]! >>> 0).toBe(0xffffffff);
    expect((end.registers[2]! >>> 8) & 0xff).toBe(0xff);
  });

  it('goes back when it reads plain memory', () => {
    const { counters } = stores(
      [
        [NOWHERE, 10],
        [PLAIN, IDLE_TO_REVERT + 5],
      ],
      'mov eax, [ebx]',
    );
    expect([counters.tcAdapted, counters.tcReverted]).toEqual([1, 1]);
  });

  it('costs less than a fault each time', () => {
    const cycles = (count: number) => {
      const { machine } = stores([[NOWHERE, count]], 'mov eax, [ebx]');
      return machine.vcpu.thread.cycles;
    };
    const faulting = cycles(HITS_TO_ADAPT) - cycles(1);
    const adapted = cycles(20 + HITS_TO_ADAPT - 1) - cycles(20);
    expect(adapted).toBeLessThan(faulting / 2);
  });
});
