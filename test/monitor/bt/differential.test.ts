/** The same guest bytes on a bare processor and under binary translation: everything that the guest can see must agree. */
import { describe, expect, test } from 'vitest';
import {
  CODE,
  DATA,
  differences,
  type Guest,
  guest,
  makeBt,
  runBt,
  runNative,
  Selectors,
  STACK_TOP,
  setGate,
  USER_STACK_TOP,
} from './bt-machine.js';

const HANDLER = 0x18000;
const USER = 0x30000;

function compare(start: Guest, tcBytes?: number) {
  const native = runNative(start);
  const machine = makeBt(start, tcBytes === undefined ? {} : { tcBytes });
  const bt = runBt(machine);
  expect(differences(native, bt)).toEqual([]);
  expect(machine.technique.audit()).toEqual([]);
  return { native, bt, machine };
}

describe('kernel code', () => {
  test('arithmetic, branches and loops', () => {
    const { native, machine } = compare(
      guest(`
        mov ecx, 1000
        xor eax, eax
  again: add eax, ecx
        adc ebx, 3
        test ecx, 1
        jz even
        rol eax, 3
  even: dec ecx
        jnz again
        mov ecx, 5
  l2:   inc edx
        loop l2
        jecxz out
        mov edx, 0
  out:  push eax
        pop esi
        hlt`),
    );
    expect(native.why).toBe('halt');
    expect(native.registers[2]).toBe(5);
    expect(machine.vm.counters.tcChains).toBeGreaterThan(4);
    // Chained and never asked again: the number of callouts does not grow with the iterations.
    expect(machine.vm.counters.callouts).toBeLessThan(40);
  });

  test('calls, returns and indirect transfers through the hash', () => {
    const { machine } = compare(
      guest(`
        mov ebx, ${DATA}
        mov dword [ebx], f1
        mov dword [ebx+4], f2
        mov ecx, 50
  again: mov eax, ecx
        and eax, 1
        call dword [ebx+eax*4]
        push ecx
        call f3
        dec ecx
        jnz again
        mov edx, done
        jmp edx
        ud2
  done: mov eax, f1
        call eax
        jmp dword [ebx+8]
  f1:   add esi, 3
        ret
  f2:   add edi, ecx
        mov dword [ebx+8], last
        ret
  f3:   push ebp
        mov ebp, esp
        mov eax, [ebp+8]
        add [ebx+12], eax
        leave
        ret 4
  last: hlt`),
    );
    expect(machine.vm.counters.tcMisses).toBeGreaterThan(3);
    expect(machine.vm.counters.tcMisses).toBeLessThan(20);
  });

  test('flags images show the virtual IF and IOPL', () => {
    const { native } = compare(
      guest(`
        pushf
        pop eax
        stc
        sti
        pushf
        pop ebx
        cli
        pushf
        pop ecx
        push 0x3ad7
        popf
        pushf
        pop edx
        push 0x202
        popf
        pushf
        pop esi
        push 0x4846
        popf
        pushf
        pop edi
        push 2
        popf
        pushf
        pop ebp
        hlt`),
    );
    expect(native.registers[0]! & 0x200).toBe(0);
    expect(native.registers[3]! & 0x201).toBe(0x201);
    expect(native.registers[2]! & 0x3000).toBe(0x3000);
    expect(native.registers[7]! & 0x4000).toBe(0x4000);
  });

  test('arithmetic flags survive every in-TC sequence', () => {
    compare(
      guest(`
        mov eax, 0x7fffffff
        add eax, 1
        cli
        pushf
        sti
        nop
        mov ebx, cs
        mov edx, ss
        mov esi, gs
        pushf
        call f
        pushf
        mov edi, back
        call edi
        pushf
        cli
        hlt
  f:    pushf
        pop ebp
        ret
  back: ret`),
    );
  });

  test('selectors are the guest’s own', () => {
    const { native } = compare(
      guest(`
        mov eax, cs
        mov ebx, ss
        push cs
        push ss
        push ds
        push gs
        mov ecx, ${DATA}
        mov [ecx], cs
        mov [ecx+4], ss
        mov [ecx+8], gs
        mov dx, ${Selectors.TLS}
        mov gs, dx
        mov fs, dx
        mov esi, gs
        mov di, gs
        push gs
        push fs
        pop es
        pop gs
        mov bp, cs
        hlt`),
    );
    expect(native.registers[0]).toBe(Selectors.CODE);
    expect(native.registers[6]).toBe(Selectors.TLS);
  });

  test('memory through GS, FS and CS', () => {
    const { native } = compare(
      guest(`
        mov dx, ${Selectors.TLS}
        mov gs, dx
        mov fs, dx
        mov dword [${DATA}+0x10], 0x11223344
        mov eax, gs:[0x10]
        mov ebx, fs:[0x10]
        add dword gs:[0x10], 5
        mov ecx, cs:[${DATA}+0x10]
        mov dword gs:[0x20], target
        mov esi, 0
        call dword gs:[esi+0x20]
        mov ebp, gs:[0x10]
        hlt
  target: mov edi, 7
        push eax
        cmp eax, gs:[0x10]
        pop eax
        ret`),
    );
    expect(native.registers[0]).toBe(0x11223344);
    expect(native.registers[1]).toBe(0x11223349);
  });

  test('privileged state reads back as written', () => {
    compare(
      guest(`
        mov eax, cr0
        or eax, 0x10020
        mov cr0, eax
        mov ebx, cr0
        mov ecx, ${DATA}
        sgdt [ecx]
        sidt [ecx+8]
        smsw edx
        str si
        sldt di
        mov eax, 0x12345000
        mov cr2, eax
        mov ebp, cr2
        clts
        in al, 0x61
        out 0x70, al
        hlt`),
    );
  });

  test('string instructions', () => {
    compare(
      guest(`
        mov edi, ${DATA}
        mov ecx, 3000
        mov al, 0x5a
        rep stosb
        mov esi, ${DATA}
        mov edi, ${DATA + 0x1ff0}
        mov ecx, 1200
        rep movsd
        mov edi, ${DATA}
        mov ecx, 9000
        mov al, 0x5b
        repe scasb
        hlt`),
    );
  });
});

