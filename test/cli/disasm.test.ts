/** `vmitop disasm`: guest code beside its translation. */
import { describe, expect, test } from 'vitest';
import { guestHost } from '../scenarios/run-guest.js';
import { runCli } from './run-cli.js';

test('shows what a system call became', async () => {
  const { code, stdout, stderr } = await runCli(['disasm', 'sys_getppid', '--run', 'getppid']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const [heading, ...lines] = stdout.trimEnd().split('\n');
  expect(heading).toBe('sys_getppid');
  // A copied instruction is the same on both sides; a return goes through the hash.
  const copied = lines.filter(line => / ident /.test(line));
  expect(copied.length).toBeGreaterThan(0);
  for (const line of copied) {
    const [guest, translated] = line.split('|').map(side => side.trim());
    const [count, , ...text] = guest!.split(/ {2,}/);
    expect(text[0]).toBe(translated);
    // Sixteen instances of four thousand calls, and one more each.
    expect(count).toBe('64016');
  }
  const back = lines.findIndex(line => / ret /.test(line));
  expect(lines.slice(back, back + 3).join('\n')).toMatch(/pop dword \[gs:TARGET\][\s\S]*jmp lookup/);
});

test.each([
  [['disasm', 'no_such_function'], 'no function "no_such_function"'],
  [['disasm', '0x1234'], 'has not executed 0x1234'],
])('vmitop %s is refused in one line', async (args, reason) => {
  const { code, stdout, stderr } = await runCli(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^vmitop: [^\n]+\n$/);
  expect(stderr).toContain(reason);
});

describe('Host.disassemble', () => {
  test('says why there is nothing to show', () => {
    for (const [mode, reason] of [
      ['native', 'natively'],
      ['hv', 'hardware assist'],
      ['vmi', 'under VMI'],
    ] as const) {
      const host = guestHost({ mode, append: '' });
      for (let i = 0; i < 100 && host.sample().vms[0]!.guestState !== 'idle'; i++) {
        host.advance(host.nowCycles + host.quantumCycles);
      }
      expect(host.disassemble('vm', 0xc0100000)).toEqual({ ok: false, reason: expect.stringContaining(reason) });
      host.execute({ kind: 'powerOff', vm: 'vm' });
      expect(host.disassemble('vm', 0)).toEqual({ ok: false, reason: expect.stringContaining('is off') });
    }
  });

  test('changes nothing', () => {
    const run = (look: boolean) => {
      const host = guestHost({ mode: 'bt', append: '' });
      for (let i = 0; i < 30; i++) {
        host.advance(host.nowCycles + host.quantumCycles);
        if (look) host.disassemble('vm', 0);
      }
      return JSON.stringify(host.sample());
    };
    expect(run(true)).toBe(run(false));
  });
});
