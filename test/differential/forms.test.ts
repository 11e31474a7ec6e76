/** Every form of every instruction has a recorded case, and the machine does in ring 3 what a real processor did. */
import { expect, test } from 'vitest';
import { extendedFromImage } from '../../src/hypervisor/machine/cpu/fpu/control.js';
import { Cr0, Cr4, S, Seg, segSelector } from '../../src/hypervisor/machine/cpu/state.js';
import { GDT, HANDLERS, IDT, Machine, PAGE_DIRECTORY, STACK0, TSS } from '../machine/fixture.js';
import { allForms, formsOf } from './forms.js';
import { FORM_CODE, FORM_CS, FORM_DATA, FORM_DS, FORM_MEMORY_BYTES, type FormCase, formCases } from './forms-cases.js';
import {
  changesOf,
  decodeAnswers,
  describeChanges,
  floatingForms,
  OUTCOME_FIELDS,
  OUTCOME_WORDS,
} from './forms-recording.js';
import { buildNarrowImage } from './narrow-image.js';
import { ORACLE_SEED, ORACLE_VARIANTS, readFormAnswers, readNarrowHarness } from './oracle-fixture.js';
import { buildOracleImage } from './oracle-image.js';
import { systemTemplates } from './system-templates.js';

const WITH_ERROR: ReadonlySet<number> = new Set([8, 10, 11, 12, 13, 14, 17]);
const ATTR_DATA3 = 0xc0f3;
const ATTR_CODE3 = 0xc0fb;

const FLOATING = floatingForms();
const CASES = [...formCases(FLOATING)];

/** As at reset: the FXSAVE image with everything masked and all registers zero and empty. */
const FLOATING_STATE = new Int32Array(128);
FLOATING_STATE[0] = 0x37f;
FLOATING_STATE[6] = 0x1f80;

/** What ring 0 needs: tables, handlers, its stack, and the page tables. */
const OWN_PAGES: ReadonlySet<number> = new Set(
  [GDT, IDT, TSS, HANDLERS, PAGE_DIRECTORY, STACK0 - 4, 0x40000, 0x41000].map(at => at >>> 12),
);

/** A machine that looks to ring 3 as Linux does: its selectors, two pages, and the gates that ring 3 may use. */
class Subject {
  readonly machine = new Machine();

  constructor() {
    const { machine } = this;
    const { cpu } = machine;
    machine.descriptor(0x18, 0, 0xffffffff, 0x4093);
    machine.descriptor(FORM_CS, 0, 0xffffffff, 0x40fb);
    machine.descriptor(FORM_DS, 0, 0xffffffff, 0x40f3);
    machine.gate(4, 3);
    machine.gate(0x80, 0);
    machine.enablePaging(Cr0.WP | Cr0.NE | Cr0.MP);
    cpu.setCr4(Cr4.OSFXSR | Cr4.OSXMMEXCPT);
    for (let page = 0; page < 2048; page++) {
      const mapped = page === FORM_CODE >>> 12 || page === FORM_DATA >>> 12;
      machine.write32(machine.pteAt(page << 12), (page << 12) | (mapped ? 7 : OWN_PAGES.has(page) ? 3 : 0));
    }
  }

  run({ code, registers, eflags, memory }: FormCase): Int32Array {
    const { machine } = this;
    const { cpu } = machine;
    machine.memory.fill(machine.base + FORM_CODE, 4096, 0xcc);
    machine.write(FORM_CODE, code);
    machine.memory.fill(machine.base + FORM_DATA + FORM_MEMORY_BYTES, 4096 - FORM_MEMORY_BYTES, 0);
    machine.write(FORM_DATA, memory);
    cpu.setCpl(3);
    cpu.setSegment(Seg.CS, FORM_CS, 0, -1, ATTR_CODE3);
    for (const seg of [Seg.ES, Seg.SS, Seg.DS]) cpu.setSegment(seg, FORM_DS, 0, -1, ATTR_DATA3);
    for (const seg of [Seg.FS, Seg.GS]) cpu.setSegment(seg, 0, 0, 0, 0);
    registers.forEach((value, i) => {
      cpu.s[i] = value;
    });
    extendedFromImage(cpu.fpu, FLOATING_STATE);
    cpu.writeEflags(eflags);
    cpu.s[S.EIP] = FORM_CODE;
    expect(machine.run(cpu.cycles + 1e6)).toEqual({ kind: 'halt' });
    // The handler of the vector has halted; the frame is at the top of the stack of ring 0.
    const vector = (cpu.s[S.EIP]! - 1 - HANDLERS) >>> 4;
    const frame = STACK0 - (WITH_ERROR.has(vector) ? 24 : 20);
    const at = STACK0 - 20;
    expect(machine.reg(S.ESP)).toBe(frame);
    const selector = (seg: number) => cpu.s[segSelector(seg)]! & 0xffff;
    const outcome = new Int32Array(OUTCOME_WORDS);
    outcome.set(cpu.s.subarray(S.EAX, S.EDI + 1));
    const words = {
      esp: machine.read32(at + 12),
      eflags: machine.read32(at + 8),
      eip: machine.read32(at),
      vector,
      error: machine.read32(frame),
      cr2: cpu.s[S.CR2]!,
      'es:cs': (selector(Seg.ES) << 16) | (machine.read32(at + 4) & 0xffff),
      'ss:ds': (machine.read32(at + 16) << 16) | selector(Seg.DS),
      'fs:gs': (selector(Seg.FS) << 16) | selector(Seg.GS),
    };
    for (const [name, value] of Object.entries(words)) {
      outcome[OUTCOME_FIELDS.indexOf(name as keyof typeof words)] = value;
    }
    outcome.set(
      new Int32Array(machine.memory.bytes(machine.base + FORM_DATA, FORM_MEMORY_BYTES).slice().buffer),
      OUTCOME_FIELDS.length,
    );
    return outcome;
  }
}