describe('exceptions in the kernel', () => {
  const record = `
        pop eax
        mov [${DATA}], eax
        pop ebx
        mov [${DATA}+4], ebx
        pop ecx
        mov [${DATA}+8], ecx
        hlt`;
  const faulting = (source: string, vector: number): Guest => {
    const start = guest(source, { [HANDLER]: record });
    setGate(start.memory, vector, HANDLER, 0);
    return start;
  };

  test('divide error names the guest’s EIP', () => {
    const { native } = compare(faulting('mov ecx, 0\n nop\n cli\n div ecx\n hlt', 0));
    expect(native.registers[0]).toBe(CODE + 7);
  });
  test('invalid opcode', () => {
    compare(faulting('nop\n nop\n db 0x0f, 0x0b\n hlt', 6));
  });
  test('general protection by a selector', () => {
    compare(faulting('mov ax, 0x7b\n mov ds, ax\n hlt', 13));
  });
  test('the monitor’s own selectors are no selectors to the guest', () => {
    for (const selector of [0xffe1, 0xffe9, 0xfff8, 0xfff0, 0x3b]) {
      compare(faulting(`mov eax, ${selector}\n mov es, ax\n hlt`, 13));
      compare(faulting(`mov eax, ${selector}\n mov gs, ax\n hlt`, 13));
      compare(faulting(`mov eax, ${selector}\n db 0x0f, 0x02, 0xd8\n pushf\n pop ecx\n hlt`, 13));
    }
    compare(faulting('jmp 0xffe1:0x1000', 13));
  });
  test('general protection by a control register', () => {
    compare(faulting('mov eax, 0x80000000\n mov cr0, eax\n hlt', 13));
  });
  test('software interrupts and breakpoints', () => {
    compare(faulting('mov esi, 3\n int 0x41\n hlt', 0x41));
    compare(faulting('mov esi, 3\n int3\n hlt', 3));
  });
  test('a fault in the middle of a string instruction', () => {
    const start = guest(
      `mov edi, 0xffff0\n mov ecx, 64\n mov ax, ${Selectors.TLS}\n mov es, ax\n mov edi, 0xffd0\n rep stosb\n hlt`,
      { [HANDLER]: record },
    );
    setGate(start.memory, 13, HANDLER, 0);
    compare(start);
  });
});

