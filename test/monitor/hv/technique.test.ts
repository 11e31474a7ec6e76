/** The monitor under hardware assist: what exits cost, when interrupts get in, deliveries that fault, linear space without a hole. */
import { describe, expect, it } from 'vitest';
import type { Ppn } from '../../../src/hypervisor/base/pages.js';
import { XEON_5160 } from '../../../src/hypervisor/machine/costs/xeon-5160.js';
import { assemble } from '../../../src/hypervisor/machine/cpu/assemble.js';
import { Attr, S, Seg } from '../../../src/hypervisor/machine/cpu/state.js';
import { NO_HOLE } from '../../../src/hypervisor/monitor/hole.js';
import { HvTechnique } from '../../../src/hypervisor/monitor/hv/technique.js';
import { MonitorLoop } from '../../../src/hypervisor/monitor/loop.js';
import { CAUSE_NAMES } from '../../../src/hypervisor/stats/causes.js';
import { A, D, P, TestVm, W } from '../test-vm.js';

const IDT = 0x2000;
const GDT = 0x3000;
const CODE = 0x10000;
const HANDLERS = 0x11000;
const DIRECTORY = 0x20000;
const TABLE = 0x21000;
const COSTS = XEON_5160.cycles;

/** A kernel of ring 0 with flat segments; handler n is at `HANDLERS + n * 64` and stores its vector at 0x6000 before it halts. */
function machine(source: string) {
  const test = new TestVm({ holeBase: NO_HOLE });
  const { vcpu } = test;
  test.write(CODE, assemble(CODE, source).bytes);
  test.write32(GDT + 8, 0xffff);
  test.write32(GDT + 12, 0x00cf9b00);
  test.write32(GDT + 16, 0xffff);
  test.write32(GDT + 20, 0x00cf9300);
  for (let vector = 0; vector < 64; vector++) {
    const handler = HANDLERS + vector * 64;
    test.write(handler, assemble(handler, `mov dword [0x6000], ${vector}\nmov ebx, esp\nhlt`).bytes);
    test.write32(IDT + vector * 8, (0x08 << 16) | (handler & 0xffff));
    test.write32(IDT + vector * 8 + 4, (handler & 0xffff0000) | 0x8e00);
  }
  vcpu.setSegment(Seg.TR, 0, 0, 0xffff, Attr.P | 0xb);
  vcpu.gdtBase = GDT;
  vcpu.gdtLimit = 0x17;
  vcpu.idtBase = IDT;
  vcpu.idtLimit = 0x1ff;
  vcpu.eip = CODE;
  vcpu.esp = 0x9000;
  const technique = new HvTechnique(vcpu);
  const loop = new MonitorLoop(vcpu, technique, () => technique);
  return { test, vcpu, technique, loop };
}

/** Maps the low 4 MiB page by page, except what `without` names, and `extra` linear pages onto physical ones. */
function pages(test: TestVm, without: readonly number[], extra: readonly (readonly [number, number])[] = []): void {
  test.write32(DIRECTORY, TABLE | P | W);
  for (let page = 0; page < 1024; page++) test.write32(TABLE + page * 4, (page << 12) | P | W);
  for (const at of without) test.write32(TABLE + (at >>> 12) * 4, 0);
  for (const [linear, physical] of extra) {
    const table = 0x22000;
    test.write32(DIRECTORY + (linear >>> 22) * 4, table | P | W);
    test.write32(table + ((linear >>> 12) & 1023) * 4, physical | P | W | A | D);
  }
  test.enablePaging(DIRECTORY);
}

const total = (causes: Readonly<Record<string, number>>): number =>
  CAUSE_NAMES.reduce((sum, name) => sum + causes[name]!, 0);

describe('running', () => {
  const source = `mov ecx, 3000
    again: mov eax, cr3
    mov [0x7000], eax
    in al, 0x60
    dec ecx
    jnz again
    hlt`;

  it('is the same however it is cut', () => {
    const whole = machine(source);
    expect(whole.loop.run(1e9).kind).toBe('halted');
    const cut = machine(source);
    let until = 0;
    while (cut.loop.run(until).kind === 'deadline') until += 7_777;
    expect(cut.test.thread.cycles).toBe(whole.test.thread.cycles);
    expect(cut.test.vm.causes).toEqual(whole.test.vm.causes);
    expect(cut.test.vm.counters.exits).toBe(whole.test.vm.counters.exits);
  });

  it('books every cycle on exactly one cause: CPL 0 is the guest’s while it is inside, the monitor’s while it is not', () => {
    const { test, loop, vcpu } = machine(source);
    loop.run(1e9);
    expect(total(test.vm.causes)).toBe(test.thread.cycles);
    expect(vcpu.chargedCycles).toBe(test.thread.cycles);
    expect(test.vm.causes.guestUser).toBe(0);
    // Six instructions a round, of which two are the monitor's.
    expect(test.vm.causes.guestKernel).toBeGreaterThan(3000 * 4);
    expect(test.vm.causes.guestKernel).toBeLessThan(3000 * 4 * 10);
  });
});

