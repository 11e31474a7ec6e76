import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import { describe, expect, test } from 'vitest';
import { VMI_VIRTUAL_TOP } from '../../../src/hypervisor/monitor/hole.js';
import { CALL, CALLS } from '../../../src/hypervisor/monitor/vmi/calls.js';
import { buildVmiRom, INIT_CALL } from '../../../src/hypervisor/monitor/vmi/rom.js';

const rom = buildVmiRom();
const view = new DataView(rom.bytes.buffer);
const text = (at: number): string => {
  let end = at;
  while (rom.bytes[end] !== 0) end++;
  return String.fromCharCode(...rom.bytes.subarray(at, end));
};

describe('header', () => {
  test('is an option ROM of whole sectors whose bytes sum to 0', () => {
    expect([...rom.bytes.subarray(0, 2)]).toEqual([0x55, 0xaa]);
    expect(rom.bytes.length % 512).toBe(0);
    expect(view.getUint8(2) * 512).toBe(rom.bytes.length);
    expect(rom.bytes.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
    // Far return, in 16-bit code as in 32-bit code.
    expect(view.getUint8(3)).toBe(0xcb);
  });

  test('passes the checks of a Linux kernel, in their order', () => {
    expect(view.getUint16(0, true)).toBe(0xaa55);
    expect(view.getUint32(8, true)).toBe(0x696d5663);
    expect(String.fromCharCode(...rom.bytes.subarray(8, 12))).toBe('cVmi');
    expect([view.getUint8(0xd), view.getUint8(0xc)]).toEqual([3, 0]);
    const pci = view.getUint16(0x18, true);
    expect(pci).not.toBe(0);
    expect(String.fromCharCode(...rom.bytes.subarray(pci, pci + 4))).toBe('PCIR');
    expect([view.getUint16(pci + 4, true), view.getUint16(pci + 6, true)]).toEqual([0x15ad, 0x0801]);
    expect([view.getUint8(pci + 0x13), view.getUint8(pci + 0x12)]).toEqual([1, 0]);
    expect(text(view.getUint16(0x16, true))).toBe('GPL');
    expect(view.getUint32(0x10, true)).toBe(VMI_VIRTUAL_TOP);
    // Linux builds its fixmaps right below: 4 MiB aligned.
    expect(VMI_VIRTUAL_TOP & 0x3fffff).toBe(0);
  });

  test('names its maker in the PnP header, which has a checksum of its own', () => {
    const pnp = view.getUint16(0x1a, true);
    expect(String.fromCharCode(...rom.bytes.subarray(pnp, pnp + 4))).toBe('$PnP');
    expect(text(view.getUint16(pnp + 0x0e, true))).toBe('VMware, Inc.');
    expect(text(view.getUint16(pnp + 0x10, true))).toBe('Hypervisor OPROM');
    const bytes = rom.bytes.subarray(pnp, pnp + 16 * view.getUint8(pnp + 5));
    expect(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
  });

  test('has jumps at the two fixed entries', () => {
    for (const at of [0x80, 0x88]) {
      expect(view.getUint8(at)).toBe(0xe9);
      const target = at + 5 + view.getInt32(at + 1, true);
      expect(target).toBeGreaterThanOrEqual(0x90);
      expect(target).toBeLessThan(rom.bytes.length);
    }
  });
});

describe('calls', () => {
  test('the list has the 74 calls of API 3.0 at their indices', () => {
    expect(CALLS.length).toBe(74);
    // Spot checks against the published numbering.
    const published = {
      CPUID: 0,
      SetGDT: 3,
      UpdateKernelStack: 14,
      SetCR3: 17,
      EnableInterrupts: 29,
      IRET: 33,
      Halt: 35,
    };
    const more = {
      SetPxE: 38,
      UpdatePxE: 40,
      AllocatePage: 44,
      FlushTLB: 47,
      INB: 50,
      SetIOPLMask: 61,
      SetLazyMode: 73,
    };
    const time = { IODelay: 65, GetCycleFrequency: 66, GetCycleCounter: 67, SetAlarm: 68, GetWallclockTime: 70 };
    for (const [name, index] of Object.entries({ ...published, ...more, ...time })) {
      expect(CALL[name as keyof typeof CALL], name).toBe(index);
    }
  });

  test('every offered call has code, every stub has its hypercall, nothing else does', () => {
    const withSite = new Set(rom.sites.values());
    for (const { index, how, name } of CALLS) {
      expect(rom.entries.has(index), name).toBe(how === 'fast' || how === 'hypercall');
      if (how === 'hypercall') expect(withSite.has(index), name).toBe(true);
      if (how === 'none' || how === 'nop') expect(withSite.has(index), name).toBe(false);
    }
    expect(withSite.has(INIT_CALL)).toBe(true);
  });

  test('a hypercall site is behind INT 0xF1 and nowhere else', () => {
    const behindInt = new Set<number>();
    for (const { instruction, end } of decodeCode()) if (instruction.startsWith('int')) behindInt.add(end);
    expect(new Set(rom.sites.keys())).toEqual(behindInt);
  });

  test('where the caller’s DS may be anything, memory is reached through SS', () => {
    const unsafe: string[] = [];
    const csssNames = [
      'EnableInterrupts',
      'DisableInterrupts',
      'GetInterruptMask',
      'SetInterruptMask',
      'IRET',
      'SYSEXIT',
    ];
    const starts = csssNames.map(name => rom.entries.get(CALL[name as keyof typeof CALL])!);
    const gates = [rom.gates[0]!, rom.bytes.length];
    const all = [...rom.entries.values(), ...rom.gates].sort((a, b) => a - b);
    const ranges = [...starts.map(start => [start, all.find(at => at > start)!] as const), gates as [number, number]];
    for (const { offset, instruction } of decodeCode()) {
      if (!ranges.some(([from, to]) => offset >= from && offset < to)) continue;
      if (/\[/.test(instruction) && !/\[(ss:|esp)/.test(instruction)) unsafe.push(instruction);
    }
    expect(unsafe).toEqual([]);
  });
});

test('the code is as blessed', () => {
  const listing = disassemble();
  const file = new URL('../../../fixtures/vmi/rom.asm', import.meta.url);
  if (process.env['BLESS']) {
    mkdirSync(new URL('.', file), { recursive: true });
    writeFileSync(file, listing);
  }
  expect(listing).toBe(readFileSync(file, 'utf8'));
});

/** Everything from the Init body to the padding. */
function decodeCode(): { offset: number; end: number; bytes: string; instruction: string }[] {
  const start = rom.labels.get('init')!;
  const end = rom.labels.get(`gate_${rom.gates.length - 1}_kernel`)! + 64;
  const decoder = new Decoder(32, rom.bytes.subarray(start, end), DecoderOptions.None);
  decoder.ip = BigInt(start);
  const formatter = new Formatter(FormatterSyntax.Nasm);
  const out = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    const offset = Number(instruction.ip);
    const next = Number(instruction.nextIP);
    const line = formatter.format(instruction);
    // Padding behind the last instruction.
    if (rom.bytes.subarray(offset).every((byte, i, rest) => byte === 0 || i === rest.length - 1)) break;
    const bytes = Array.from(rom.bytes.subarray(offset, next), byte => byte.toString(16).padStart(2, '0')).join('');
    out.push({ offset, end: next, bytes, instruction: line });
    instruction.free();
  }
  formatter.free();
  decoder.free();
  return out;
}

function disassemble(): string {
  const names = new Map<number, string[]>();
  const nameAt = (at: number, name: string) => names.set(at, [...(names.get(at) ?? []), name]);
  for (const [label, at] of rom.labels) {
    const call = /^call_(\d+)$/.exec(label);
    nameAt(at, call ? `${CALLS[Number(call[1])]!.name} (${call[1]})` : label);
  }
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  const lines = ['; VMI ROM: header and relocation rows {offset, type}, then code. Regenerate with BLESS=1.'];
  for (let at = 0; at < rom.labels.get('init')!; at += 16) {
    const row = rom.bytes.subarray(at, Math.min(at + 16, rom.labels.get('init')!));
    lines.push(`${hex(at, 4)}  ${Array.from(row, byte => hex(byte, 2)).join(' ')}`);
  }
  for (const { offset, bytes, instruction } of decodeCode()) {
    for (const name of names.get(offset) ?? []) lines.push(`${name}:`);
    lines.push(`${hex(offset, 4)}  ${bytes.padEnd(22)}  ${instruction}`);
  }
  return `${lines.join('\n')}\n`;
}