describe('user mode', () => {
  const enterUser = (flags: number): string => `
        push ${Selectors.USER_DATA}
        push ${USER_STACK_TOP}
        push ${flags}
        push ${Selectors.USER_CODE}
        push ${USER}
        mov eax, 0
        mov ds, ax
        mov es, ax
        iretd`;
  const start = (user: string, handlers: Readonly<Record<number, string>>, flags = 0x202): Guest => {
    const more: Record<number, string> = { [USER]: user };
    Object.values(handlers).forEach((text, i) => {
      more[HANDLER + i * 0x400] = text;
    });
    const made = guest(enterUser(flags), more);
    Object.keys(handlers).forEach((vector, i) => {
      setGate(made.memory, Number(vector), HANDLER + i * 0x400, 3);
    });
    return made;
  };

  test('int 0x80 and back', () => {
    const { machine } = compare(
      start(
        `mov ecx, ${Selectors.USER_DATA}
         mov ds, cx
         mov ecx, 5
    again: mov eax, 20
         int 0x80
         add esi, eax
         dec ecx
         jnz again
         mov eax, 1
         int 0x80`,
        {
          128: `cmp eax, 1
                 je last
                 push ds
                 push edx
                 mov dx, ${Selectors.DATA}
                 mov ds, dx
                 inc dword [${DATA}]
                 mov eax, [${DATA}]
                 pop edx
                 pop ds
                 iretd
           last: pushf
                 pop ebx
                 hlt`,
        },
      ),
    );
    expect(machine.vm.counters.syscallsForwarded).toBe(6);
    expect(machine.vm.causes.guestUser).toBeGreaterThan(0);
    expect(machine.vm.causes.syscall).toBeGreaterThan(0);
  });

  test('user exceptions are forwarded', () => {
    const { machine } = compare(
      start('xor ecx, ecx\n div ecx', {
        0: `mov eax, [esp]
            mov ebx, [esp+4]
            mov ecx, [esp+8]
            mov edx, [esp+12]
            mov esi, [esp+16]
            hlt`,
      }),
    );
    expect(machine.vm.counters.forwardedFaults).toBe(1);
  });

  test('privileged instructions fault in user mode', () => {
    compare(start('mov eax, 5\n cli\n hlt', { 13: 'pop eax\n pop ebx\n pop ecx\n hlt' }));
    compare(start('in al, 0x20', { 13: 'pop eax\n pop ebx\n pop ecx\n hlt' }));
    compare(start('int 0x21', { 13: 'pop eax\n pop ebx\n pop ecx\n hlt' }));
    compare(start('int 0xf0', { 13: 'pop eax\n pop ebx\n pop ecx\n hlt' }));
  });

  test('IOPL 3 lets user code do I/O and change IF', () => {
    const made = start('in al, 0x33\n mov bl, al\n cli\n pushf\n pop ecx\n sti\n out 0x44, al\n int 0x80', {
      128: 'mov edx, [esp+8]\n hlt',
    });
    const at = made.memory.indexOf(0x68, CODE + 8);
    void at;
    compare(made);
  });

  test('NT and AC that user code sets reach the kernel, and go back', () => {
    const kernel = `mov ebx, [esp+8]
                    pushf
                    pop ecx
                    cmp edx, 0
                    jne last
                    inc edx
                    iretd
              last: hlt`;
    compare(
      start('pushf\n or dword [esp], 0x44001\n popf\n int 0x80', { 128: 'mov ebx, [esp+8]\n pushf\n pop ecx\n hlt' }),
    );
    compare(
      start('xor edx, edx\n pushf\n or dword [esp], 0x40041\n popf\n int 0x80\n pushf\n pop esi\n int 0x80', {
        128: kernel,
      }),
    );
  });

  test('user code that IOPL 3 lets clear IF sees it clear', () => {
    compare(
      start(
        'cli\n pushf\n pop ecx\n and ecx, 0x200\n sti\n pushf\n pop edx\n and edx, 0x200\n mov dword [esp-4], 0\n mov dword [esp-8], 0\n int 0x80',
        { 128: 'hlt' },
        0x3202,
      ),
    );
  });

  test('user code that single-steps itself', () => {
    const made = start('pushf\n or dword [esp], 0x100\n popf\n inc esi\n inc esi\n inc esi\n and eax, 0\n int 0x80', {
      1: 'inc edi\n mov ebx, [esp]\n cmp edi, 3\n jb more\n and dword [esp+8], 0xfffffeff\n more: iretd',
      128: 'hlt',
    });
    const { native } = compare(made);
    expect(native.registers[7]).toBe(3);
  });

  test('sysenter and sysexit', () => {
    const made = guest(
      `mov ecx, 0x174
       mov eax, ${Selectors.CODE}
       xor edx, edx
       wrmsr
       mov ecx, 0x175
       mov eax, ${STACK_TOP - 64}
       wrmsr
       mov ecx, 0x176
       mov eax, ${HANDLER}
       wrmsr
       mov edx, ${USER}
       mov ecx, ${USER_STACK_TOP}
       sti
       sysexit`,
      {
        [USER]: `mov ebp, esp
                 mov esi, 77
                 sysenter`,
        [HANDLER]: `pushf
                 pop ebx
                 mov eax, cs
                 mov edi, ss
                 hlt`,
      },
    );
    const { machine } = compare(made);
    expect(machine.vm.counters.syscallsForwarded).toBe(1);
  });
});

