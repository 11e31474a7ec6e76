/** Decoded instructions in fields of our own, and the memory for places that trap again and again. */
import { Mnemonic, OpKind, Register } from 'iced-x86';
import { describe, expect, test } from 'vitest';
import { DecodedPlaces, decode } from '../../src/hypervisor/monitor/decoded.js';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe('decode', () => {
  test('out 0x20, al', () => {
    const found = decode(bytes(0xe6, 0x20, 0x90), 0x1000)!;
    expect(found).toMatchObject({ mnemonic: Mnemonic.Out, length: 2, op0Kind: OpKind.Immediate8, immediate8: 0x20 });
    expect(found.op1Register).toBe(Register.AL);
  });

  test('an immediate is extended as the instruction does, a displacement is signed', () => {
    // or dword [ebp - 4], -128
    const found = decode(bytes(0x83, 0x4d, 0xfc, 0x80), 0)!;
    expect(found).toMatchObject({ secondImmediate: -128, memoryBase: Register.EBP, memoryDisplacement: -4 });
    expect(found.op0Register).toBe(Register.None);
  });

  test('a far jump has its selector and offset', () => {
    const found = decode(bytes(0xea, 0x78, 0x56, 0x34, 0x12, 0x10, 0), 0)!;
    expect(found).toMatchObject({ op0Kind: OpKind.FarBranch32, farBranch32: 0x12345678, farBranchSelector: 0x10 });
  });

  test('half an instruction is none, and neither is what no processor knows', () => {
    expect(decode(bytes(0xe6), 0)).toBeUndefined();
    expect(decode(bytes(0x66, 0x0f, 0x04), 0)).toBeUndefined();
  });
});

describe('a place', () => {
  test('is decoded once while its bytes stay', () => {
    const places = new DecodedPlaces();
    const first = places.decode(bytes(0xe6, 0x20, 0x90), 0x1000);
    expect(first).toBeDefined();
    // What follows the instruction is not part of it.
    expect(places.decode(bytes(0xe6, 0x20, 0xcc, 0xcc), 0x1000)).toBe(first);
  });

  test('is decoded anew when they change, or when fewer can be read', () => {
    const places = new DecodedPlaces();
    places.decode(bytes(0xe6, 0x20), 0x1000);
    expect(places.decode(bytes(0xe6, 0x21), 0x1000)?.immediate8).toBe(0x21);
    expect(places.decode(bytes(0xe6), 0x1000)).toBeUndefined();
  });
});
