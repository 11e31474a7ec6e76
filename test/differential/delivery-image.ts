/**
 * An image for QEMU and for us: what events, task switches and debug registers do, case by case from the same fresh tables. Built
 * on `oracle-image.ts`'s conventions; one record of `DELIVERY_FIELDS` a case at `RESULTS`.
 */
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { LOAD_ADDRESS, multiboot, RESULTS, writeResults } from './oracle-image.js';
import { descriptor } from './protection-image.js';

/** The frame of the event that ended the case (`esp` as it was before it in the same ring), then registers as its handler saw them. */
export const DELIVERY_FIELDS = ['vector', 'error', 'eip', 'cs', 'eflags', 'dr6', 'tr', 'ts'] as const;

const VARS = 0x210000;
/** Number of the case that runs. */
export const CASE = VARS;
const GDT = 0x228000;
const IDT = 0x220000;
const [TSS, TASK, NARROW] = [0x230000, 0x231000, 0x232000];
const STACK = 0x250000;
const TASK_STACK = 0x252000;
const CELL = 0x260000;
const VECTORS = 56;

/** Executed in ring 0; each ends with INT 0x30 unless an event ends it before. Selectors are those of `GDT_ENTRIES`. */
export const DELIVERY_SNIPPETS = [
  // gates
  'int 0x31', // interrupt gate to a null selector
  'int 0x32', // to data
  'int 0x33', // not present
  'int 0x34', // to ring 3 code
  'int 0x35', // to conforming code
  'int 0x36', // a call gate in the IDT
  'int 0x37', // beyond the table
  'int 0xff',
  'stc\nint 0x30',
  'std\npushfd\nor dword [esp], 0x4000\npopfd\nint 0x30',
  'ud2',
  'mov edx, 0\ndiv edx',
  'mov eax, 0x7fc\nmov ds, eax',
  'db 0xf1',
  // tasks
  'jmp 0x30:0',
  'call 0x30:0',
  'call 0x40:0', // gate
  'jmp 0x40:0',
  'int 0x2a', // task gate in the IDT
  `mov byte [${GDT + 0x35}], 0x8b\njmp 0x30:0`,
  `mov byte [${GDT + 0x35}], 0x09\njmp 0x30:0`,
  `mov byte [${GDT + 0x35}], 0x09\nint 0x2a`,
  `mov byte [${GDT + 0x35}], 0x8b\nint 0x2a`,
  `mov byte [${GDT + 0x30}], 0x66\njmp 0x30:0`,
  `mov byte [${GDT + 0x45}], 0x65\njmp 0x40:0`,
  'jmp 0x28:0', // the running task
  'pushfd\nor dword [esp], 0x4000\npopfd\niretd', // no back link
  `mov word [${TSS}], 0x30\npushfd\nor dword [esp], 0x4000\npopfd\niretd`, // not busy
  `mov word [${TSS}], 0x30\nmov byte [${GDT + 0x35}], 0x8b\npushfd\nor dword [esp], 0x4000\npopfd\niretd`,
  `mov dword [${TASK + 0x20}], task_iret\ncall 0x30:0\nmov eax, 1`,
  `mov dword [${TASK + 0x20}], task_iret\nint 0x2a\nmov eax, 1`,
  `mov byte [${IDT + 13 * 8 + 5}], 0x85\nmov word [${IDT + 13 * 8 + 2}], 0x30\nmov dword [${TASK + 0x20}], task_code\nmov eax, 0x7fc\nmov ds, eax`,
  // debug registers
  `mov eax, ${CELL}\nmov dr0, eax\nmov eax, 0xd0401\nmov dr7, eax\nmov [${CELL}], eax\nnop`,
  `mov eax, ${CELL}\nmov dr0, eax\nmov eax, 0xd0401\nmov dr7, eax\nmov [${CELL + 3}], al\nnop`,
  `mov eax, ${CELL}\nmov dr0, eax\nmov eax, 0xd0401\nmov dr7, eax\nmov [${CELL - 2}], eax\nnop`,
  `mov eax, ${CELL}\nmov dr0, eax\nmov eax, 0xd0401\nmov dr7, eax\nmov eax, [${CELL}]\nnop`,
  `mov eax, ${CELL}\nmov dr2, eax\nmov eax, 0xf000410\nmov dr7, eax\nmov al, [${CELL + 1}]\nnop`,
  `mov eax, ${CELL}\nmov dr1, eax\nmov eax, 0xd00404\nmov dr7, eax\nadd dword [${CELL}], 1\nnop`,
  'mov eax, stopped\nmov dr3, eax\nmov eax, 0x440\nmov dr7, eax\nmov eax, 1\nstopped: mov eax, 2',
  'mov eax, skipped\nmov dr3, eax\nmov eax, 0x440\nmov dr7, eax\npushfd\nor dword [esp], 0x10000\npush cs\npush skipped\niretd\nskipped: mov eax, 2',
  'mov eax, 0x2400\nmov dr7, eax\nnop\nmov eax, dr0',
  'mov eax, 8\nmov cr4, eax\ndb 0x0f, 0x21, 0xe0',
  'mov eax, 0xffffffff\nmov dr6, eax\nmov eax, 0\nmov dr6, eax\nint 0x30',
  // single steps
  'pushfd\nor dword [esp], 0x100\npopfd\nnop\nnop',
  'pushfd\nor dword [esp], 0x100\npopfd\ncpuid\nnop',
  'pushfd\nor dword [esp], 0x100\npopfd\njmp short step\nnop\nstep: nop',
  'mov ecx, 3\nmov edi, 0x260100\npushfd\nor dword [esp], 0x100\npopfd\nrep stosb\nnop',
  'pushfd\nor dword [esp], 0x100\npopfd\nint 0x30',
  'pushfd\nor dword [esp], 0x100\npopfd\nud2',
  'mov eax, ss\npushfd\nor dword [esp], 0x100\npopfd\nmov ss, eax\nnop\nnop',
  'pushfd\nor dword [esp], 0x100\nmov eax, 0x2000\npopfd\nmov eax, cr3\nnop',
] as const;