describe('interrupts', () => {
  // OUT to port 0x99 raises vector 0x20. The handler logs the interrupted EIP and EFLAGS at [edi].
  const logged = (source: string): Guest => {
    const start = guest(`mov edi, ${DATA}\n${source}`, {
      [HANDLER]: `push eax
                  mov eax, [esp+4]
                  mov [edi], eax
                  mov eax, [esp+12]
                  mov [edi+4], eax
                  add edi, 8
                  pop eax
                  iretd`,
    });
    setGate(start.memory, 0x20, HANDLER, 0);
    return start;
  };

  test('taken behind the instruction that follows STI', () => {
    const { native } = compare(logged('out 0x99, al\n nop\n sti\n inc eax\n inc ebx\n cli\n hlt'));
    const view = new DataView(native.memory.buffer);
    // mov edi (5), out (2), nop, sti, inc eax.
    expect(view.getUint32(DATA, true)).toBe(CODE + 10);
  });
  test('not taken between STI and CLI', () => {
    const { native } = compare(logged('out 0x99, al\n sti\n cli\n inc eax\n hlt'));
    expect(native.registers[7]).toBe(DATA);
  });
  test('taken behind RET in the shadow of STI', () => {
    compare(logged('call f\n inc ebx\n cli\n hlt\n f: out 0x99, al\n sti\n ret'));
  });
  test('taken behind a taken and an untaken branch in the shadow of STI', () => {
    compare(logged('xor eax, eax\n out 0x99, al\n sti\n jz there\n inc ecx\n there: inc ebx\n cli\n hlt'));
    compare(logged('xor eax, eax\n out 0x99, al\n sti\n jnz there\n inc ecx\n there: inc ebx\n cli\n hlt'));
  });
  test('taken behind POPF that sets IF', () => {
    compare(logged('out 0x99, al\n push 0x246\n popf\n inc ebx\n cli\n hlt'));
  });
  test('taken behind IRET that sets IF', () => {
    compare(
      logged(`out 0x99, al\n push 0x202\n push ${Selectors.CODE}\n push there\n iretd\n there: inc ebx\n cli\n hlt`),
    );
  });
  test('STI HLT wakes up behind HLT', () => {
    const { native } = compare(logged('out 0x99, al\n sti\n hlt\n inc ebx\n cli\n hlt'));
    expect(native.registers[3]).toBe(1);
  });
  test('taken at OUT while enabled', () => {
    compare(logged('sti\n nop\n out 0x99, al\n inc ebx\n inc ebx\n cli\n hlt'));
  });
  test('a load of SS holds interrupts off', () => {
    compare(logged(`mov ecx, ss\n out 0x99, al\n sti\n mov ss, cx\n inc ebx\n inc ebx\n cli\n hlt`));
  });
});

