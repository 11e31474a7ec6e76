/**
 * What 32-bit Linux kernels do with code, segments, stacks and flags that programs do not: each idiom leaves a value in ESI that follows
 * from what the instructions mean, and everybody who runs it ends with the same registers, flags and data.
 */
import { describe, expect, test } from 'vitest';
import { VmHost } from '../../src/hypervisor/vm/host.js';
import { image, PROLOGUE } from '../vm/programs.js';
import { consoleOf, findings } from './run-guest.js';

const QUANTA_MAX = 40;
const DATA = 0x210000;
/** Where a program can put code. */
const TEXT = 0x300000;
const DIRECTORY = 0x200000;
const KERNEL_STACK = 0x90000;
const OTHER_STACK = 0x98000;
/** A second address space, and descriptor table and state of a second task. */
const OTHER_DIRECTORY = 0x202000;
const TASKS = 0x204000;
const USER_STACK = 0x9c000;
const Selector = {
  CODE: 0x08,
  DATA: 0x10,
  PERCPU: 0x18,
  CANARY: 0x20,
  USER_CODE: 0x2b,
  USER_DATA: 0x33,
  TSS: 0x38,
} as const;

/** Segment at `base` with a limit of 64 KiB, 32-bit data. */
const small = (base: number): string =>
  `dd ${((base & 0xffff) << 16) | 0xffff}, ${0x00409300 | ((base >>> 16) & 0xff)}`;

/** Paging with 4 MiB pages, identity; write protection on. */
const PAGING = `mov dword [${DIRECTORY}], 0x87
        mov dword [${DIRECTORY + 4}], 0x00400087
        mov eax, cr4
        or eax, 0x90
        mov cr4, eax
        mov eax, ${DIRECTORY}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax`;

const handler = (vector: number, label: string): string => `mov eax, ${label}\n mov ecx, ${vector}\n call gate`;

const program = (source: string): string => `${PROLOGUE}
 own_gdtr: dw 0x3f
        dd own_gdt
 own_gdt: dd 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300
        ${small(DATA + 0x1000)}
        ${small(DATA + 0x2000)}
        dd 0x0000ffff, 0x00cffb00, 0x0000ffff, 0x00cff300, 0x00000067, 0x00008900
 tss:   dd 0, ${KERNEL_STACK}, ${Selector.DATA}
        ${'dd 0\n'.repeat(23)}
 main:  mov eax, tss
        mov [own_gdt+${Selector.TSS + 2}], ax
        shr eax, 16
        mov [own_gdt+${Selector.TSS + 4}], al
        lgdt [own_gdtr]
        mov eax, ${Selector.TSS}
        ltr ax
        mov eax, ${Selector.PERCPU}
        mov fs, ax
        mov eax, ${Selector.CANARY}
        mov gs, ax
        xor esi, esi
        mov ebp, ${DATA}
        ${source}
 show:  pushf
        pushad
        mov esi, esp
        mov ecx, 36
        cld
 byte:  lodsb
        call put
        loop byte
        mov esi, ${DATA}
        mov ecx, 64
 data:  lodsb
        call put
        loop data
        jmp off`;

/** Each idiom three times: the first run is translated, the others find it so. */
const thrice = (body: string, behind = ''): string => `mov dword [${DATA + 0x100}], 3
 turn:  ${body}
        dec dword [${DATA + 0x100}]
        jnz turn
        jmp show
        ${behind}`;