/** 08 code, 10 data, 18 and 20 data and code of ring 3, 28 the running task, 30 another, 38 a 16-bit one, 40 a gate to 30, 48 conforming. */
const GDT_ENTRIES = [
  descriptor(0, 0, 0, 0),
  descriptor(0, 0xfffff, 0x9b, 0xc),
  descriptor(0, 0xfffff, 0x93, 0xc),
  descriptor(0, 0xfffff, 0xf3, 0xc),
  descriptor(0, 0xfffff, 0xfb, 0xc),
  descriptor(TSS, 0x67, 0x89, 0),
  descriptor(TASK, 0x67, 0x89, 0),
  descriptor(NARROW, 0x2b, 0x81, 0),
  '0, 0, 0x30, 0, 0, 0xe5, 0, 0',
  descriptor(0, 0xfffff, 0x9f, 0xc),
];

/** A vector's gate leads back to the task that was left: the stack of a new task with a bad SS is of no use. */
const BACK = (vector: number): string =>
  `mov byte [${IDT + vector * 8 + 5}], 0x85\nmov word [${IDT + vector * 8 + 2}], 0x28\n`;

/**
 * What a monitor does in the processor's place and QEMU was not asked about: what is wrong with the new task itself, and events that meet it.
 * Registers of the new task that are good: `DELIVERY_SNIPPETS`.
 */
