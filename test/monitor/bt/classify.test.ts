/** Every opcode: nothing that is privileged, sensitive or a transfer of control may be copied into the TC. */
import { Code, CodeExt, Decoder, FlowControl, Instruction, Mnemonic, OpKind, Register } from 'iced-x86';
import { expect, test } from 'vitest';
import { decodeGuest } from '../../../src/hypervisor/monitor/bt/classify.js';

/** Sensitive without being privileged (SDM vol. 3, 2.8 and 5.9; Robin and Irvine, 2000). */
const SENSITIVE: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Sgdt,
  Mnemonic.Sidt,
  Mnemonic.Sldt,
  Mnemonic.Smsw,
  Mnemonic.Str,
  Mnemonic.Pushf,
  Mnemonic.Pushfd,
  Mnemonic.Popf,
  Mnemonic.Popfd,
  Mnemonic.Lar,
  Mnemonic.Lsl,
  Mnemonic.Verr,
  Mnemonic.Verw,
  Mnemonic.Iret,
  Mnemonic.Iretd,
  Mnemonic.Retf,
  Mnemonic.Int,
  Mnemonic.Int3,
  Mnemonic.Into,
  Mnemonic.Cpuid,
  Mnemonic.Rdtsc,
  Mnemonic.Cli,
  Mnemonic.Sti,
  Mnemonic.In,
  Mnemonic.Out,
]);
/** What this processor does not build is #UD in the TC as it is natively: copying it is right. */
const OF_OTHER_PROCESSORS =
  /^(Vm|Inv(ept|vpid|pcid|lpga|lpgb)|Xset|Xbegin|Xabort|Swapgs|Sysret|Skinit|Clgi|Stgi|Rsm|Monitor|Mwait|Enc|Enq|Clrssbsy|Getsec|Rdudbg|Wrudbg|Psmash|Pvalidate|Rmp|Tlbsync|Seam|Tdcall|Wbnoinvd|Pconfig|Clac|Stac|Wrmsr(ns|list)|Rdmsrlist|Hreset|Clzero|Setssbsy|Montmul|Ccs|Undoc|Loadall|Cl1invmb|Zalloc|Umov|Jmpe|Wrss|Xrstors|Xsaves|Wruss|Syscall)/;

const PREFIXES: readonly (readonly number[])[] = [[], [0x66], [0x65], [0x2e], [0x67], [0xf3], [0x66, 0x65]];

/** Every reg field with memory operands of three shapes and every register. */
const MODRMS = [0x00, 0x05, 0x44, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7].flatMap(shape =>
  Array.from({ length: 8 }, (_, reg) => shape | (reg << 3)),
);

test('no privileged, sensitive or branching instruction is copied', () => {
  const wrong = new Set<string>();
  const seen = new Set<Code>();
  const instruction = new Instruction();
  for (const prefix of PREFIXES) {
    for (let opcode = 0; opcode < 0x200; opcode++) {
      const head = opcode < 0x100 ? [opcode] : [0x0f, opcode & 0xff];
      for (const modrm of MODRMS) {
        const bytes = Uint8Array.from([...prefix, ...head, modrm, 0x44, 0x33, 0x22, 0x11, 0x55, 0x66, 0x77, 0x88]);
        const decoder = new Decoder(32, bytes, 0);
        const guest = decodeGuest(decoder, instruction, bytes, 0x1000);
        decoder.free();
        if (guest === undefined || instruction.isInvalid) continue;
        seen.add(instruction.code);
        const { mnemonic } = instruction;
        const name = Mnemonic[mnemonic]!;
        const info = CodeExt.opCode(instruction.code);
        const privileged = info.cpl0 && !info.cpl3;
        info.free();
        const usesHidden = [0, 1].some(at => {
          if (at >= instruction.opCount || instruction.opKind(at) !== OpKind.Register) return false;
          const register = instruction.opRegister(at);
          return register === Register.CS || register === Register.SS || register === Register.GS;
        });
        const flow = instruction.flowControl;
        const branches = flow !== FlowControl.Next && flow !== FlowControl.Exception;
        if (OF_OTHER_PROCESSORS.test(name)) continue;
        if (guest.guestClass === 'ident' && (privileged || branches || usesHidden || SENSITIVE.has(mnemonic))) {
          wrong.add(`${name} ${Code[instruction.code]} ${[...guest.bytes].map(b => b.toString(16)).join(' ')}`);
        }
        // An access through GS or CS would reach the monitor's segments instead of the guest's.
        const overridden = instruction.segmentPrefix === Register.GS || instruction.segmentPrefix === Register.CS;
        let touches = false;
        for (let at = 0; at < instruction.opCount; at++) touches ||= instruction.opKind(at) >= OpKind.MemorySegSI;
        if (
          overridden &&
          touches &&
          guest.guestClass === 'ident' &&
          mnemonic !== Mnemonic.Lea &&
          mnemonic !== Mnemonic.Nop
        ) {
          wrong.add(`override: ${name}`);
        }
      }
    }
  }
  instruction.free();
  expect([...wrong]).toEqual([]);
  expect(seen.size).toBeGreaterThan(600);
});
