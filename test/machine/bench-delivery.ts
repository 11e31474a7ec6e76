/**
 * Speed of events and of what goes with them, in nanoseconds an operation by wall clock. Run by hand:
 *
 *     npx esbuild test/machine/bench-delivery.ts --bundle --platform=node --format=esm --external:iced-x86 --outfile=node_modules/.b.mjs
 *     node node_modules/.b.mjs [name]
 *
 * A row runs for some seconds and reports its best round: the optimizer takes a second or so, and other work disturbs.
 */
import { deliver, Source } from '../../src/hypervisor/machine/cpu/exceptions.js';
import { interruptReturn } from '../../src/hypervisor/machine/cpu/far.js';
import { S } from '../../src/hypervisor/machine/cpu/state.js';
import { CODE, CS3, DATA, DS0, DS3, HANDLERS, Machine, PAGE_DIRECTORY, STACK0, STACK3 } from './fixture.js';

const handler = (vector: number) => HANDLERS + vector * 16;
const MILLISECONDS = 3000;
/** Page that the page-fault rows leave not present. */
const HOLE = DATA + 0x100000;

interface Row {
  readonly code: string;
  readonly count: number;
  /** Vector and handler code. */
  readonly handlers?: readonly (readonly [number, string])[];
  readonly paging?: boolean;
  prepare?(machine: Machine): void;
}

const toRing3 = `
  push ${DS3}
  push ${STACK3}
  push 0x202
  push ${CS3}
  push user
  mov eax, ${DS3}
  mov ds, eax
  mov es, eax
  iretd
user:`;

const loop = (count: number, body: string) => `
  mov ecx, ${count}
top:
  ${body}
  dec ecx
  jnz top
  int 0x21`;

const ROWS: Readonly<Record<string, Row>> = {
  'loop alone': { count: 5_000, paging: true, code: loop(5_000, 'nop') },
  'int 0x80 and iret, ring 0': {
    count: 5_000,
    paging: true,
    code: loop(5_000, 'int 0x80'),
    handlers: [[0x80, 'iretd']],
  },
  'int 0x80 and iret, ring 3': {
    count: 5_000,
    paging: true,
    code: toRing3 + loop(5_000, 'int 0x80'),
    handlers: [[0x80, 'iretd']],
  },
  'sysenter and sysexit': {
    count: 5_000,
    paging: true,
    code: `mov eax, 8\nmov edx, 0\nmov ecx, 0x174\nwrmsr\nmov eax, ${STACK0}\nmov ecx, 0x175\nwrmsr\nmov eax, kernel\nmov ecx, 0x176\nwrmsr
      mov ebx, 5000
      jmp enter
      kernel: mov ecx, esp
      mov edx, back
      sysexit
      enter: mov edx, back
      mov ecx, ${STACK0}
      sysexit
      back: dec ebx
      jz over
      sysenter
      over: int 0x21`,
    prepare: machine => {
      // SYSEXIT takes its segments from where SYSENTER_CS points.
      machine.descriptor(0x08 + 16, 0, 0xffffffff, 0x40fb);
    },
  },
  'divide fault and iret, ring 3': {
    count: 5_000,
    paging: true,
    code: `${toRing3}${loop(5_000, 'mov edx, 0\nmov eax, 5\ndiv edx')}`,
    handlers: [[0, 'add dword [esp], 2\niretd']],
  },
  'page fault, fix, iret, ring 3': {
    count: 5_000,
    paging: true,
    code: `${toRing3}${loop(5_000, `mov eax, [${HOLE}]\nint 0x80`)}`,
    handlers: [
      [14, `add esp, 4\njmp dword [${handler(0x90)}]`],
      [0x80, `and dword [${0x40000 + (HOLE >>> 12) * 4}], -2\ninvlpg [${HOLE}]\niretd`],
    ],
    prepare: machine => {
      machine.write32(handler(0x90), handler(0x91));
      machine.loadAt(handler(0x91), `or dword [${0x40000 + (HOLE >>> 12) * 4}], 1\niretd`);
      machine.write32(0x40000 + (HOLE >>> 12) * 4, HOLE | 6);
    },
  },
  'mov cr3': {
    count: 5_000,
    paging: true,
    code: `mov eax, ${PAGE_DIRECTORY}\n${loop(5_000, 'mov cr3, eax')}`,
  },
  invlpg: { count: 5_000, paging: true, code: loop(5_000, `invlpg [${DATA}]`) },
  'mov ds': { count: 5_000, paging: true, code: `mov eax, ${DS0}\n${loop(5_000, 'mov ds, eax')}` },
};

const only = process.argv[2];

/** The helpers alone, without an engine around them. */
function helpers(): void {
  const machine = new Machine();
  machine.enablePaging();
  machine.setRing(3);
  const { cpu } = machine;
  cpu.s[S.EIP] = CODE;
  const count = 5_000;
  let nanoseconds = Number.POSITIVE_INFINITY;
  const end = performance.now() + MILLISECONDS;
  while (performance.now() < end) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < count; i++) {
      deliver(cpu, 0x80, 0, Source.SOFTWARE, CODE);
      interruptReturn(cpu);
      cpu.s[S.EIP] = cpu.nextEip;
    }
    nanoseconds = Math.min(nanoseconds, Number(process.hrtime.bigint() - start));
  }
  if (cpu.s[S.CPL] !== 3 || cpu.s[S.EIP] !== CODE) throw new Error('the helpers went astray');
  console.log(`helpers of int 0x80 and iret        ${(nanoseconds / count).toFixed(1).padStart(9)} ns`);
}

if (only === undefined || 'helpers'.includes(only)) helpers();

for (const [name, row] of Object.entries(ROWS)) {
  if (only !== undefined && !name.includes(only)) continue;
  const machine = new Machine();
  machine.gate(0x21, 3);
  for (const [vector, code] of row.handlers ?? []) machine.loadAt(handler(vector), code);
  if (row.paging === true) machine.enablePaging();
  row.prepare?.(machine);
  let nanoseconds = Number.POSITIVE_INFINITY;
  const end = performance.now() + MILLISECONDS;
  let instructions = 0;
  let cycles = 0;
  while (performance.now() < end) {
    machine.setRing(0);
    machine.load(row.code, CODE);
    machine.cpu.writeEflags(2);
    instructions = machine.cpu.instructions;
    cycles = machine.cpu.cycles;
    const start = process.hrtime.bigint();
    const exit = machine.run();
    nanoseconds = Math.min(nanoseconds, Number(process.hrtime.bigint() - start));
    instructions = machine.cpu.instructions - instructions;
    cycles = machine.cpu.cycles - cycles;
    if (exit.kind !== 'halt' || machine.reg(S.EIP) !== handler(0x21) + 1) {
      throw new Error(`${name}: ${JSON.stringify(exit)} at ${machine.reg(S.EIP).toString(16)}`);
    }
  }
  console.log(
    `${name.padEnd(34)} ${(nanoseconds / row.count).toFixed(1).padStart(9)} ns  ${(instructions / row.count).toFixed(1)} instructions, ` +
      `${(cycles / row.count).toFixed(1)} cycles, ${((instructions / nanoseconds) * 1000).toFixed(1)} MIPS`,
  );
}