describe('changing code', () => {
  test('a function rewritten between calls', () => {
    const { machine } = compare(
      guest(`
        mov ebx, f
        call f
        mov byte [ebx+1], 9
        call f
        mov esi, 20
  more: add byte [ebx+1], 1
        call f
        dec esi
        jnz more
        hlt
        db 0x90, 0x90, 0x90
  f:    mov eax, 5
        add edx, eax
        ret`),
    );
    expect(machine.vm.counters.traceFaults).toBeGreaterThan(0);
  });
  test('the next instruction rewritten by the one before', () => {
    compare(
      guest(`
        mov ebx, here
        mov byte [ebx+1], 0x22
  here: mov al, 0x11
        mov byte [there+1], 0x44
        cli
  there: mov cl, 0x33
        hlt`),
    );
  });
  test('a push onto the code that is about to run', () => {
    compare(
      guest(
        `
        mov edx, esp
        mov esp, here+4
        pushf
  here: db 0x90, 0x90, 0x90, 0x90, 0x90, 0x90
        mov esp, edx
        hlt`.replace('pushf', 'push 0x90909090'),
      ),
    );
  });
  test('code on two pages', () => {
    const start = guest(`jmp 0x10ffa`, {
      69626: `mov eax, 1
                mov ebx, 0x12345678
                sti
                cli
                mov dword [0x11004], 0x40404040
                db 0x90, 0x90, 0x90, 0x90
                hlt`,
    });
    compare(start);
  });
});