export const SWITCHED_SNIPPETS = [
  `${BACK(10)}jmp 0x38:0`, // a 16-bit task without a CS
  `mov word [0x500], 0x30cd\nmov word [${NARROW + 0x0e}], 0x500\nmov word [${NARROW + 0x10}], 3\nmov word [${NARROW + 0x1a}], 0x8000\n` +
    `mov word [${NARROW + 0x22}], 0x10\nmov word [${NARROW + 0x24}], 0x08\nmov word [${NARROW + 0x26}], 0x10\nmov word [${NARROW + 0x28}], 0x10\ncall 0x38:0`,
  `${BACK(10)}mov dword [${TASK + 0x4c}], 0x10\njmp 0x30:0`, // CS of data
  `${BACK(10)}mov dword [${TASK + 0x4c}], 0x7f8\njmp 0x30:0`, // beyond the table
  `${BACK(11)}mov byte [${GDT + 0x4d}], 0x1f\nmov dword [${TASK + 0x4c}], 0x48\njmp 0x30:0`, // CS not present
  `${BACK(10)}mov dword [${TASK + 0x50}], 0x08\njmp 0x30:0`, // SS of code
  `${BACK(10)}mov dword [${TASK + 0x50}], 0\njmp 0x30:0`,
  `${BACK(12)}mov byte [${GDT + 0x1d}], 0x13\nmov dword [${TASK + 0x50}], 0x18\njmp 0x30:0`, // SS not present
  `mov dword [${TASK + 0x54}], 0x1b\ncall 0x30:0`, // DS of ring 3: allowed
  `mov byte [${GDT + 0x1d}], 0x73\nmov dword [${TASK + 0x54}], 0x18\ncall 0x30:0`, // DS not present
  `${BACK(10)}mov dword [${TASK + 0x60}], 0x10\njmp 0x30:0`, // LDT of data
  `${BACK(10)}mov dword [${TASK + 0x60}], 0x0c\njmp 0x30:0`, // LDT in the LDT
  `mov dword [${TASK + 0x24}], 0x1d7\njmp 0x30:0`, // single-stepped from the first instruction
  `mov byte [${TASK + 0x64}], 1\njmp 0x30:0`, // the T bit
  `mov byte [${TASK + 0x64}], 1\nint 0x2a`,
  `mov dword [${TASK + 0x54}], 0x7f8\nint 0x2a`,
  // Events through a task gate whose task is bad: #UD is benign, #GP makes a double fault of it.
  `mov byte [${IDT + 6 * 8 + 5}], 0x85\nmov word [${IDT + 6 * 8 + 2}], 0x30\nmov dword [${TASK + 0x54}], 0x7f8\nud2`,
  `mov byte [${IDT + 13 * 8 + 5}], 0x85\nmov word [${IDT + 13 * 8 + 2}], 0x30\nmov dword [${TASK + 0x54}], 0x7f8\nmov eax, 0x7fc\nmov ds, eax`,
  `mov byte [${IDT + 13 * 8 + 5}], 0x85\nmov word [${IDT + 13 * 8 + 2}], 0x28\nmov eax, 0x7fc\nmov ds, eax`, // to the running task
  `mov byte [${IDT + 8 * 8 + 5}], 0x85\nmov word [${IDT + 8 * 8 + 2}], 0x30\nmov dword [${TASK + 0x20}], task_plain\n` +
    `mov word [${IDT + 13 * 8 + 4}], 0x0e00\nmov eax, 0x7fc\nmov ds, eax`, // a double fault's own task
  `mov byte [${IDT + 3 * 8 + 5}], 0xe5\nmov word [${IDT + 3 * 8 + 2}], 0x30\nmov dword [${TASK + 0x20}], task_iret\nint3\nmov eax, 1`,
  'pushfd\nor dword [esp], 0x100\npopfd\njmp 0x30:0',
  `mov eax, 0x2400\nmov dr7, eax\nnop\nmov eax, dr0`, // general detection
  `mov eax, 0x2400\nmov dr7, eax\npushfd\nor dword [esp], 0x100\npopfd\nnop\nnop`, // and a step that ends it
  `mov eax, 0x401\nmov dr7, eax\nmov eax, ${CELL}\nmov dr0, eax\nmov dword [${TASK + 0x20}], task_iret\ncall 0x30:0\nmov eax, dr7\nmov dr6, eax`,
  'db 0xf1',
] as const;

