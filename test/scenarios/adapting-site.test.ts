/**
 * One store and one load of a kernel whose target changes: a watched page table, plain memory, device memory, a page of code, and back.
 * Whoever runs it, and whether the site is a copy or a routine just then, the same is stored and loaded.
 */
import { describe, expect, test } from 'vitest';
import { VmHost } from '../../src/hypervisor/vm/host.js';
import { DMA_MMIO, DmaRegister, dmaDevice } from '../vm/dma-device.js';
import { image, PROLOGUE } from '../vm/programs.js';
import { sameInEverySetting } from './every-setting.js';
import { consoleOf, MODES } from './run-guest.js';

const QUANTA_MAX = 60;
const DIRECTORY = 0x200000;
const TABLE = 0x201000;
const PLAIN = 0x210000;
/** Where the device writes, by the last value that the site has stored to its register. */
const WRITTEN = PLAIN + 0x804;
/** What it writes. */
const BLOCK = Uint8Array.of(0x78, 0x56, 0x34, 0x12);
/** An entry that maps what nobody uses. */
const ENTRY = TABLE + 0xff0;
const CODE_PAGE = 0x220000;

/** Targets in order, with how often each is stored to and loaded from; 64 in vain make an adapted site a copy again. */
const ROUNDS: readonly (readonly [target: number, count: number])[] = [
  [PLAIN, 10],
  [ENTRY, 20],
  [PLAIN, 100],
  [ENTRY, 40],
  [DMA_MMIO + DmaRegister.ADDRESS, 30],
  [PLAIN, 70],
  [CODE_PAGE + 0x100, 30],
  [DMA_MMIO + DmaRegister.ADDRESS, 3],
  [PLAIN, 200],
  [ENTRY, 90],
];
const isDevice = (target: number): boolean => target >= DMA_MMIO && target < DMA_MMIO + 0x1000;

const round = ([target, count]: (typeof ROUNDS)[number], n: number): string => `
        mov ebx, ${target}
        mov ecx, ${count}
        xor esi, esi
 r${n}: lea edx, [ecx*4+${PLAIN + 0x800}]
        call store
        call load
        add esi, eax
        call ${CODE_PAGE}
        dec ecx
        jnz r${n}
        mov eax, esi
        call print
        ${
          isDevice(target)
            ? `mov dword [${WRITTEN}], 0
        mov dword [${DMA_MMIO + DmaRegister.BLOCK}], 0
        mov dword [${DMA_MMIO + DmaRegister.GO}], 0
        mov eax, [${WRITTEN}]
        call print`
            : ''
        }`;

const SOURCE = `${PROLOGUE}
 main:  mov edi, ${TABLE}
        mov eax, 3
 fill:  stosd
        add eax, 4096
        cmp eax, 0x3f0000
        jb fill
        mov dword [${DIRECTORY}], ${TABLE | 3}
        mov eax, ${DIRECTORY}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        mov byte [${CODE_PAGE}], 0xc3
        ${ROUNDS.map(round).join('\n')}
        jmp off
 store: mov [ebx], edx
        ret
 load:  mov eax, [ebx]
        ret
 print: push ecx
        mov ecx, eax
        mov edi, 4
 digit: mov eax, ecx
        call put
        shr ecx, 8
        dec edi
        jnz digit
        pop ecx
        ret`;

/** What has to be printed: a device register reads as ones. */
const expected = ROUNDS.flatMap(([target, count]) => {
  let sum = 0;
  for (let i = count; i > 0; i--) sum = (sum + (isDevice(target) ? -1 : i * 4 + PLAIN + 0x800)) | 0;
  return isDevice(target) ? [sum >>> 0, new DataView(BLOCK.buffer).getUint32(0, true)] : [sum >>> 0];
});

const wordsOf = (printed: string): number[] =>
  Array.from({ length: printed.length / 4 }, (_, i) =>
    [3, 2, 1, 0].reduce((value, byte) => value * 256 + printed.charCodeAt(i * 4 + byte), 0),
  );

describe('a site whose target changes', () => {
  test.each(MODES)('stores and loads the same under %s, in every setting of the engine', mode => {
    expect(wordsOf(sameInEverySetting(SOURCE, mode, [dmaDevice([BLOCK])]))).toEqual(expected);
  });

  test('is adapted under binary translation, and goes back', () => {
    const host = new VmHost(
      {
        name: 'test',
        pcpus: 1,
        memoryMib: 64,
        costs: 'xeon-5160',
        images: { image: image(SOURCE) },
        vms: [
          { name: 'vm', memoryMib: 8, monitor: 'bt', vmi: false, image: 'image', append: '', powerOn: true, tcKib: 4 },
        ],
        sampleIntervalMs: 1000,
      },
      [dmaDevice([BLOCK])],
    );
    for (let i = 0; i < QUANTA_MAX && host.anyPoweredOn; i++) host.advance(host.nowCycles + host.quantumCycles);
    expect(wordsOf(consoleOf(host.drainEvents()))).toEqual(expected);
    const { counters } = host.sample().vms[0]!;
    // The store and the load, each at least once in both directions, under a translation cache of one page.
    expect(counters.tcAdapted).toBeGreaterThanOrEqual(3);
    expect(counters.tcReverted).toBeGreaterThanOrEqual(2);
    expect(counters.tcAdapted).toBeGreaterThan(counters.tcReverted);
  });
});
