/** Every instruction that lowers keeps the rules of the IR; broken blocks are found out. */
import { expect, test } from 'vitest';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { Mode } from '../../src/hypervisor/machine/cpu/cache-layout.js';
import type { Block } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { OP_WORDS, Op } from '../../src/hypervisor/machine/cpu/ir.js';
import { S } from '../../src/hypervisor/machine/cpu/state.js';
import { verify } from '../../src/hypervisor/machine/cpu/verify.js';
import { ORACLE_SEED } from '../differential/oracle-fixture.js';
import { buildOracleImage } from '../differential/oracle-image.js';
import { CODE, Machine } from './fixture.js';

test('every instruction of the oracle lowers to valid IR', () => {
  const { cases } = buildOracleImage(ORACLE_SEED, 1);
  const machine = new Machine();
  const findings: string[] = [];
  for (const { text } of cases) {
    machine.load(text);
    for (const single of [false, true]) {
      const block = machine.cpu.find(single);
      expect(block, text).not.toBeNull();
      findings.push(...verify(block!, machine.cache.code).map(finding => `${text}: ${finding}`));
    }
  }
  expect(findings).toEqual([]);
});

test.each([Mode.CODE16, Mode.CODE16 | Mode.STACK16, Mode.STACK16])('random instructions in mode %d, too', mode => {
  const machine = new Machine();
  const prng = new Prng(mode);
  const findings: string[] = [];
  for (let i = 0; i < 3000; i++) {
    const bytes = Array.from({ length: 16 }, () => prng.below(256));
    if (prng.below(3) === 0) bytes[0] = 0x0f;
    machine.write(CODE, bytes);
    const block = machine.cpu.decoder.decode(machine.base + CODE, mode | Mode.SINGLE, -1) as Block;
    const hex = bytes.map(byte => byte.toString(16)).join(' ');
    findings.push(...verify(block, machine.cache.code).map(finding => `${hex}: ${finding}`));
  }
  expect(findings).toEqual([]);
});

test('a block that breaks the rules is found out', () => {
  const machine = new Machine();
  machine.load('mov eax, [ebx]\n jmp 0x10000');
  const block: Block = machine.cpu.find(false)!;
  const { code } = machine.cache;
  expect(verify(block, code)).toEqual([]);
  code[block.start + 3] = S.TEMP + 3;
  expect(verify(block, code).join()).toContain('undefined temporary');
  code[block.start + 3] = S.EBX;
  code[block.start + OP_WORDS] = Op.MOVI;
  expect(verify(block, code).join()).toContain('does not end the block');
});