test('every form does in ring 3 what it does on a real processor', () => {
  const subject = new Subject();
  const answers = decodeAnswers(readFormAnswers());
  const wrong: string[] = [];
  for (const one of CASES) {
    const want = answers.next().value as number[] | undefined;
    if (want === undefined) throw new Error('fewer answers than cases: record again');
    const got = changesOf(one, subject.run(one));
    if (want.join() === got.join()) continue;
    wrong.push(`${one.form}: ${one.text}\n  recorded: ${describeChanges(want)}\n  machine:  ${describeChanges(got)}`);
  }
  expect(answers.next().done).toBe(true);
  expect(wrong.slice(0, 20).join('\n')).toBe('');
});

/** What cannot be recorded as a single instruction, and where it is shown. */
const SHOWN_ELSEWHERE: Readonly<Record<string, string>> = {
  Cpuid: 'tells of the processor: test/vm/cpuid.test.ts',
  Hlt: 'every image for QEMU ends with it',
};

/** Forms whose recorded executions in ring 3 all end in the exception that keeps ring 3 out. */
function onlyRefused(): Set<string> {
  const completed = new Set<string>();
  const seen = new Set<string>();
  const answers = decodeAnswers(readFormAnswers());
  for (const { form } of CASES) {
    const changes = answers.next().value as number[];
    const at = changes.findIndex((field, i) => (i & 1) === 0 && field === OUTCOME_FIELDS.indexOf('vector'));
    seen.add(form);
    if (changes[at + 1] !== GENERAL_PROTECTION) completed.add(form);
  }
  return new Set([...seen].filter(form => !completed.has(form)));
}

const GENERAL_PROTECTION = 13;
/** Refused in ring 0 too: there are no performance counters, and a software interrupt of ring 3 is refused by its gate. */
const REFUSED_ALWAYS: ReadonlySet<string> = new Set(['Rdpmc', 'Int_imm8']);

test('every form has a case: in ring 3, with floating-point state, or in ring 0', () => {
  const ring3 = new Set(CASES.map(({ form }) => form));
  const refused = onlyRefused();
  const ring0 = new Set([
    ...buildOracleImage(ORACLE_SEED, ORACLE_VARIANTS).cases.flatMap(({ code }) => formsOf(code, 32)),
    ...buildOracleImage(ORACLE_SEED, 1, systemTemplates).cases.flatMap(({ code }) => formsOf(code, 32)),
    ...buildNarrowImage(readNarrowHarness()).cases.flatMap(({ code, bitness }) => formsOf(code, bitness)),
  ]);
  const forms = allForms().map(({ key }) => key);
  // iced's tables, if this does not find what there is, find far less.
  expect(forms.length).toBeGreaterThan(2500);
  const isShown = (form: string) =>
    FLOATING.has(form) || ring0.has(form) || (ring3.has(form) && (!refused.has(form) || REFUSED_ALWAYS.has(form)));
  expect(forms.filter(form => !isShown(form) && SHOWN_ELSEWHERE[form] === undefined)).toEqual([]);
  expect(Object.keys(SHOWN_ELSEWHERE).filter(isShown)).toEqual([]);
});

test('what later processors have is what this one makes of its bytes', () => {
  const machine = new Machine();
  // F3 in front of BSF and BSR (TZCNT, LZCNT), CLDEMOTE, RDSSPD: the repetition and the hints mean nothing.
  machine.execute([
    0xb8, 0x40, 1, 0, 0, 0xf3, 0x0f, 0xbc, 0xc8, 0xf3, 0x0f, 0xbd, 0xd0, 0xf3, 0x0f, 0x1e, 0xc8, 0x0f, 0x1c, 0x00, 0xf4,
  ]);
  expect([S.EAX, S.ECX, S.EDX].map(register => machine.reg(register))).toEqual([0x140, 6, 8]);
  expect(machine.reports).toEqual([]);
});
