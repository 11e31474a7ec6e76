/** The committed image: it is what its hash says, and its code keeps the rules that make it a VMI guest. */
import { Code, Decoder, DecoderOptions } from 'iced-x86';
import { describe, expect, test } from 'vitest';
import { GUEST_PROGRAMS, loadGuestImage, loadGuestSymbols } from '../../src/guest/image.js';

const image = loadGuestImage();
const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
const symbols = loadGuestSymbols();
const addressOf = (name: string): number => {
  const symbol = symbols.find(candidate => candidate.name === name);
  if (!symbol) throw new Error(`no symbol ${name}`);
  return symbol.address;
};

const segments = Array.from({ length: view.getUint16(44, true) }, (_, i) => {
  const at = view.getUint32(28, true) + 32 * i;
  const [type, offset, linear, physical, fileBytes] = [0, 4, 8, 12, 16].map(field => view.getUint32(at + field, true));
  return { type, offset: offset!, linear: linear!, physical: physical!, fileBytes: fileBytes! };
}).filter(segment => segment.type === 1);

/** File offset of a linear address. */
function offsetOf(linear: number): number {
  const segment = segments.find(({ linear: start, fileBytes }) => linear >= start && linear < start + fileBytes)!;
  return linear - segment.linear + segment.offset;
}

describe('the image', () => {
  test('is linked at 3 GiB and loaded from 1 MiB on, its entry where it is loaded', () => {
    expect(segments.map(({ linear, physical }) => linear - physical)).toEqual([0, 0xc0000000, 0xc0000000]);
    expect(Math.min(...segments.map(({ physical }) => physical))).toBe(0x100000);
    const entry = view.getUint32(24, true);
    const boot = segments[0]!;
    expect(entry).toBeGreaterThanOrEqual(boot.physical);
    expect(entry).toBeLessThan(boot.physical + boot.fileBytes);
  });

  test('holds every program that the menu offers', () => {
    const text = Buffer.from(image).toString('latin1');
    for (const { name } of GUEST_PROGRAMS) expect(text).toContain(`/bin/${name}\0`);
  });

  test('names no path of the computer that built it', () => {
    const text = Buffer.from(image).toString('latin1');
    expect(text).not.toMatch(/\/(home|tmp|root|work|usr)\//);
  });
});

describe('patchable call sites', () => {
  const from = addressOf('__parainstructions');
  const count = (addressOf('__parainstructions_end') - from) / 8;
  const sites = Array.from({ length: count }, (_, i) => {
    const at = offsetOf(from + 8 * i);
    return { address: view.getUint32(at, true), op: view.getUint8(at + 4), length: view.getUint8(at + 5) };
  });

  test('have room for a call and lie in the text', () => {
    expect(sites.length).toBeGreaterThan(20);
    const text = segments[1]!;
    for (const { address, length } of sites) {
      expect(length).toBeGreaterThanOrEqual(5);
      expect(address).toBeGreaterThanOrEqual(text.linear);
      expect(address + length).toBeLessThanOrEqual(text.linear + text.fileBytes);
    }
  });

  test('cover all six operations, with one iret and one sysexit', () => {
    const perOp = [0, 1, 2, 3, 4, 5].map(op => sites.filter(site => site.op === op).length);
    expect(perOp.every(n => n > 0)).toBe(true);
    expect(perOp.slice(4)).toEqual([1, 1]);
    expect(sites.every(site => site.op < 6)).toBe(true);
  });
});

/** Instructions that a kernel above CPL 0 must not execute itself, or that give it other answers there. */
const SENSITIVE = new Map<number, string>([
  [Code.Cli, 'cli'],
  [Code.Sti, 'sti'],
  [Code.Hlt, 'hlt'],
  [Code.Popfd, 'popf'],
  [Code.Pushfd, 'pushf'],
  [Code.Iretd, 'iret'],
  [Code.Sysexitd, 'sysexit'],
  [Code.Cpuid, 'cpuid'],
  [Code.Rdtsc, 'rdtsc'],
  [Code.Invlpg_m, 'invlpg'],
  [Code.Lgdt_m1632, 'lgdt'],
  [Code.Lidt_m1632, 'lidt'],
  [Code.Ltr_rm16, 'ltr'],
  [Code.Lldt_rm16, 'lldt'],
  [Code.Mov_r32_cr, 'mov from cr'],
  [Code.Mov_cr_r32, 'mov to cr'],
  [Code.Sgdt_m1632, 'sgdt'],
  [Code.Sidt_m1632, 'sidt'],
  [Code.Smsw_rm16, 'smsw'],
  [Code.Clts, 'clts'],
  [Code.Wbinvd, 'wbinvd'],
]);

/** Where they may stand: native operations, entry code before paging, and the user's flags on SYSENTER. */
const NATIVE = /^native_|^startup_32$/;
const EXCEPTIONS = new Set(['sysenter_entry: pushf']);

describe('kernel text', () => {
  test('executes sensitive instructions only in native operations', () => {
    const text = segments[1]!;
    const end = text.linear + text.fileBytes;
    const functions = symbols.filter(({ address, code }) => code && address >= text.linear);
    const found: string[] = [];
    for (const { address, name } of functions) {
      const next = symbols.find(other => other.address > address)?.address ?? end;
      if (next === address || NATIVE.test(name)) continue;
      const decoder = new Decoder(
        32,
        image.subarray(offsetOf(address), offsetOf(address) + (next - address)),
        DecoderOptions.None,
      );
      decoder.ip = BigInt(address);
      while (decoder.canDecode) {
        const instruction = decoder.decode();
        const sensitive = SENSITIVE.get(instruction.code);
        if (sensitive && !EXCEPTIONS.has(`${name}: ${sensitive}`)) found.push(`${name}: ${sensitive}`);
        instruction.free();
      }
      decoder.free();
    }
    expect(found).toEqual([]);
  });
});
