/** Random kernel programs, natively and translated. A failure names the seed that reproduces it. */
import { expect, test } from 'vitest';
import { Prng } from '../../../src/hypervisor/base/prng.js';
import { CODE, differences, guest, makeBt, runBt, runNative } from './bt-machine.js';
import { Generator } from './generator.js';

for (let seed = 1; seed <= 20; seed++) {
  test(`seed ${seed}`, () => {
    const start = guest(new Generator(new Prng(seed)).program());
    const native = runNative(start, 3_000_000);
    const machine = makeBt(start, seed % 4 === 0 ? { tcBytes: 3 * 4096 } : {});
    const bt = runBt(machine, 300_000_000);
    expect(native.why).toBe('halt');
    expect(differences(native, bt)).toEqual([]);
    expect(machine.technique.audit()).toEqual([]);
    expect(start.eip).toBe(CODE);
  });
}