describe('an exit costs what is done for it', () => {
  /** Cycles of one instruction more of a kind, the refill of the TLB apart. */
  const priceOf = (instruction: string): number => {
    const cycles = [10, 11].map(count => {
      const { test, loop } = machine(`${`${instruction}\n`.repeat(count)}hlt`);
      expect(loop.run(1e9).kind).toBe('halted');
      return test.thread.cycles - test.thread.counters.tlbMisses * COSTS.tlbMiss;
    });
    return cycles[1]! - cycles[0]!;
  };
  /**
   * The exit; its reason, the event that it interrupted, where it happened, how long the instruction is, what blocks interrupts and
   * whether it is stepped; the new RIP; the entry.
   */
  const ROUND =
    COSTS.vmExit +
    COSTS.exitRefill +
    6 * COSTS.vmcsRead +
    COSTS.vmmEntry +
    COSTS.emulate +
    COSTS.vmmExit +
    COSTS.vmcsWrite +
    COSTS.vmEntry;

  it('CPUID: a round and the instruction’s emulation', () => {
    expect(priceOf('cpuid')).toBe(ROUND);
  });

  it('IN: also the qualification and the device', () => {
    expect(priceOf('in al, 0x60')).toBe(ROUND + COSTS.vmcsRead + COSTS.deviceAccess);
  });

  it('VMCALL: the guest has no VMX, and gets the #UD that its processor would raise', () => {
    const { test, loop, vcpu } = machine('db 0x0f, 0x01, 0xc1\nhlt');
    expect(loop.run(1e9).kind).toBe('halted');
    expect(test.read32(0x6000)).toBe(6);
    // The frame has the instruction's own address.
    expect(test.read32(test.thread.s[S.EBX]! >>> 0)).toBe(CODE);
    // Itself, and the handler's HLT.
    expect(test.vm.counters.trappedInstructions).toBe(2);
    expect(test.vm.counters.forwardedFaults).toBe(1);
    expect(total(test.vm.causes)).toBe(vcpu.chargedCycles);
  });

  it('INVLPG: also the qualification and what the monitor does about its TLB', () => {
    expect(priceOf('invlpg [0x5000]')).toBe(ROUND + COSTS.vmcsRead + COSTS.invlpg);
  });

  it('CLI, STI, PUSHF and MOV CR2: nothing, they do not exit', () => {
    expect(priceOf('cli')).toBe(COSTS.cliSti);
    expect(priceOf('pushfd')).toBe(COSTS.pushf);
    expect(priceOf('mov cr2, eax')).toBe(COSTS.movCr2);
  });
});

describe('interrupts', () => {
  it('wait for the window, and get in behind the instruction that follows STI', () => {
    const { test, loop, vcpu } = machine('cpuid\nnop\nsti\nnop\nl: jmp l');
    test.intr = true;
    expect(loop.run(1e7).kind).toBe('halted');
    expect(test.read32(0x6000)).toBe(0x20);
    const behind = CODE + assemble(CODE, 'cpuid\nnop\nsti\nnop').bytes.length;
    expect(test.read32(test.thread.s[S.EBX]!)).toBe(behind);
    expect(test.vm.counters.injections).toBe(1);
    expect(vcpu.interruptsEnabled).toBe(false);
  });

  it('raised by a timer while the guest spins are injected; the host’s interrupt is an exit', () => {
    const { test, loop } = machine('sti\nl: jmp l');
    test.timers.push({ at: 200_000, fire: () => (test.intr = true) });
    expect(loop.run(1e7).kind).toBe('halted');
    expect(test.read32(0x6000)).toBe(0x20);
    expect(test.vm.causes.interrupt).toBe(
      COSTS.vmExit + COSTS.exitRefill + 2 * COSTS.vmcsRead + COSTS.vmmEntry + COSTS.timerCallback,
    );
  });

  it('wake a guest that halted in the shadow of STI', () => {
    const { test, loop } = machine('sti\nhlt\nmov edi, 7\ncli\nhlt');
    expect(loop.run(1e7).kind).toBe('halted');
    test.intr = true;
    expect(loop.run(2e7).kind).toBe('halted');
    expect(test.read32(0x6000)).toBe(0x20);
    expect(test.read32(test.thread.s[S.EBX]!)).toBe(CODE + 2);
  });
});