export function buildDeliveryImage(cases: readonly string[] = DELIVERY_SNIPPETS): Uint8Array {
  const snippets = cases
    .map((text, i) => {
      const own = text.replace(/\b(stopped|skipped|step)\b/g, `$1${i}`);
      return `s${i}: ${own}\nint 0x30`;
    })
    .join('\n');
  const stubs = Array.from({ length: VECTORS }, (_, vector) => {
    const hasError = vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;
    return `v${vector}: ${hasError ? '' : 'push 0\n'}push ${vector}\njmp fault`;
  }).join('\n');
  const gate = (vector: number, selector: number, type: number) => `
        mov word [${IDT + vector * 8 + 2}], ${selector}
        mov word [${IDT + vector * 8 + 4}], ${type << 8}`;
  const source = `
        mov esp, ${STACK}
        mov al, 0xff
        out 0x21, al
        out 0xa1, al
        mov dword [${VARS}], 0
        mov dword [${VARS + 4}], ${RESULTS}
 next:  mov edi, ${GDT}
        mov esi, gdt
        mov ecx, ${GDT_ENTRIES.length * 8}
        cld
        rep movsb
        mov edi, ${IDT}
        mov esi, stubs
        xor ecx, ecx
 gate:  mov eax, [esi+ecx*4]
        mov [edi+ecx*8], ax
        mov word [edi+ecx*8+2], 0x08
        mov word [edi+ecx*8+4], 0x8e00
        shr eax, 16
        mov [edi+ecx*8+6], ax
        inc ecx
        cmp ecx, ${VECTORS}
        jb gate
        ${gate(0x31, 0, 0x8e)}
        ${gate(0x32, 0x10, 0x8e)}
        ${gate(0x33, 0x08, 0x0e)}
        ${gate(0x34, 0x23, 0x8e)}
        ${gate(0x35, 0x48, 0x8e)}
        ${gate(0x36, 0x08, 0x8c)}
        ${gate(0x2a, 0x30, 0x85)}
        lgdt [gdtr]
        lidt [idtr]
        jmp 0x08:flush
 flush: mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov fs, eax
        mov gs, eax
        mov esp, ${STACK}
        mov edi, ${TSS}
        mov ecx, ${0x3000 / 4}
        xor eax, eax
        rep stosd
        mov dword [${TSS + 4}], ${STACK}
        mov dword [${TSS + 8}], 0x10
        mov dword [${TASK + 0x20}], task_plain
        mov dword [${TASK + 0x24}], 2
        mov dword [${TASK + 0x38}], ${TASK_STACK}
        mov dword [${TASK + 0x48}], 0x10
        mov dword [${TASK + 0x4c}], 0x08
        mov dword [${TASK + 0x50}], 0x10
        mov dword [${TASK + 0x54}], 0x10
        mov eax, 0x28
        ltr ax
        xor eax, eax
        mov cr4, eax
        mov dr7, eax
        mov dr6, eax
        clts
        push 2
        popfd
        mov eax, [${VARS}]
        mov ecx, [table+eax*4]
        mov [${VARS + 8}], ecx
        xor eax, eax
        jmp ecx
 ${stubs}
 ; Frame: vector, error, eip, cs, eflags. Not all events come with flat data segments.
 fault: push ds
        push eax
        push edi
        mov eax, 0x10
        mov ds, eax
        mov edi, [${VARS + 4}]
        mov eax, [esp+12]
        mov [edi], eax
        mov eax, [esp+16]
        mov [edi+4], eax
        mov eax, [esp+20]
        sub eax, [${VARS + 8}]
        mov [edi+8], eax
        mov eax, [esp+24]
        mov [edi+12], eax
        mov eax, [esp+28]
        and eax, 0x1f700
        mov [edi+16], eax
        xor eax, eax
        mov dr7, eax
        mov eax, dr6
        and eax, 0xe00f
        mov [edi+20], eax
        str eax
        mov [edi+24], eax
        mov eax, cr0
        and eax, 8
        mov [edi+28], eax
        add edi, ${DELIVERY_FIELDS.length * 4}
        mov [${VARS + 4}], edi
        inc dword [${VARS}]
        cmp dword [${VARS}], ${cases.length}
        jb next
 ${writeResults(VARS + 4)}
 task_plain: int 0x30
 task_iret: mov ebx, 5
        iretd
        int 0x30
 task_code: pop eax
        cmp eax, 0x7fc
        jne task_plain
        int 0x30
 ${snippets}
 gdtr:  dw ${GDT_ENTRIES.length * 8 - 1}
        dd ${GDT}
 idtr:  dw ${VECTORS * 8 - 1}
        dd ${IDT}
 gdt:   db ${GDT_ENTRIES.join('\n        db ')}
 stubs: dd ${Array.from({ length: VECTORS }, (_, vector) => `v${vector}`).join(', ')}
 table: dd ${cases.map((_, i) => `s${i}`).join(', ')}
`;
  return multiboot(assemble(LOAD_ADDRESS + 32, source).bytes);
}
