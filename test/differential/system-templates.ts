/**
 * Cases for `buildOracleImage` of what only ring 0 may execute, or what tells of tables that are the image's own: every form with
 * operands in registers and in memory, 16 and 32 bits of address and operand.
 */
import { SCRATCH, type Template } from './oracle-image.js';

/** Memory that 16-bit addresses reach. Above bit 15 an address register holds something else. */
const LOW = 0x8000;
const OPERAND_SIZE = 0x66;
const ADDRESS_SIZE = 0x67;
/** Nobody answers there, in QEMU's PC as in ours: all ones. */
const PORT = 0x9990;
const BYTE_PORT = 0xe0;

const bytes = (...values: number[]): string => `db ${values.map(value => `0x${value.toString(16)}`).join(', ')}`;

interface Place {
  readonly prefixes: readonly number[];
  /** Low bits of ModRM: [EBX] or [BX]. */
  readonly rm: number;
  readonly setup: string;
}

const PLACES: readonly Place[] = [
  { prefixes: [], rm: 3, setup: `mov ebx, ${SCRATCH + 16}` },
  { prefixes: [ADDRESS_SIZE], rm: 7, setup: `mov ebx, ${0x50000 + LOW}` },
];
/** Where the operand of either place is, for the instructions around. */
const AT = [SCRATCH + 16, LOW];

/** Makes the image's task available again. */
const FREE_TASK = `sgdt [${SCRATCH + 40}]\nmov esi, [${SCRATCH + 42}]\nand byte [esi+0x35], 0xfd`;

export function systemTemplates(): Template[] {
  const list: Template[] = [];
  const add = (...lines: string[]) => list.push({ text: lines.filter(line => line !== '').join('\n'), repeat: 2 });
  PLACES.forEach(({ prefixes, rm, setup }, i) => {
    const at = AT[i]!;
    for (const operand of [[], [OPERAND_SIZE]]) {
      const memory = (second: number, digit: number) => bytes(...operand, ...prefixes, 0x0f, second, (digit << 3) | rm);
      const show = `mov ecx, [${at}]\nmov edx, [${at + 4}]`;
      const zero = `mov dword [${at}], 0\nmov dword [${at + 4}], 0`;
      // SLDT, STR, SMSW, SGDT, SIDT
      for (const [second, digit] of [
        [0, 0],
        [0, 1],
        [1, 4],
      ] as const) {
        add(setup, `mov dword [${at}], 0xaaaaaaaa`, memory(second, digit), show);
      }
      for (const digit of [0, 1]) {
        add(setup, zero, memory(1, digit), show);
        // The table with another limit, and what 16-bit operands leave out above; then as it was.
        const load = memory(1, digit + 2);
        const above = operand.length > 0 ? `or byte [${at + 5}], 0x7f` : '';
        const below = operand.length > 0 ? `mov byte [${at + 5}], 0` : '';
        const keep = bytes(0x0f, 0x01, (digit << 3) | 5, ...word(at));
        const back = bytes(0x0f, 0x01, ((digit + 2) << 3) | 5, ...word(at));
        add(setup, zero, keep, `sub word [${at}], 8`, above, load, keep, show, below, `add word [${at}], 8`, back);
      }
      // LLDT of a null selector and of what is none; LTR, and what is left of it: a busy task.
      for (const selector of [0, 0x10, 0x4000]) {
        add(setup, `mov word [${at}], ${selector}`, memory(0, 2), 'sldt ecx');
      }
      add(setup, FREE_TASK, `mov word [${at}], 0x30`, memory(0, 3), 'str ecx', 'mov edx, [esi+0x34]');
      add(setup, `mov word [${at}], 0x30`, memory(0, 3), 'str ecx');
      // LMSW sets TS and MP and cannot clear PE; CLTS.
      add(setup, `mov word [${at}], 0x000a`, memory(1, 6), 'mov ecx, cr0', 'clts', 'mov edx, cr0');
      add(setup, memory(1, 7)); // INVLPG
    }
  });
  for (const operand of [[], [OPERAND_SIZE]]) {
    const register = (second: number, digit: number, rm: number) =>
      bytes(...operand, 0x0f, second, 0xc0 | (digit << 3) | rm);
    for (const [second, digit] of [
      [0, 0],
      [0, 1],
      [1, 4],
    ] as const) {
      add(register(second, digit, 1));
    }
    add('mov eax, 0x50000', register(0, 2, 0), 'sldt ecx');
    add('mov eax, 0x10', register(0, 2, 0));
    add(FREE_TASK, 'mov eax, 0x70030', register(0, 3, 0), 'str ecx');
    add('mov eax, 0xffff000a', register(1, 6, 0), 'mov ecx, cr0', 'clts', 'mov edx, cr0');
    add('mov eax, 0', register(1, 6, 0), 'smsw ecx', 'clts');
  }
  for (const text of ['wbinvd', bytes(0x0f, 0x08), 'clts', 'rdtsc\nmov eax, 0\nmov edx, 0']) add(text);
  // Interrupts stay off but for the shadow of STI.
  add('sti', 'cli', 'pushfd', 'pop eax');
  add('cli', 'pushfd', 'pop eax');
  controlRegisters(add);
  debugRegisters(add);
  add('mov ecx, 0x174', 'mov eax, 8', 'mov edx, 0', 'wrmsr', 'mov eax, 0', 'rdmsr');
  for (const msr of [0x175, 0x176])
    add(`mov ecx, ${msr}`, 'mov eax, 0x89abcdef', 'mov edx, 0', 'wrmsr', 'mov eax, 0', 'rdmsr');
  add(
    'mov ecx, 0x174\nmov eax, 8\nmov edx, 0\nwrmsr\nmov ecx, 0x175\nmov eax, 0x8ff00\nwrmsr',
    'mov ecx, 0x176\nmov eax, entry',
    'wrmsr',
    'sysenter',
    'ud2',
    'entry: mov eax, ss',
    'mov ecx, cs',
  );
  add('mov ecx, 0x174\nmov eax, 0\nmov edx, 0\nwrmsr', 'sysenter');
  // To ring 3 by SYSEXIT, and back by a fault, for which there has to be a TSS.
  const task = `${FREE_TASK}\nmov dword [0x1004], 0x8fff0\nmov dword [0x1008], 0x10\nmov eax, 0x30\nltr ax`;
  const sysenterCs = 'mov ecx, 0x174\nmov eax, 8\nmov edx, 0\nwrmsr';
  add(
    task,
    sysenterCs,
    'mov edx, entry',
    'mov ecx, 0x8ff00',
    'sysexit',
    'ud2',
    'entry: mov eax, cs',
    'mov ebx, ss',
    'ud2',
  );
  add('mov ecx, 0x174\nmov eax, 0\nmov edx, 0\nwrmsr', 'sysexit');
  ports(add);
  return list;
}

