/**
 * Teaches the JavaScript engine the interpreter before it matters. The interpreter is one large function; an op that was never
 * executed when the optimizer looks makes it throw its work away the first time the op comes (a few hundred milliseconds
 * each time). So every op runs a few times at start, on a machine of its own which is then dropped. Nothing a guest can see
 * depends on it.
 */
import { XEON_5160 } from '../costs/xeon-5160.js';
import { MachineMemory, RESERVED_BYTES } from '../memory.js';
import { assemble } from './assemble.js';
import { CodeCache } from './code-cache.js';
import { Context } from './context.js';
import { Attr, Cr0, S, Seg } from './state.js';

const RAM_BYTES = 0x20000;
const ENTRY = 0x1000;
const DATA = 0x8000;

const BINARY = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp', 'test'];
const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];

/** Flags left by each kind of operation, so that every condition is evaluated on each. */
const FLAG_SETTERS = [
  'add eax, ecx',
  'sub eax, ecx',
  'and eax, ecx',
  'adc eax, ecx',
  'sbb eax, ecx',
  'inc eax',
  'dec eax',
  'shl eax, 3',
  'sahf',
];

function program(): string {
  const lines: string[] = [`mov ebx, ${DATA}`, 'mov edi, 12', 'again:'];
  for (const op of BINARY) {
    lines.push(
      `${op} eax, ecx`,
      `${op} eax, 5`,
      `${op} al, cl`,
      `${op} dx, ax`,
      `${op} eax, [ebx+4]`,
      `${op} [ebx+8], ecx`,
    );
    lines.push(`${op} [ebx], cl`, `${op} [ebx+2], dx`, `${op} dword [ebx+12], 7`);
  }
  for (const operand of ['eax', 'dl', 'cx', 'dword [ebx]', 'byte [ebx+1]', 'word [ebx+2]']) {
    for (const op of ['inc', 'dec', 'neg', 'not', 'mul', 'imul']) lines.push(`${op} ${operand}`);
    for (const op of ['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr'])
      lines.push(`${op} ${operand}, 3`, `${op} ${operand}, cl`);
  }
  for (const setter of FLAG_SETTERS) {
    for (const cc of CONDITIONS)
      lines.push(setter, `set${cc} dl`, setter, `cmov${cc} edx, ecx`, setter, `j${cc} short $+2`);
    lines.push(setter, 'pushfd', 'popfd', 'lahf');
  }
  lines.push(
    'mov ecx, 3',
    'mov edx, 0',
    'mov eax, 100',
    'div ecx',
    'cdq',
    'idiv ecx',
    'cwde',
    'cbw',
    'bswap eax',
    'lea eax, [ebx+ecx*4+9]',
  );
  lines.push(
    'movzx eax, byte [ebx]',
    'movsx eax, byte [ebx]',
    'movzx eax, word [ebx]',
    'movsx eax, word [ebx]',
    'movzx eax, cl',
    'movsx eax, cl',
  );
  lines.push(
    'mov [ebx], eax',
    'mov [ebx], al',
    'mov [ebx], ax',
    'mov al, [ebx]',
    'mov ax, [ebx]',
    'mov ah, 3',
    'mov eax, ds',
    'mov es, eax',
  );
  lines.push(
    'bt eax, 3',
    'bts [ebx], ecx',
    'btr eax, ecx',
    'btc eax, ecx',
    'bsf eax, ecx',
    'bsr eax, ecx',
    'shld eax, ecx, 4',
    'shrd eax, ecx, cl',
  );
  lines.push(
    'xchg eax, [ebx]',
    'xchg eax, ecx',
    'lock xadd [ebx], eax',
    'lock cmpxchg [ebx], ecx',
    'lock cmpxchg8b [ebx]',
    'clc',
    'stc',
    'cmc',
    'cld',
  );
  lines.push(
    'mov ecx, 3',
    'push edi',
    `mov esi, ${DATA}`,
    `mov edi, ${DATA + 64}`,
    'rep movsd',
    'stosd',
    'lodsd',
    'mov ecx, 2',
    'repe cmpsb',
    'scasb',
    'pop edi',
  );
  lines.push(
    'mov ecx, 2',
    'loop $',
    // Branches with a 16-bit operand: LOOP to itself, JZ to the next instruction.
    'mov ecx, 2',
    'db 0x66, 0xe2, 0xfd',
    'db 0x66, 0x74, 0x00',
    'mov ecx, 0',
    'jecxz $+2',
    'call routine',
    'mov eax, routine',
    'call eax',
    'pushad',
    'popad',
    'push 3',
    'pop ecx',
  );
  lines.push('enter 8, 0', 'leave', 'rdtsc', 'mov eax, cr0', 'sti', 'cli', 'daa', 'aam 10', 'aad 10');
  // FNINIT; FLD, FADD and FSTP of doubles; PXOR of MMX registers; EMMS.
  lines.push('db 0xdb, 0xe3, 0xdd, 0x03, 0xdc, 0x03, 0xdd, 0x5b, 0x20, 0x0f, 0xef, 0xc0, 0x0f, 0x77');
  lines.push('dec edi', 'jnz again', 'hlt', 'routine: ret');
  return lines.join('\n');
}

let done = false;

/** Runs once per process; some tens of milliseconds. */
export function warmUpInterpreter(): void {
  if (done) return;
  done = true;
  const memory = new MachineMemory(RESERVED_BYTES + RAM_BYTES);
  const context = new Context(
    {
      memory,
      costs: XEON_5160,
      ports: { read: () => 0, write: () => {} },
      mmio: { read: () => 0, write: () => {} },
      interrupts: { acknowledge: () => 0 },
      physicalBase: RESERVED_BYTES,
      physicalBytes: RAM_BYTES,
      isDeviceMemory: () => false,
      ring0Escapes: false,
      onUnimplemented: () => {},
      cpuid: () => [0, 0, 0, 0],
      readMsr: () => undefined,
      writeMsr: () => false,
    },
    new CodeCache(memory),
  );
  memory.writeBytes(RESERVED_BYTES + ENTRY, assemble(ENTRY, program()).bytes);
  // A GDT of one flat data segment, for MOV ES.
  memory.writeBytes(RESERVED_BYTES + 0x110, Uint8Array.of(0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0));
  context.s[S.GDT_BASE] = 0x100;
  context.s[S.GDT_LIMIT] = 0x17;
  const data = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G;
  for (const seg of [Seg.DS, Seg.ES, Seg.SS, Seg.FS, Seg.GS]) context.setSegment(seg, 0x10, 0, 0xffffffff, data);
  context.setSegment(Seg.CS, 0x08, 0, 0xffffffff, data | Attr.CODE);
  context.setCr0(Cr0.PE | Cr0.ET);
  context.writeEflags(2);
  context.s[S.ESP] = RAM_BYTES;
  context.s[S.EIP] = ENTRY;
  context.run(Number.MAX_SAFE_INTEGER);
}
