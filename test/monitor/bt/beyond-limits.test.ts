/**
 * The monitor cuts segments off below its hole. Guest code that has every right to go beyond must not notice: offsets that wrap, and a
 * kernel's own mappings at the top of linear space. A bare processor and BT, everything that the guest can see equal.
 */
import { describe, expect, test } from 'vitest';
import {
  CODE,
  DATA,
  differences,
  guest,
  makeBt,
  runBt,
  runNative,
  Selectors,
  setGate,
  USER_STACK_TOP,
} from './bt-machine.js';

const DIRECTORY = 0x50000;
const LOW_TABLE = 0x51000;
const TOP_TABLE = 0x52000;
const GDT = 0x1000;
const USER = 0x30000;
const PF_HANDLER = 0x18000;

/** As `guest`, with `0x33` a 4 GiB user segment at DATA: what thread-local storage has. */
function withTls(source: string, more: Readonly<Record<number, string>> = {}) {
  const start = guest(source, more);
  new DataView(start.memory.buffer).setUint32(GDT + 0x30, ((DATA & 0xffff) << 16) | 0xffff, true);
  new DataView(start.memory.buffer).setUint32(GDT + 0x34, 0x00cff300 | (DATA >>> 16), true);
  return start;
}

/** Identity mapping of low memory; the last page of linear space is at 0x60000, the one before at 0x61000 and read-only. */
const PAGING = `
        mov edi, ${LOW_TABLE}
        mov eax, 7
        mov ecx, 256
 map:   mov [edi], eax
        add eax, 0x1000
        add edi, 4
        dec ecx
        jnz map
        mov dword [${DIRECTORY}], ${LOW_TABLE | 7}
        mov dword [${DIRECTORY + 0xffc}], ${TOP_TABLE | 7}
        mov dword [${TOP_TABLE + 0xffc}], 0x60003
        mov dword [${TOP_TABLE + 0xff8}], 0x61001
        mov eax, ${DIRECTORY}
        mov cr3, eax
        mov eax, 0x80010011
        mov cr0, eax`;

/** Where a page fault leaves its error code in EBX and CR2 in EDX, and halts. */
const WITH_HANDLER = { [PF_HANDLER]: 'mov ebx, [esp]\nmov edx, cr2\nhlt' };

function compare(start: ReturnType<typeof guest>) {
  setGate(start.memory, 14, PF_HANDLER, 0);
  const native = runNative(start);
  const machine = makeBt(start);
  const bt = runBt(machine);
  expect(differences(native, bt)).toEqual([]);
  expect(machine.technique.audit()).toEqual([]);
  expect(machine.vcpu.shadow.audit()).toEqual([]);
  expect(native.why).toBe('halt');
  return { native, counters: machine.vm.counters };
}

describe('offsets that wrap', () => {
  const ACCESSES = `
        mov ax, 0x33
        mov gs, ax
        mov dword [gs:0xfffffffc], 0x12345678
        mov edx, -8
        mov eax, [gs:0xfffffffc]
        add [gs:edx], eax
        inc byte [gs:edx+1]
        mov ecx, -1
        mov ebx, [gs:ecx*4-8]
        mov ax, gs
        mov ds, ax
        mov edi, -0x20
        mov esi, -0x10
        xchg esi, edi
        push ds
        pop es
        mov byte [edi], 0x5a
        mov ecx, 4
        cld
        rep movsb`;

  test('in the kernel', () => {
    const { native, counters } = compare(withTls(`${ACCESSES}\nhlt`));
    expect(new DataView(native.memory.buffer).getUint32(DATA - 4, true)).toBe(0x12345678);
    expect(counters.trappedInstructions).toBeGreaterThan(5);
  });

  test('in a program', () => {
    const enter = `push ${Selectors.USER_DATA}\npush ${USER_STACK_TOP}\npush 0x202\npush ${Selectors.USER_CODE}\npush ${USER}\niretd`;
    const { native } = compare(withTls(enter, { [USER]: `${ACCESSES}\nint 0x80` }));
    expect(new DataView(native.memory.buffer).getUint32(DATA - 8, true)).not.toBe(0);
  });

  test('a limit of the guest’s own is a fault all the same', () => {
    // 0x33 of the standard guest ends at 64 KiB.
    const { native } = compare(guest('mov ax, 0x33\nmov gs, ax\nmov eax, [gs:0xfffffff0]\nhlt'));
    expect(native.eip).toBe(0x4000 + 13 * 4 + 1);
  });
});