const word = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];

type Add = (...lines: string[]) => void;

function controlRegisters(add: Add): void {
  for (const register of ['eax', 'ecx', 'edi']) add(`mov ${register}, cr0`, `mov cr0, ${register}`);
  add('mov eax, 0x12345678', 'mov cr2, eax', 'mov esi, cr2', 'mov ebx, 0', 'mov cr2, ebx');
  add('mov eax, 0x5018', 'mov cr3, eax', 'mov ecx, cr3', 'mov edx, 0', 'mov cr3, edx');
  add('mov eax, 0x18', 'mov cr4, eax', 'mov ecx, cr4', 'mov edx, 0', 'mov cr4, edx');
}

function debugRegisters(add: Add): void {
  for (const n of [0, 1, 2, 3]) {
    add(`mov eax, 0x8765432${n}`, `mov dr${n}, eax`, `mov edx, dr${n}`, 'mov eax, 0', `mov dr${n}, eax`);
  }
  // Nothing enabled.
  add('mov ecx, 0x40000', 'mov dr7, ecx', 'mov eax, dr7', 'mov edx, 0x400', 'mov dr7, edx');
}

/** IN, OUT, INS and OUTS, all sizes. */
function ports(add: Add): void {
  for (const low of [0, 1]) {
    for (const prefixes of low === 0 ? [[]] : [[], [OPERAND_SIZE]]) {
      add(bytes(...prefixes, 0xe4 | low, BYTE_PORT));
      add(bytes(...prefixes, 0xe6 | low, BYTE_PORT));
      add(`mov edx, ${0x50000 + PORT}`, bytes(...prefixes, 0xec | low));
      add(`mov edx, ${0x50000 + PORT}`, bytes(...prefixes, 0xee | low));
      for (const repeat of [[], [0xf3], [0xf2]]) {
        for (const direction of ['cld', 'std']) {
          const setup = `${direction}\nmov ecx, 3\nmov edx, ${PORT}`;
          add(setup, `mov edi, ${SCRATCH + 24}`, bytes(...repeat, ...prefixes, 0x6c | low));
          add(setup, `mov esi, ${SCRATCH + 24}`, bytes(...repeat, ...prefixes, 0x6e | low));
          const zero = [0, 4, 8, 12].map(at => `mov dword [${LOW + at}], 0`).join('\n');
          const show = `mov eax, [${LOW}]\nmov ebx, [${LOW + 4}]\nmov ebp, [${LOW + 8}]`;
          const narrow = [ADDRESS_SIZE, ...repeat, ...prefixes];
          add(setup, zero, `mov edi, ${0x50000 + LOW + 4}`, bytes(...narrow, 0x6c | low), show);
          add(setup, `mov esi, ${0x50000 + LOW + 4}`, bytes(...narrow, 0x6e | low));
        }
      }
    }
  }
}
