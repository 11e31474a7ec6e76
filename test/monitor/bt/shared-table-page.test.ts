/**
 * A descriptor table in one page with memory that its kernel keeps writing, as in boot loaders: what is beside the table costs traces for a
 * while, and no longer. What the guest sees is what a bare processor shows, whether the copies are there or not.
 */
import { describe, expect, test } from 'vitest';
import type { Ppn } from '../../../src/hypervisor/base/pages.js';
import { DATA, differences, GDT, guest, makeBt, runBt, runNative, Selectors, USER_STACK_TOP } from './bt-machine.js';

const GDT_PAGE = (GDT >>> 12) as Ppn;
const ENTRIES = 7;
const BESIDE = GDT + 0x800;
const USER = 0x30000;

/** Enough stores beside the table that it is given up. */
const manyStores = (stores: number, label = 'again') => `
        mov ebx, ${BESIDE}
        mov ecx, ${stores}
 ${label}: mov [ebx], ecx
        add ebx, 4
        dec ecx
        jnz ${label}`;

const enterUser = `
        push ${Selectors.USER_DATA}
        push ${USER_STACK_TOP}
        push 2
        push ${Selectors.USER_CODE}
        push ${USER}
        iretd`;

function compare(start: ReturnType<typeof guest>) {
  const machine = makeBt(start);
  const bt = runBt(machine);
  expect(bt.why).toBe('halt');
  expect(differences(runNative(start), bt)).toEqual([]);
  expect([...machine.vcpu.descriptors.audit(), ...machine.technique.audit()]).toEqual([]);
  return machine;
}

const isWatched = ({ vcpu }: ReturnType<typeof makeBt>): boolean => vcpu.traces.isWatchedFor(GDT_PAGE, 'descriptors');

describe('stores beside a descriptor table', () => {
  test('end its traces when they are as many as its entries, and no sooner', () => {
    expect(isWatched(compare(guest(`${manyStores(ENTRIES - 1)}\n hlt`)))).toBe(true);
    expect(isWatched(compare(guest(`${manyStores(ENTRIES)}\n hlt`)))).toBe(false);
  });

  test('cost no more than so many traces', () => {
    const few = compare(guest(`${manyStores(ENTRIES)}\n hlt`)).vm.counters;
    const many = compare(guest(`${manyStores(400)}\n hlt`)).vm.counters;
    expect(many.traceFaults).toBe(few.traceFaults);
    expect(many.callouts - few.callouts).toBeLessThan(100);
  });

  test('leave stores into the table itself alone, however many there are', () => {
    const machine = compare(guest(`${manyStores(ENTRIES).replace(`${BESIDE}`, `${GDT + 0x18}`)}\n hlt`));
    expect(isWatched(machine)).toBe(true);
  });
});

describe('a table that was given up', () => {
  test('comes back with the load of a segment, as it is by then', () => {
    const machine = compare(
      guest(`${manyStores(20)}
        mov word [${GDT + 0x32}], ${(DATA + 0x40) & 0xffff}
        mov dword [${DATA + 0x40}], 0x12345678
        mov eax, ${Selectors.TLS}
        mov es, ax
        mov edx, [es:0]
        hlt`),
    );
    expect(machine.vcpu.thread.s[2]).toBe(0x12345678);
    expect(isWatched(machine)).toBe(true);
    expect(machine.vm.counters.hiddenFaults).toBeGreaterThan(0);
  });

  test('is given up again, and comes back again', () => {
    const loads = [1, 2, 3].map(
      n => `${manyStores(20, `again${n}`)}\n mov eax, ${Selectors.TLS}\n mov fs, ax\n mov dword [fs:${n * 4}], ${n}`,
    );
    const machine = compare(guest(`${loads.join('\n')}\n hlt`));
    expect(isWatched(machine)).toBe(true);
  });

  test('refuses what the guest refuses: nothing behind the limit, no gate, no writing to code', () => {
    for (const selector of [0x38, Selectors.TSS, 0x40, 0x0c]) {
      compare(guest(`${manyStores(20)}\n mov eax, ${selector}\n mov es, ax\n hlt`));
    }
  });

  test('is there for user code, which reads it without faults', () => {
    const machine = compare(
      guest(`${manyStores(20)}\n${enterUser}`, {
        [USER]: `
        mov esi, ${Selectors.TLS}
        verw si
        setz cl
        lar edx, esi
        setz ch
        mov esi, ${Selectors.USER_DATA}
        mov gs, si
        mov esi, ${Selectors.TLS}
        lsl edi, esi
        int 0x80`,
      }),
    );
    expect(machine.vcpu.thread.s[1]! & 0xffff).toBe(0x0101);
    expect(isWatched(machine)).toBe(true);
  });

  test('is not missed by a kernel that looks at descriptors', () => {
    compare(
      guest(`${manyStores(20)}\n mov esi, ${Selectors.TLS}\n lar edx, esi\n setz cl\n lsl edi, esi\n verr si\n hlt`),
    );
  });

  test('leaves accessed bits with the guest', () => {
    const start = guest(`
        mov eax, ${Selectors.USER_DATA}
        mov es, ax
        ${manyStores(20)}
        mov edx, [${GDT + Selectors.USER_DATA - 3 + 4}]
        hlt`);
    new DataView(start.memory.buffer).setUint32(GDT + 0x24, 0x00cff200, true);
    compare(start);
  });
});

test('a new table is watched, whatever became of the old one', () => {
  const machine = compare(
    guest(`${manyStores(20)}
        mov word [${DATA}], 0x37
        mov dword [${DATA + 2}], ${GDT}
        lgdt [${DATA}]
        mov eax, ${Selectors.TLS}
        mov es, ax
        hlt`),
  );
  expect(machine.vcpu.traces.users(GDT_PAGE, 'descriptors')).toBe(1);
});