describe('events whose delivery faults', () => {
  it('are delivered when the monitor has filled what the shadow lacked', () => {
    const first = 'mov eax, [0x5000]';
    const { test, loop } = machine(`${first}\nud2`);
    pages(test, []);
    expect(loop.run(1e7).kind).toBe('halted');
    // The gate was never touched before: the shadow did not have its page.
    expect(test.read32(0x6000)).toBe(6);
    expect(test.vm.counters.trueFaults).toBe(0);
    expect(test.read32(test.thread.s[S.EBX]!)).toBe(CODE + assemble(CODE, first).bytes.length);
  });

  it('a true page fault goes to the guest with its own CR2, untouched by those that only the shadow had', () => {
    const { test, loop, vcpu } = machine('mov eax, [0x5004]\nhlt');
    pages(test, [0x5000]);
    expect(loop.run(1e7).kind).toBe('halted');
    expect(test.read32(0x6000)).toBe(14);
    expect(test.thread.s[S.CR2]).toBe(0x5004);
    expect(test.vm.counters.trueFaults).toBe(1);
    expect(test.read32(test.thread.s[S.EBX]!)).toBe(0);
    expect(vcpu.shadow.audit()).toEqual([]);
  });

  it('become a double fault where the guest’s own tables are to blame, and stop the VM where that faults, too', () => {
    const { test, loop } = machine('mov eax, [0x5004]\nhlt');
    // The gate of #PF leads into a segment that is not there; that of #DF is good.
    test.write32(IDT + 14 * 8, (0x40 << 16) | 0x1000);
    pages(test, [0x5000]);
    expect(loop.run(1e7).kind).toBe('halted');
    expect(test.read32(0x6000)).toBe(8);

    const worse = machine('mov eax, [0x5004]\nhlt');
    pages(worse.test, [0x5000, IDT]);
    expect(worse.loop.run(1e7)).toMatchObject({ kind: 'stopped', reason: expect.stringContaining('triple fault') });
  });
});

it('an event whose frame goes to a watched page is delivered before anything else', () => {
  const { test, vcpu, loop } = machine('inc ecx\nmov eax, [0x5004]\nhlt');
  pages(test, [0x5000]);
  vcpu.traces.watch(0x8 as Ppn, 'code');
  expect(loop.run(1e7).kind).toBe('halted');
  expect([test.read32(0x6000), test.thread.s[S.ECX]]).toEqual([14, 1]);
  // The frame: error code, EIP.
  expect([test.read32(0x8ff0), test.read32(0x8ff4)]).toEqual([0, CODE + 1]);
});

it('all of linear space is the guest’s, up to its last byte', () => {
  const { test, loop } = machine('mov dword [0xfffffffc], 0x12345678\nmov eax, [0xfc000000]\nhlt');
  test.write32(0x31000, 0x55aa55aa);
  pages(test, [], [[0xfffff000, 0x30000]]);
  test.write32(DIRECTORY + (0xfc000000 >>> 22) * 4, 0x23000 | P | W);
  test.write32(0x23000, 0x31000 | P | W);
  expect(loop.run(1e7).kind).toBe('halted');
  expect(test.read32(0x30ffc)).toBe(0x12345678);
  expect(test.thread.s[S.EAX]).toBe(0x55aa55aa);
});

it('gives the page of its VMCS back', () => {
  const { test, technique, loop } = machine('hlt');
  loop.run(1e6);
  technique.capture();
  const before = test.monitorPages.size;
  technique.destroy();
  expect(test.monitorPages.size).toBe(before - 1);
});

describe('a kernel that debugs itself', () => {
  /** Appends EIP, DR6 and EFLAGS of the frame to a list at 0x6200 whose end is at 0x6100, then clears DR6 and returns with RF set. */
  const DEBUG_HANDLER = `push eax
    push edi
    mov edi, [0x6100]
    mov eax, [esp+8]
    mov [edi], eax
    mov eax, dr6
    mov [edi+4], eax
    mov eax, [esp+16]
    mov [edi+8], eax
    xor eax, eax
    mov dr6, eax
    add dword [0x6100], 12
    pop edi
    pop eax
    or dword [esp+8], 0x10000
    iretd`;
  const debugged = (source: string) => {
    const made = machine(source);
    const { test } = made;
    test.write(HANDLERS + 64, assemble(HANDLERS + 64, DEBUG_HANDLER).bytes);
    test.write32(0x6100, 0x6200);
    // Nothing is in the shadow yet: each page is a hidden fault the first time, those of the IDT and of the GDT, too.
    pages(test, []);
    made.vcpu.traces.watch(0x12 as Ppn, 'code');
    expect(made.loop.run(1e7).kind).toBe('halted');
    const records = [];
    for (let at = 0x6200; at < test.read32(0x6100); at += 12)
      records.push([0, 4, 8].map(offset => test.read32(at + offset) >>> 0));
    return records;
  };
  const TF = 0x100;
  const BS = 0xffff4ff0;
  const HIT_0 = 0xffff0ff1;

  it('steps over a store that the monitor carries out, though the delivery of its trap faults', () => {
    // A watched page, then device memory: the monitor steps these. The first trap of all finds neither gate nor descriptor in the shadow.
    const records = debugged(`pushf
      or dword [esp], 0x100
      popf
      mov dword [0x12004], 0x1234
      nop
      mov dword [0xd0000], 5
      nop
      hlt`);
    const behindPopf = CODE + 1 + 7 + 1;
    expect(records).toEqual([10, 11, 21, 22].map(bytes => [behindPopf + bytes, BS, TF | 2]));
  });

  it('meets a breakpoint with RF clear in the frame, though the delivery faults', () => {
    const records = debugged(`mov eax, there
      mov dr0, eax
      mov eax, 0x402
      mov dr7, eax
      nop
 there: inc edi
      hlt`);
    const there = CODE + 5 + 3 + 5 + 3 + 1;
    expect(records).toEqual([[there, HIT_0, 2]]);
  });
});
