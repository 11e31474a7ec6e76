/** Runs recorded cases on the machine. */

import { extendedFromImage, extendedToImage } from '../../../src/hypervisor/machine/cpu/fpu/control.js';
import { Cr0, Cr4, S } from '../../../src/hypervisor/machine/cpu/state.js';
import { CODE, DATA, HANDLERS, Machine } from '../fixture.js';
import type { Case } from './cases.js';
import { MEMORY_BYTES } from './cases.js';
import type { Outcome } from './recording.js';

/** Signals that Linux makes of exceptions. */
const SIGNALS = new Map([
  [6, 4],
  [13, 11],
  [16, 8],
  [19, 8],
]);

export class Subject {
  readonly machine = new Machine();
  #code = '';

  constructor() {
    const { cpu } = this.machine;
    cpu.setCr0(cpu.s[S.CR0]! | Cr0.NE | Cr0.MP);
    cpu.setCr4(Cr4.OSFXSR | Cr4.OSXMMEXCPT);
  }

  run(test: Case): Outcome {
    const { machine } = this;
    const { cpu } = machine;
    const code = test.code.join();
    if (code !== this.#code) machine.load([...test.code, 0xf4]);
    this.#code = code;
    cpu.s[S.EIP] = CODE;
    cpu.s[S.ESP] = 0x28000;
    cpu.s[S.EDI] = DATA + test.offset;
    for (const [i, register] of [S.EAX, S.ECX, S.EDX, S.EBX].entries()) cpu.s[register] = test.regs[i]!;
    cpu.writeEflags(test.eflags | 2);
    const image = new Int32Array(128);
    new Uint8Array(image.buffer).set(test.fx);
    extendedFromImage(cpu.fpu, image);
    machine.write(DATA, test.memory);
    machine.run();
    const stopped = (cpu.s[S.EIP]! - 1) >>> 0;
    const faulted = stopped >= HANDLERS && stopped < HANDLERS + 0x1000;
    const vector = (stopped - HANDLERS) >>> 4;
    extendedToImage(cpu.fpu, image);
    return {
      signal: faulted ? (SIGNALS.get(vector) ?? 100 + vector) : 0,
      regs: [S.EAX, S.ECX, S.EDX, S.EBX].map(register => cpu.s[register]! >>> 0),
      eflags: cpu.readEflags(),
      fx: new Uint8Array(image.buffer),
      memory: machine.memory.bytes(machine.base + DATA, MEMORY_BYTES).slice(),
    };
  }
}