const IDIOMS: Readonly<Record<string, { readonly source: string; readonly esi: number }>> = {
  'a decompressor that copies itself up, downwards, and unpacks to where it was': {
    source: `jmp begin
 begin: mov ebx, ${TEXT}
        mov esi, stage_end-1
        lea edi, [ebx+stage_end-begin-1]
        mov ecx, stage_end-begin
        std
        rep movsb
        cld
        lea eax, [ebx+moved-begin]
        jmp eax
 moved: mov edi, begin
        mov ecx, 8
        mov eax, 0x90909090
        rep stosd
        mov byte [begin+8], 0xbe
        mov dword [begin+9], 0x5ca1ab1e
        mov byte [begin+13], 0xc3
        mov eax, begin
        call eax
        mov eax, show
        jmp eax
 stage_end: nop`,
    esi: 0x5ca1ab1e,
  },
  'alternatives: an indirect call made direct, a fence made NOPs, with WP off and a serializing IRET': {
    source: thrice(
      `mov eax, cr0
        mov edx, eax
        and eax, 0xfffeffff
        mov cr0, eax
        mov byte [site], 0xe8
        mov dword [site+1], target-site-5
        mov byte [site+5], 0x90
        mov dword [fence], 0x00441f0f
        mov byte [fence+4], 0
        mov cr0, edx
        pushf
        push cs
        push synced
        iretd
 synced: mov dword [pointer], wrong
 site:  call dword [pointer]
 fence: lock add dword [esp], 0`,
      `target: add esi, 0x101
        ret
 wrong: ud2
 pointer: dd wrong`,
    ),
    esi: 0x303,
  },
  'text poked through INT3, whose handler emulates the call that is being written': {
    source: `${handler(3, 'hit')}
        ${thrice(
          `mov byte [poked], 0xcc
        call function
        mov dword [poked+1], traced-poked-5
        call function
        mov byte [poked], 0xe8
        call function
        mov byte [poked], 0xcc
        call function
        mov dword [poked+1], 0x0000441f
        mov byte [poked], 0x0f
        call function`,
          `function: add esi, 1
 poked: db 0x0f, 0x1f, 0x44, 0, 0
        add esi, 0x10
        ret
 traced: add esi, 0x100
        ret
        ; Three words of the frame move down by one; behind them comes the address behind the call.
 hit:   push eax
        mov eax, [esp+4]
        mov [esp], eax
        mov eax, [esp+8]
        mov [esp+4], eax
        mov eax, [esp+12]
        mov [esp+8], eax
        mov dword [esp+12], poked+5
        mov dword [esp], traced
        iretd`,
        )}`,
    // Each turn five calls, of which four are traced.
    esi: 3 * (5 * 0x11 + 4 * 0x100),
  },
  'a LOCK prefix patched away, and a jump over it into the instruction': {
    source: thrice(`mov byte [prefix], 0x3e
        mov dword [ebp], 5
        call prefixed
        mov byte [prefix], 0xf0
        call prefixed
        jmp over
 prefixed: stc
        mov eax, prefix
        inc eax
        test esi, 1
        jz prefix
        jmp eax
 prefix: db 0xf0, 0xff, 0x45, 0x00
        add esi, [ebp]
        ret
 over:  nop`),
    esi: 3 * (6 + 7),
  },
  'NOPs of all lengths, ENDBR32, fences, PAUSE, REP RET, NOTRACK JMP': {
    source: thrice(
      `db 0x66, 0x90
        db 0x0f, 0x1f, 0x00
        db 0x0f, 0x1f, 0x40, 0x00
        db 0x0f, 0x1f, 0x44, 0x00, 0x00
        db 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00
        db 0x0f, 0x1f, 0x80, 0, 0, 0, 0
        db 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
        db 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
        db 0x65, 0x0f, 0x1f, 0x40, 0x10
        db 0xf3, 0x0f, 0x1e, 0xfb
        db 0xf3, 0x90
        db 0x0f, 0xae, 0xe8
        db 0x0f, 0xae, 0xf0
        db 0x0f, 0xae, 0xf8
        db 0x0f, 0x18, 0x00
        lea esi, [esi*1]
        lea esi, [esi+0]
        call early
        mov eax, late
        db 0x3e, 0xff, 0xe0
        ud2
 late:  add esi, 0x10`,
      `early: inc esi
        db 0xf3, 0xc3`,
    ),
    esi: 0x33,
  },
  'UD2 and UD1 with a bug table, INT3 as a trap, CLAC and XGETBV where there are none': {
    source: `${handler(6, 'undefined')}
        ${thrice(
          `stc
        ud2
        add esi, 1
        db 0x0f, 0xb9, 0xc0
        add esi, 2
        db 0x0f, 0x01, 0xca
        add esi, 4
        db 0x0f, 0x01, 0xd0
        add esi, 8`,
          `undefined: push eax
        push ebx
        mov ebx, [esp+8]
        add esi, 0x100
        mov eax, 2
        cmp word [ebx], 0x0b0f
        je known
        mov eax, 3
 known: add [esp+8], eax
        pop ebx
        pop eax
        iretd`,
        )}`,
    esi: 3 * 0x40f,
  },
  'softirqs on a stack of their own, and a switch of tasks by stacks': {
    source: `mov dword [${OTHER_STACK - 4}], task
        mov dword [${OTHER_STACK - 8}], 0x77
        mov dword [ebp], ${OTHER_STACK - 8}
        ${thrice(
          `mov ebx, ${OTHER_STACK + 0x2000}
        mov edi, softirq
        xchg ebx, esp
        call edi
        mov esp, ebx
        push ebp
        mov [ebp+4], esp
        mov esp, [ebp]
        pop ebp
        ret
 back:  pop ebp`,
          `softirq: add esi, 1
        push 5
        pop eax
        ret
 task:  mov ebp, ${DATA}
        add esi, 0x10
        push here
        push ebp
        mov [ebp], esp
        mov esp, [ebp+4]
        jmp back
 here:  add esi, 0x100
        push here
        push ebp
        mov [ebp], esp
        mov esp, [ebp+4]
        jmp back`,
        )}`,
    esi: 3 + 0x10 + 0x200,
  },
  'every segment register: %fs data of a CPU, %gs with a canary, saved, loaded and given back': {
    source: thrice(`mov dword [${DATA + 0x1010}], 0x10
        mov dword [${DATA + 0x2014}], 0xcafe
        push fs
        push gs
        push es
        push ds
        mov edx, ${Selector.USER_DATA}
        mov ds, dx
        mov es, dx
        mov fs, dx
        mov gs, dx
        mov edx, ${Selector.PERCPU}
        mov fs, dx
        inc dword fs:[0x10]
        mov eax, 0x11
        mov ecx, 0x22
        cmpxchg fs:[0x10], ecx
        setz al
        movzx eax, al
        add esi, eax
        mov eax, 1
        xadd fs:[0x10], eax
        add esi, eax
        pop ds
        pop es
        pop gs
        pop fs
        mov eax, gs:[0x14]
        push eax
        xor eax, gs:[0x14]
        pop eax
        jnz bad
        sub eax, 0xcafd
        add esi, eax
        mov eax, gs
        cmp ax, ${Selector.CANARY}
        jne bad
        mov [ebp+8], fs
        mov [ebp+12], gs
        mov [ebp+16], ss
        mov [ebp+20], cs
        push dword fs:[0x10]
        pop dword gs:[0x18]
        lgs eax, [pointer]
        lfs edx, [pointer]
        les ebx, [pointer]
        push ${Selector.DATA}
        pop es
        push ${Selector.PERCPU}
        pop fs
        push ${Selector.CANARY}
        pop gs
        jmp good
 pointer: dd 0x1234
        dw ${Selector.CANARY}
 bad:   mov esi, 0
 good:  nop`),
    esi: 3 * (1 + 0x22 + 1),
  },
  'VERW, VERR, LAR and LSL of selectors': {
    source: thrice(`mov word [ebp], ${Selector.DATA}
        db 0x0f, 0x00, 0x6d, 0x00
        setz al
        movzx eax, al
        add esi, eax
        mov eax, ${Selector.CODE}
        verw ax
        setz al
        movzx eax, al
        add esi, eax
        mov eax, ${Selector.CODE}
        verr ax
        setz al
        movzx eax, al
        add esi, eax
        mov eax, ${Selector.PERCPU}
        lsl ebx, eax
        add esi, ebx
        lar ecx, eax
        mov eax, 0x78
        lsl edx, eax
        lea esi, [esi+1]
        jnz absent
        mov esi, 0
 absent: nop`),
    esi: 3 * (1 + 0 + 1 + 0xffff + 1),
  },
  'far returns and IRET to the same ring, with flags that change': {
    source: thrice(
      `push cs
        push one
        retf
 one:   add esi, 1
        jmp ${Selector.CODE}:two
 two:   add esi, 2
        push 0x8d7
        push cs
        push three
        iretd
 three: pushf
        pop eax
        and eax, 0x8d5
        cmp eax, 0x8d5
        jne out
        add esi, 4
        push cs
        call four
        add esi, 8
        db 0xff, 0x1d
        dd far_pointer
 out:   nop`,
      `four:  add esi, 0x10
        retf
 far_pointer: dd five
        dw ${Selector.CODE}
 five:  add esi, 0x20
        retf`,
    ),
    esi: 3 * 0x3f,
  },
  'a task of its own with an address space of its own, called, called again, and by an event': {
    source: `${PAGING}
        mov esi, own_gdt
        mov edi, ${TASKS}
        mov ecx, 0x40
        cld
        rep movsb
        mov dword [edi], ${((((TASKS + 0x100) & 0xffff) << 16) | 0x67) >>> 0}
        mov dword [edi+4], ${0x8900 | ((TASKS + 0x100) >>> 16)}
        mov word [own_gdtr], 0x47
        mov dword [own_gdtr+2], ${TASKS}
        lgdt [own_gdtr]
        mov dword [tss+0x1c], ${DIRECTORY}
        mov dword [${OTHER_DIRECTORY}], 0x87
        mov dword [${OTHER_DIRECTORY + 4}], 0x87
        mov edi, ${TASKS + 0x100}
        mov dword [edi+0x1c], ${OTHER_DIRECTORY}
        mov dword [edi+0x20], task
        mov dword [edi+0x24], 2
        mov dword [edi+0x38], ${OTHER_STACK}
        mov dword [edi+0x48], ${Selector.DATA}
        mov dword [edi+0x4c], ${Selector.CODE}
        mov dword [edi+0x50], ${Selector.DATA}
        mov dword [edi+0x54], ${Selector.DATA}
        mov dword [edi+0x58], ${Selector.PERCPU}
        mov dword [ebp+0x10], 0x1000
        mov dword [${0x400000 + DATA + 0x10}], 0x20
        xor esi, esi
        call 0x40:0
        add esi, [ebp+0x20]
        add esi, [${0x400000 + DATA + 0x10}]
        call 0x40:0
        add esi, [ebp+0x20]
        sidt [ebp+0x30]
        mov edi, [ebp+0x32]
        mov eax, [edi+0x110]
        mov edx, [edi+0x114]
        mov dword [edi+0x110], 0x400000
        mov dword [edi+0x114], 0x8500
        int 0x22
        add esi, [ebp+0x20]
        mov [edi+0x110], eax
        mov [edi+0x114], edx
        mov dword [ebp+0x30], 0
        mov dword [ebp+0x34], 0
        mov eax, cr0
        and eax, 8
        mov [ebp+0x28], eax
        mov eax, cr3
        mov [ebp+0x2c], eax
        mov eax, [${TASKS + 0x124}]
        and eax, 0x4000
        mov [ebp+0x3c], eax
        clts
        jmp show
 task:  mov eax, [${0x400000 + DATA + 0x10}]
        inc dword [${DATA + 0x24}]
        mov [${DATA + 0x20}], eax
        pushf
        pop dword [${DATA + 0x38}]
        iretd
        jmp task`,
    // The task sees its own memory at both places; what called it sees another page there.
    esi: 3 * 0x1000 + 0x20,
  },
  'SYSENTER and SYSEXIT behind STI, with a frame that is built by hand': {
    source: `${PAGING}
        mov ecx, 0x174
        mov eax, ${Selector.CODE}
        xor edx, edx
        wrmsr
        mov ecx, 0x175
        mov eax, ${KERNEL_STACK - 0x100}
        wrmsr
        mov ecx, 0x176
        mov eax, entry
        wrmsr
        mov dword [${DATA + 0x100}], 3
        ; SYSENTER's selectors follow one another: code, stack, user code, user stack.
        jmp turn
 turn:  mov edx, user
        mov ecx, ${USER_STACK}
        sti
        sysexit
 user:  add esi, 1
        stc
        mov ebp, esp
        sysenter
 entry: push ${Selector.USER_DATA}
        push ebp
        pushf
        mov eax, [esp]
        and eax, 0x201
        or dword [esp], 0x200
        add esi, eax
        add esp, 12
        mov ebp, ${DATA}
        mov eax, ss
        mov [ebp+4], eax
        mov eax, cs
        mov [ebp+8], eax
        dec dword [${DATA + 0x100}]
        jnz turn
        jmp show`,
    // CF comes along, IF does not.
    esi: 3 * 2,
  },
  'STI; HLT wakes at a timer interrupt, and the flags saved around it come back': {
    source: `${handler(0x20, 'tick')}
        mov al, 0x34
        out 0x43, al
        mov al, 0xa9
        out 0x40, al
        mov al, 0
        out 0x40, al
        mov al, 0xfe
        out 0x21, al
        ${thrice(
          `pushf
        cli
        mov edi, esi
        sti
        hlt
        cli
        cmp esi, edi
        je stuck
        mov esi, edi
        inc esi
        popf
        pushf
        pop eax
        and eax, 0x200
        add [ebp], eax`,
          `tick:  push eax
        add esi, 0x1000
        mov al, 0x20
        out 0x20, al
        pop eax
        iretd
 stuck: mov esi, 0
        jmp show`,
        )}`,
    esi: 3,
  },
  'uaccess with an exception table: REP MOVS that faults half way, and RDMSR and WRMSR of what is not there': {
    source: `${PAGING}
        ${handler(14, 'fault')}
        ${handler(13, 'fault')}
        ${thrice(
          `mov edi, ${DATA + 0x200}
        mov ebx, esi
        mov esi, 0x007ffff8
        mov ecx, 6
        mov edx, fixed1
        rep movsd
        mov ecx, 0
 fixed1: lea esi, [ebx+ecx]
        mov edx, fixed2
        mov ecx, 0x12345
        rdmsr
        mov esi, 0
 fixed2: add esi, 0x10
        mov edx, fixed3
        mov ecx, 0x12345
        wrmsr
        mov esi, 0
 fixed3: add esi, 0x100`,
          `fault: add dword [ebp+4], 1
        mov [esp+4], edx
        add esp, 4
        iretd`,
        )}`,
    // Four of six words are left.
    esi: 3 * 0x114,
  },
  'the FPU given lazily: #NM behind TS': {
    source: `${handler(7, 'unavailable')}
        ${thrice(
          `mov eax, cr0
        or eax, 8
        mov cr0, eax
        fninit
        mov dword [ebp+4], 21
        fild dword [ebp+4]
        db 0xd8, 0xc0 ; fadd st0, st0
        fistp dword [ebp+4]
        add esi, [ebp+4]`,
          `unavailable: clts
        add esi, 0x100
        iretd`,
        )}`,
    esi: 3 * (42 + 0x100),
  },
  'global pages flushed by PGE, IDT and GDT loaded anew, WBINVD, a serializing CPUID': {
    source: `${PAGING}
        ${handler(0x41, 'trap')}
        ${thrice(
          `mov eax, cr4
        mov edx, eax
        and eax, 0xffffff7f
        mov cr4, eax
        mov cr4, edx
        wbinvd
        sidt [ebp+0x20]
        lidt [none]
        lidt [ebp+0x20]
        sgdt [ebp+0x28]
        lgdt [ebp+0x28]
        jmp ${Selector.CODE}:reloaded
 reloaded: mov eax, ${Selector.DATA}
        mov ss, ax
        mov ds, ax
        push ebx
        xor eax, eax
        cpuid
        pop ebx
        xor eax, eax
        xor ecx, ecx
        xor edx, edx
        int 0x41`,
          `none:  dw 0
        dd 0
 trap:  add esi, 7
        iretd`,
        )}`,
    esi: 21,
  },
  'MOV SS and POP SS with the next instruction setting ESP, and INT3 behind neither': {
    source: `${handler(3, 'trap')}
        ${thrice(
          `mov edi, esp
        mov eax, ss
        mov ss, ax
        mov esp, ${OTHER_STACK}
        push 0x11
        pop ebx
        add esi, ebx
        push ss
        pop ss
        mov esp, edi
        lss esp, [saved]
        int3
        add esi, 1
        mov esp, edi`,
          `saved: dd ${OTHER_STACK}
        dw ${Selector.DATA}
 trap:  lea eax, [esp+12]
        sub eax, ${OTHER_STACK}
        add esi, eax
        add esi, 2
        iretd`,
        )}`,
    esi: 3 * 0x14,
  },
  'bit strings in memory, XADD, CMPXCHG8B, BSWAP and CMOV': {
    source: thrice(`mov dword [ebp+0x20], 0
        mov eax, 0x107
        lock bts [ebp], eax
        mov eax, [ebp+0x20]
        add esi, eax
        mov dword [ebp+0x30], 1
        mov dword [ebp+0x34], 2
        mov eax, 1
        mov edx, 2
        mov ebx, 0x30
        mov ecx, 0x40
        lock cmpxchg8b [ebp+0x30]
        add esi, [ebp+0x30]
        add esi, [ebp+0x34]
        bsr eax, esi
        cmovz eax, ebx
        mov edx, 0x01000000
        bswap edx
        add esi, edx`),
    esi: 3 * (0x80 + 0x70 + 1),
  },
};