describe('paging', () => {
  // Directory at 0x40000, first table at 0x41000 (identity), and the code once more at 0xC0000000.
  const setup = `
        mov edi, 0x41000
        mov eax, 3
        mov ecx, 256
  fill: mov [edi], eax
        add eax, 0x1000
        add edi, 4
        loop fill
        mov dword [0x40000], 0x41007
        mov dword [0x40c00], 0x41007
        mov eax, 0x40000
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        jmp high+0xc0000000
  high: nop
  `;
  test('turning it on and running at high addresses', () => {
    const { native } = compare(
      guest(`${setup}
        mov ebx, 5
        call f
        push eax
        hlt
   f:   add ebx, 2
        mov eax, [esp]
        ret`),
    );
    expect(native.registers[0]! >>> 0).toBeGreaterThan(0xc0000000);
  });
  test('a page fault in a call’s push and in a return’s pop', () => {
    for (const body of [
      'mov esp, 0x400004\n push eax\n call f',
      'mov esp, 0x400000\n ret',
      'mov esp, 0x400000\n popf',
    ]) {
      const start = guest(`${setup}
        mov esp, 0x9000
        mov eax, 0x12345678
        mov ecx, 0x9abcdef0
        stc
        jmp test
   test: ${body}
        hlt
   f:   hlt`);
      // Double faults by a bad stack would need a task gate: the handler's stack is the faulting one, so both shut down.
      const native = runNative(start);
      const machine = makeBt(start);
      const bt = runBt(machine);
      expect(native.why).toBe('shutdown');
      expect(bt.why).toMatch(/^stopped/);
    }
  });
  test('page faults of memory operands in sequences', () => {
    for (const body of [
      'call dword [0x500000]',
      'jmp dword [ecx+0x500000]',
      'mov [0x500000], cs',
      'mov eax, cs:[0x500000]',
      'mov dword [0x500000], 1',
    ]) {
      const start = guest(
        `${setup}
        mov ecx, 0x40
        mov eax, 0x77
        stc
        ${body}
        hlt`,
        {
          [HANDLER]: `mov esi, [esp]
                       mov edi, [esp+4]
                       mov ebp, cr2
                       hlt`,
        },
      );
      setGate(start.memory, 14, HANDLER, 0);
      const { native } = compare(start);
      expect(native.registers[5]! & 0xfffff000).toBe(0x500000);
    }
  });
  test('another address space maps other code at the same address', () => {
    const { machine } = compare(
      guest(`${setup}
        mov esi, 0x42000
        mov edi, 0x43000
        mov dword [0x42000], 0x43007
        mov eax, [0x40c00]
        mov [0x42c00], eax
        mov ecx, 256
        mov eax, 7
   copy: mov [edi], eax
        add eax, 0x1000
        add edi, 4
        loop copy
        mov dword [0x43140], 0x51007
        mov byte [0x50000], 0xb0
        mov byte [0x50001], 0x11
        mov byte [0x50002], 0xc3
        mov byte [0x51000], 0xb0
        mov byte [0x51001], 0x22
        mov byte [0x51002], 0xc3
        mov ebp, 6
   turn: mov ecx, 0x50000
        call ecx
        add ebx, eax
        mov ecx, 0x42000
        mov cr3, ecx
        mov ecx, 0x50000
        call ecx
        shl eax, 8
        add ebx, eax
        mov ecx, 0x40000
        mov cr3, ecx
        dec ebp
        jnz turn
        hlt`),
    );
    // Kernel text outlives the switches: only the page that differs is translated again.
    expect(machine.vm.counters.tcUnits).toBeLessThan(60);
  });
  test('INVLPG after a page of code is mapped elsewhere', () => {
    compare(
      guest(`${setup}
        mov byte [0x50000], 0xb0
        mov byte [0x50001], 0x11
        mov byte [0x50002], 0xc3
        mov byte [0x51000], 0xb0
        mov byte [0x51001], 0x22
        mov byte [0x51002], 0xc3
        mov ecx, 0x50000
        call ecx
        mov bl, al
        mov dword [0x41140], 0x51003
        invlpg [0x50000]
        call ecx
        hlt`),
    );
  });
  test('hot stores to page tables are retranslated', () => {
    const { machine } = compare(
      guest(`${setup}
        mov ecx, 40
        mov ebx, 0x41180
   turn: mov eax, [ebx]
        xor eax, 0x2000
        mov [ebx], eax
        invlpg [0x60000]
        inc dword [0x60000]
        and dword [ebx], 0xffffff9f
        xchg [ebx], eax
        xchg [ebx], eax
        pushf
        pop edx
        dec ecx
        jnz turn
        hlt`),
    );
    expect(machine.vm.counters.tcAdapted).toBeGreaterThan(0);
    expect(machine.vm.counters.traceFaults).toBeLessThan(40);
  });
});

describe('a full translation cache', () => {
  test('is flushed and filled again', () => {
    const functions = Array.from(
      { length: 120 },
      (_, i) => `f${i}: add eax, ${i}\n push eax\n popf\n cli\n pushf\n pop edx\n xor ebx, edx\n ret`,
    ).join('\n');
    const calls = Array.from({ length: 120 }, (_, i) => `call f${i}`).join('\n');
    const { machine } = compare(
      guest(
        `mov ecx, 3\n again: push ecx\n ${calls}\n pop ecx\n dec ecx\n jnz again\n cli\n hlt\n ${functions}`.replaceAll(
          'push eax\n popf',
          'mov edx, eax\n and edx, 0xd5\n push edx\n popf',
        ),
      ),
      3 * 4096,
    );
    expect(machine.vm.counters.tcFlushes).toBeGreaterThan(2);
  });
});
