import { describe, expect, test } from 'vitest';
import { normalizeConsole } from './normalize.js';
import { Typist } from './qemu.js';

describe('normalizeConsole', () => {
  test('drops firmware, carriage returns, stamps, platform lines and rates', () => {
    const text = [
      'SeaBIOS\r\nBooting from ROM..[    0.000000] Vmilinux version 2.6.21-vmitop (gcc) #1\r',
      '[    0.000000] CPU: GenuineIntel family 6 model 6\r',
      '[    0.000100] VMI: Found some ROM, API version 3.0, ROM version 1.0\r',
      '[   12.345678] Calibrating delay using timer specific routine.. 5999.08 BogoMIPS (lpj=11998000)\r',
      'CPU: said by a program\r',
      '',
    ].join('\n');
    expect(normalizeConsole(text)).toBe(
      [
        '[time] Vmilinux version 2.6.21-vmitop (gcc) #1',
        '[time] Calibrating delay using timer specific routine.. <rate> BogoMIPS',
        'CPU: said by a program',
        '',
      ].join('\n'),
    );
  });

  test('keeps what is not ours to drop', () => {
    const text = '[    0.1] not a stamp\n[    0.000001] Oops: divide error\n  [    0.000001] indented\n';
    expect(normalizeConsole(text)).toBe(
      '[    0.1] not a stamp\n[time] Oops: divide error\n  [    0.000001] indented\n',
    );
  });
});

describe('Typist', () => {
  test('types once the text and a prompt behind it have appeared', () => {
    const typist = new Typist([
      { after: '# ', text: 'one\r' },
      { after: 'done', text: 'two\r' },
    ]);
    expect(typist.next('boot')).toBeUndefined();
    expect(typist.next('boot # ')).toBe('one\r');
    expect(typist.next('boot # one\ndone\n')).toBeUndefined();
    expect(typist.next('boot # one\ndone\n# ')).toBe('two\r');
    expect(typist.next('boot # one\ndone\n# # # ')).toBeUndefined();
  });
});