function run(source: string, monitor: 'native' | 'bt' | 'hv') {
  const host = new VmHost({
    name: 'test',
    pcpus: 1,
    memoryMib: 64,
    costs: 'xeon-5160',
    images: { image: image(program(source)) },
    vms: [{ name: 'vm', memoryMib: 8, monitor, vmi: false, image: 'image', append: '', powerOn: true }],
    sampleIntervalMs: 1000,
    auditEveryQuanta: 1,
  });
  for (let i = 0; i < QUANTA_MAX && host.anyPoweredOn; i++) host.advance(host.nowCycles + host.quantumCycles);
  const events = host.drainEvents();
  expect(findings(events)).toEqual([]);
  expect(host.sample().vms[0]).toMatchObject({ power: 'off', crashReason: undefined });
  return consoleOf(events);
}

const word = (printed: string, index: number): number =>
  [3, 2, 1, 0].reduce((value, byte) => value * 256 + printed.charCodeAt(index * 4 + byte), 0);
const ESI = 1;

describe.each(Object.keys(IDIOMS))('%s', name => {
  const { source, esi } = IDIOMS[name]!;
  const native = (): string => run(source, 'native');

  test('native', () => {
    const printed = native();
    expect(printed.length).toBe(36 + 64);
    expect(word(printed, ESI).toString(16)).toBe(esi.toString(16));
  });

  test.each(['bt', 'hv'] as const)('%s', mode => {
    expect(run(source, mode) === native()).toBe(true);
  });
});
