/**
 * Why binary translation exists: POPF is sensitive and does not trap. A kernel that was written for ring 0 loses its interrupt
 * flag silently when it runs in ring 1, and behaves as on bare hardware when it is translated.
 */
import { expect, test } from 'vitest';
import { XEON_5160 } from '../../src/hypervisor/machine/costs/xeon-5160.js';
import { CodeCache } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { Context } from '../../src/hypervisor/machine/cpu/context.js';
import { Attr, Flag, S, Seg } from '../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import {
  CODE,
  DATA,
  type Guest,
  guest,
  makeBt,
  RAM_BYTES,
  runBt,
  runNative,
  setGate,
} from '../monitor/bt/bt-machine.js';

/**
 * What every kernel does: saves the flags, closes a critical section, restores them, and expects interrupts to be open again.
 * No instruction of it is privileged with POPF closing the section, so nothing traps in ring 1. EBX: flags inside; ECX: after.
 */
const KERNEL = `
        push 0x202
        popf
        pushf
        pop esi
        push 0x2
        popf
        pushf
        pop ebx
        push esi
        popf
        pushf
        pop ecx
        mov eax, cs
   stop: jmp stop`;

/** Runs the guest untranslated at CPL 1 with ring-1 descriptors, IOPL 0 and hardware interrupts open. */
function runInRing1(start: Guest): Int32Array {
  const memory = new MachineMemory(RESERVED_BYTES + 2 * 1024 * 1024);
  const base = RESERVED_BYTES;
  memory.writeBytes(base, start.memory);
  const context = new Context(
    {
      memory,
      costs: XEON_5160,
      ports: { read: () => 0, write: () => {} },
      mmio: { read: () => 0, write: () => {} },
      interrupts: { acknowledge: () => 0 },
      physicalBase: base,
      physicalBytes: RAM_BYTES,
      isDeviceMemory: () => false,
      ring0Escapes: true,
      onUnimplemented: () => {},
      cpuid: () => [0, 0, 0, 0],
      readMsr: () => undefined,
      writeMsr: () => false,
    },
    new CodeCache(memory),
  );
  const flat = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G | (1 << Attr.DPL_SHIFT);
  context.setCr0(0x11);
  for (const seg of [Seg.ES, Seg.SS, Seg.DS]) context.setSegment(seg, 0x11, 0, -1, flat);
  context.setSegment(Seg.CS, 0x09, 0, -1, flat | Attr.CODE);
  context.setCpl(1);
  context.writeEflags(Flag.IF | Flag.FIXED);
  context.s[S.EIP] = start.eip;
  context.s[S.ESP] = start.esp;
  expect(context.run(2_000).kind).toBe('deadline');
  return context.s;
}

const [EBX, ECX, EAX] = [S.EBX, S.ECX, S.EAX];

test('the kernel works on bare hardware', () => {
  const end = runNative(guest(KERNEL), 2_000);
  expect(end.registers[EBX]! & Flag.IF).toBe(0);
  expect(end.registers[ECX]! & Flag.IF).toBe(Flag.IF);
});

test('in ring 1 without translation POPF silently leaves the interrupt flag alone', () => {
  const s = runInRing1(guest(KERNEL));
  // The critical section is open: hardware says so itself, and no exception has told anybody.
  expect(s[EBX]! & Flag.IF).toBe(Flag.IF);
  // PUSH CS and MOV from CS give the ring away, too.
  expect(s[EAX]! & 3).toBe(1);
});

test('under binary translation the same bytes work again', () => {
  const start = guest(KERNEL);
  const end = runBt(makeBt(start), 200_000);
  const native = runNative(start, 2_000);
  expect(end.registers[EBX]).toBe(native.registers[EBX]);
  expect(end.registers[ECX]).toBe(native.registers[ECX]);
  expect(end.registers[EAX]).toBe(native.registers[EAX]);
});

test('an interrupt stays out of the critical section, natively and translated', () => {
  const start = guest(
    `mov edi, ${DATA}
     push 0x202
     popf
     push 0x2
     popf
     out 0x99, al
     inc ebx
     inc ebx
     push 0x202
     popf
     inc ebx
     cli
     hlt`,
    { 98304: 'mov [edi], ebx\n iretd' },
  );
  setGate(start.memory, 0x20, 0x18000, 0);
  const native = runNative(start);
  const bt = runBt(makeBt(start));
  const seen = (memory: Uint8Array): number => new DataView(memory.buffer).getUint32(DATA, true);
  expect(seen(native.memory)).toBe(2);
  expect(seen(bt.memory)).toBe(2);
  expect(CODE).toBe(start.eip);
});
