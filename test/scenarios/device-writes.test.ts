/**
 * A device that writes guest memory by itself changes code that is hot, code that is about to be executed, instructions in two pages,
 * and page tables: the guest sees it at once, natively and under the monitor, and whichever way the engine works the recording is
 * the same byte for byte.
 */
import { describe, expect, test } from 'vitest';
import { DMA_IRQ, DMA_MMIO, DMA_PORT, DmaRegister, dmaDevice } from '../vm/dma-device.js';
import { PROLOGUE, pagingBy } from '../vm/programs.js';
import { sameInEverySetting } from './every-setting.js';
import { MODES } from './run-guest.js';

const ROUNDS = 24;
/** Enough for code to be compiled in the setting `normal`. */
const HOT = 400;
/** Of what is written before each execution. */
const COLD = 15;
const FUNCTION = 0x200000;

/** MOV EAX, imm32; RET. */
const returning = (value: number) =>
  Uint8Array.of(0xb8, value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24, 0xc3);
const BLOCKS = [0x10001, 0x20003, 0x7, 0x1000005].map(returning);
/** Without the RET: an instruction among others. */
const LOADS = BLOCKS.map(block => block.slice(0, 5));
const returnedIn = (round: number): number => new DataView(BLOCKS[round % BLOCKS.length]!.buffer).getInt32(1, true);

const port = (register: number, value: string): string => `
        mov edx, ${DMA_PORT + register}
        mov eax, ${value}
        out dx, eax`;
/** Has the device write block number EBP to an address, and waits until it has. */
const transfer = (label: string, address: number | string): string => `${port(DmaRegister.ADDRESS, String(address))}
        ${port(DmaRegister.BLOCK, 'ebp')}
        ${port(DmaRegister.GO, '3000')}
        mov edx, ${DMA_PORT + DmaRegister.BUSY}
 ${label}: in eax, dx
        test eax, eax
        jnz ${label}`;
/** Calls `target` so often that it is hot, and adds up in ESI what it returns. */
const callHot = (label: string, target: string): string => `
        mov ecx, ${HOT}
 ${label}: mov ebx, ${target}
        call ebx
        add esi, eax
        dec ecx
        jnz ${label}`;
/** Writes a block to a page of its own from FUNCTION on. */
const storing = (block: Uint8Array, i: number): string =>
  [...block].map((byte, at) => `mov byte [${FUNCTION + i * 4096 + at}], ${byte}\n`).join('');
/** ESI as four bytes on the console; then the machine goes off. */
const REPORT = `
        mov ecx, 4
 digit: mov eax, esi
        call put
        shr esi, 8
        dec ecx
        jnz digit
        jmp off`;

interface Scenario {
  readonly source: string;
  /** What the device writes; functions if absent. */
  readonly blocks?: readonly Uint8Array[];
  /** What ESI is in the end, where time does not matter. */
  readonly sum?: number;
}

const rounds = (first: number, last: number, each: (round: number) => number): number => {
  let sum = 0;
  for (let round = first; round >= last; round--) sum = (sum + each(round)) | 0;
  return sum >>> 0;
};

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'a hot function, between its calls': {
    source: `mov esi, 0
        mov ebp, ${ROUNDS}
 round: ${transfer('wait', FUNCTION)}
        ${callHot('hot', String(FUNCTION))}
        dec ebp
        jnz round
        ${REPORT}`,
    sum: rounds(ROUNDS, 1, round => HOT * returnedIn(round)),
  },
  'an instruction in two pages, both halves': {
    source: `mov esi, 0
        mov ebp, ${ROUNDS}
 round: ${transfer('wait', FUNCTION + 4094)}
        ${callHot('hot', String(FUNCTION + 4094))}
        dec ebp
        jnz round
        ${REPORT}`,
    sum: rounds(ROUNDS, 1, round => HOT * returnedIn(round)),
  },
  'the instruction behind the store that starts the device': {
    source: `mov esi, 0
        mov ebp, ${ROUNDS}
 round: mov ecx, ${COLD}
 again: mov dword [${DMA_MMIO + DmaRegister.ADDRESS}], patched
        mov [${DMA_MMIO + DmaRegister.BLOCK}], ecx
        mov dword [${DMA_MMIO + DmaRegister.GO}], 0
patched: mov eax, 0
        add esi, eax
        dec ecx
        jnz again
        dec ebp
        jnz round
        ${REPORT}`,
    blocks: LOADS,
    sum: rounds(ROUNDS, 1, () => rounds(COLD, 1, returnedIn)),
  },
  'the block that is being executed, by the port access in it': {
    source: `mov esi, 0
        mov ebp, ${ROUNDS}
        ${port(DmaRegister.ADDRESS, 'patched')}
 round: mov ecx, ${COLD}
 again: mov edx, ${DMA_PORT + DmaRegister.BLOCK}
        mov eax, ecx
        out dx, eax
        mov edx, ${DMA_PORT + DmaRegister.GO}
        mov eax, 0
        out dx, eax
        jmp short patched
 back:  add esi, eax
        dec ecx
        jnz again
        dec ebp
        jnz round
        ${REPORT}
 patched: mov eax, 0
        nop
        jmp back`,
    blocks: LOADS,
    sum: rounds(ROUNDS, 1, () => rounds(COLD, 1, returnedIn)),
  },
  'a page table that maps one function and then another': {
    source: `${BLOCKS.map(storing).join('')}
        mov dword [0x300000], 0x00000087
        mov dword [0x300004], 0x00301007
        ${pagingBy(0x300000)}
        mov esi, 0
        mov ebp, ${ROUNDS}
 round: ${transfer('wait', 0x301000)}
        invlpg [0x400000]
        ${callHot('hot', '0x400000')}
        dec ebp
        jnz round
        ${REPORT}`,
    blocks: BLOCKS.map((_, i) => Uint8Array.of(0x07, i * 0x10, 0x20, 0)),
    sum: rounds(ROUNDS, 1, round => HOT * returnedIn(round)),
  },
  'a hot function, while it is being called': {
    source: `mov eax, handler
        mov ecx, ${0x20 + DMA_IRQ}
        call gate
        mov al, ${0xff & ~(1 << DMA_IRQ)}
        out 0x21, al
        mov byte [${FUNCTION}], 0xc3
        mov esi, 0
        mov ebp, ${ROUNDS * 4}
        ${port(DmaRegister.ADDRESS, String(FUNCTION))}
        call next
        sti
 more:  mov ebx, ${FUNCTION}
        call ebx
        add esi, eax
        cmp ebp, 0
        jne more
        cli
        ${REPORT}
 next:  ${port(DmaRegister.BLOCK, 'ebp')}
        ${port(DmaRegister.GO, '20011')}
        ret
 handler: pushad
        mov al, 0x20
        out 0x20, al
        popad
        dec ebp
        jz last
        push eax
        push edx
        call next
        pop edx
        pop eax
 last:  iretd`,
  },
};

describe.each(Object.keys(SCENARIOS))('%s', name => {
  test.each(MODES)('%s', mode => {
    const { source, blocks = BLOCKS, sum } = SCENARIOS[name]!;
    const printed = sameInEverySetting(`${PROLOGUE}\nmain: ${source}`, mode, [dmaDevice(blocks)]);
    expect(printed).toHaveLength(4);
    const value = [...printed].reduce((total, char, i) => total + char.charCodeAt(0) * 256 ** i, 0);
    if (sum !== undefined) expect(value).toBe(sum);
  });
});