describe('mappings under the hole', () => {
  test('a kernel reads and writes its own page', () => {
    const { native, counters } = compare(
      guest(`${PAGING}
        mov dword [0x60ff8], 0x11223344
        mov eax, [0xfffffff8]
        mov [0xfffffffc], eax
        add dword [0xfffffff0], 7
        xchg ebx, [0xfffffffc]
        push dword [0xfffffff8]
        pop dword [0xffffffe0]
        mov esi, 0xfffffff0
        mov edi, ${DATA}
        mov ecx, 4
        rep movsd
        mov edi, 0xffffff00
        mov esi, ${CODE}
        mov ecx, 16
        rep movsb
        mov ecx, [${TOP_TABLE + 0xffc}]
        hlt`),
    );
    const view = new DataView(native.memory.buffer);
    expect(view.getUint32(DATA + 8, true)).toBe(0x11223344);
    // Accessed and dirty bits of the guest's entry.
    expect(native.registers[1]! & 0x60).toBe(0x60);
    expect(counters.trappedInstructions).toBeGreaterThan(20);
  });

  test('an access across two of its pages', () => {
    const { native } = compare(
      guest(`${PAGING}
        mov dword [0x61ffc], 0xaabbccdd
        mov dword [0x60000], 0x01020304
        mov eax, [0xffffeffe]
        mov ecx, [0xffffefff]
        hlt`),
    );
    expect(native.registers[0]! >>> 0).toBe(0x0304aabb);
  });

  test('a read-only page, a page that is not there, and a program that looks: page faults with the address', () => {
    const readOnly = compare(guest(`${PAGING}\nmov [0xffffe010], eax\nhlt`, WITH_HANDLER));
    expect(readOnly.native.registers[3]).toBe(3);
    expect(readOnly.native.registers[2]! >>> 0).toBe(0xffffe010);
    const absent = compare(guest(`${PAGING}\ncmp dword [0xffffd010], 1\nhlt`, WITH_HANDLER));
    expect(absent.native.registers[3]).toBe(0);
    const enter = `push ${Selectors.USER_DATA}\npush ${USER_STACK_TOP}\npush 0x202\npush ${Selectors.USER_CODE}\npush ${USER}\niretd`;
    const program = { ...WITH_HANDLER, [USER]: 'mov ax, 0x23\nmov ds, ax\nmov eax, [0xffffff00]\nint 0x80' };
    const user = compare(guest(`${PAGING}\n${enter}`, program));
    expect(user.native.registers[3]).toBe(5);
  });

  test('a site that was adapted, too', () => {
    // Four stores to a watched page (the table of low memory), then one to each kind of place up there.
    const { counters } = compare(
      guest(
        `${PAGING}
        mov esi, targets
        xor ecx, ecx
 next:  mov edi, [esi+ecx*4]
        mov eax, [edi]
        mov [edi], eax
        inc ecx
        cmp ecx, 10
        jb next
        hlt
 targets: dd ${LOW_TABLE + 0x3c0}, ${LOW_TABLE + 0x3c4}, ${LOW_TABLE + 0x3c8}, ${LOW_TABLE + 0x3cc}, ${LOW_TABLE + 0x3d0}
        dd ${LOW_TABLE + 0x3d4}, 0xfffffff0, 0xfffffff4, ${LOW_TABLE + 0x3d8}, 0xffffd000`,
        WITH_HANDLER,
      ),
    );
    expect(counters.tcAdapted).toBeGreaterThan(0);
  });

  test('a page table under the hole: what the store changes is followed', () => {
    // The page before the last one is the table of the top itself, mapped writable; its entry for FFFFC000 changes twice.
    const { native } = compare(
      guest(`${PAGING}
        mov dword [${TOP_TABLE + 0xff8}], ${TOP_TABLE | 3}
        mov dword [0x62000], 0x62626262
        mov dword [0x63000], 0x63636363
        mov dword [0xffffeff0], 0x62003
        mov eax, [0xffffc000]
        mov dword [0xffffeff0], 0x63003
        invlpg [0xffffc000]
        mov ecx, [0xffffc000]
        mov dword [0xffffe000], 0x62003
        mov ebx, cr3
        mov cr3, ebx
        mov edx, [0xffc00000]
        hlt`),
    );
    expect(native.registers.slice(0, 3)).toEqual([0x62626262, 0x63636363, 0x62626262]);
  });
});
