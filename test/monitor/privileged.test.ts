/**
 * Privileged and sensitive instructions, events and far transfers on the virtual CPU against the bare processor: the same
 * program, the same memory and registers at the end. The virtual side carries out by software whatever `privileged.ts` knows
 * and steps everything else at CPL 1 or 3, so every instruction goes through the monitor's own semantics.
 */
import { describe, expect, it } from 'vitest';
import { XEON_5160 } from '../../src/hypervisor/machine/costs/xeon-5160.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { CodeCache } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { Context } from '../../src/hypervisor/machine/cpu/context.js';
import { Flag, S, Seg } from '../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import { deliver, type Event, eventOf } from '../../src/hypervisor/monitor/inject.js';
import { emulate } from '../../src/hypervisor/monitor/privileged.js';
import { DirectTechnique, TestVm } from './test-vm.js';

const RAM = 1 << 20;
const IDT = 0x2000;
const GDT = 0x3000;
const TSS = 0x4000;
const LDT = 0x5000;
const LOG = 0x20000;
const LOG_AT = 0x7000;
const RESUME_AT = 0x7004;
const KERNEL_STACK = 0x9000;
const RING0_STACK = 0xa000;
const USER_STACK = 0xb000;
const CODE = 0x10000;
const HANDLERS = 0x14000;

const DESCRIPTORS: Readonly<Record<number, readonly [low: number, high: number]>> = {
  8: [0x0000ffff, 0x00cf9a00], // kernel code
  16: [0x0000ffff, 0x00cf9200], // kernel data
  24: [0x0000ffff, 0x00cffa00], // user code
  32: [0x0000ffff, 0x00cff200], // user data
  40: [(TSS << 16) | 0x87, 0x00008900], // TSS, with 32 bytes of I/O map
  48: [(LDT << 16) | 0x1f, 0x00008200], // LDT
  56: [0x0000ffff, 0x00cf9800], // execute-only kernel code
  64: [0x0000ffff, 0x00cf9000], // read-only kernel data
  72: [0x0000ffff, 0x00cf1200], // data, not present
  80: [0x0000ffff, 0x00cf9e00], // conforming code
  88: [0x00080000 | (CODE & 0xffff), 0x0001ec02], // call gate into the kernel, 2 parameters; offset set by the test
  96: [0x0000ffff, 0x00cf7a00], // user code, not present
  104: [(TSS << 16) | 0x87, 0x00008b00], // busy TSS
  112: [0x00000fff, 0x00409200], // small data segment: 4 KiB
  120: [0x00085678, 0x00008c00], // call gate for the kernel only
};

/** Every vector logs itself and the six words on its stack, then goes on where the test said, in the kernel. */
function handlers(): string {
  const lines: string[] = [];
  for (let vector = 0; vector < 256; vector++) lines.push(`vector_${vector}: push ${vector}`, 'jmp common');
  return `${lines.join('\n')}
    common:
      push ds
      push eax
      push edi
      mov ax, 0x10
      mov ds, ax
      mov edi, [${LOG_AT}]
      mov eax, [esp+12]
      mov [edi], eax
      mov eax, [esp+16]
      mov [edi+4], eax
      mov eax, [esp+20]
      mov [edi+8], eax
      mov eax, [esp+24]
      mov [edi+12], eax
      mov eax, [esp+28]
      mov [edi+16], eax
      mov eax, [esp+32]
      mov [edi+20], eax
      mov eax, [esp+8]
      mov [edi+24], eax
      mov eax, cr2
      mov [edi+28], eax
      add edi, 32
      mov [${LOG_AT}], edi
      pop edi
      pop eax
      mov esp, ${KERNEL_STACK}
      jmp dword [${RESUME_AT}]`;
}

const HANDLER_CODE = assemble(HANDLERS, handlers());

interface Program {
  readonly code: Uint8Array;
  readonly labels: ReadonlyMap<string, number>;
}

/** `try X` runs X and goes on behind it even if it faults. */
function build(source: string): Program {
  let count = 0;
  const text = source
    .split('\n')
    .map(line => {
      const match = /^\s*try\s+(.*)$/.exec(line);
      if (match === null) return line;
      count += 1;
      return `mov dword [${RESUME_AT}], after_${count}\n${match[1]}\nafter_${count}:`;
    })
    .join('\n');
  const { bytes, labels } = assemble(CODE, `${text}\nhlt`);
  return { code: bytes, labels };
}

const PROLOGUE = `
  mov esp, ${KERNEL_STACK}
  lgdt [gdtr]
  lidt [idtr]
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov fs, ax
  mov gs, ax
  jmp 0x08:start
  gdtr: dw 0x7f
  dd ${GDT}
  idtr: dw 0x7ff
  dd ${IDT}
  start:
  mov ax, 0x28
  ltr ax
  mov ax, 0x30
  lldt ax
`;

/** The words of memory that a program starts with. */
function image({ code }: Program, patch: (put: (at: number, value: number) => void) => void) {
  const words = new Map<number, number>();
  const put = (at: number, value: number) => void words.set(at, value >>> 0);
  for (const [selector, [low, high]] of Object.entries(DESCRIPTORS)) {
    put(GDT + Number(selector), low);
    put(GDT + Number(selector) + 4, high);
  }
  for (let vector = 0; vector < 256; vector++) {
    const at = HANDLER_CODE.labels.get(`vector_${vector}`)!;
    const dpl = [3, 4, 0x80].includes(vector) ? 0x6000 : 0;
    put(IDT + vector * 8, (0x08 << 16) | (at & 0xffff));
    put(IDT + vector * 8 + 4, (at & 0xffff0000) | 0x8e00 | (vector === 0x81 ? 0x6100 : dpl));
  }
  put(TSS + 4, RING0_STACK);
  put(TSS + 8, 0x10);
  put(TSS + 0x64, 0x00680000);
  // Ports 0x40 to 0x47 are open to user code; the map ends with a byte of ones.
  for (let at = 0x68; at < 0x88; at += 4) put(TSS + at, at === 0x70 ? 0xffffff00 : 0xffffffff);
  put(LDT, 0x0000ffff);
  put(LDT + 4, 0x00cff200);
  put(LDT + 8, 0x0000ffff);
  put(LDT + 12, 0x00cf9200);
  put(LOG_AT, LOG);
  patch(put);
  return { words, code };
}

interface Outcome {
  readonly end: string;
  readonly registers: readonly number[];
  readonly memory: Uint8Array;
  readonly ports: readonly string[];
}

const ports = (log: string[]) => ({
  read: (port: number, width: number) => {
    log.push(`in ${port.toString(16)} ${width}`);
    return (port * 0x01010101) % 2 ** (8 * width);
  },
  write: (port: number, width: number, value: number) => {
    log.push(`out ${port.toString(16)} ${width} ${value.toString(16)}`);
  },
});

function runNative({ words, code }: ReturnType<typeof image>): Outcome {
  const base = RESERVED_BYTES;
  const memory = new MachineMemory(base + RAM + (1 << 20));
  const log: string[] = [];
  const context = new Context(
    {
      memory,
      costs: XEON_5160,
      ports: ports(log),
      mmio: { read: () => 0xffffffff, write: () => {} },
      interrupts: { acknowledge: () => 0 },
      physicalBase: base,
      physicalBytes: RAM,
      isDeviceMemory: () => false,
      ring0Escapes: false,
      onUnimplemented: () => {},
      cpuid: leaf => [leaf, 2, 3, 4],
      readMsr: index => (index === 0x1b ? [0xfee00800, 0] : undefined),
      writeMsr: index => index === 0x1b,
    },
    new CodeCache(memory),
  );
  for (const [at, value] of words) memory.write32(base + at, value);
  memory.writeBytes(base + HANDLERS, HANDLER_CODE.bytes);
  memory.writeBytes(base + CODE, code);
  const flat = 0xc093;
  context.setCr0(0x11);
  context.setSegment(Seg.CS, 0x08, 0, -1, flat | 8);
  for (const seg of [Seg.ES, Seg.SS, Seg.DS, Seg.FS, Seg.GS]) context.setSegment(seg, 0x10, 0, -1, flat);
  context.setSegment(Seg.TR, 0, 0, 0, 0);
  context.setSegment(Seg.LDTR, 0, 0, 0, 0);
  context.setCpl(0);
  context.writeEflags(Flag.FIXED);
  context.s[S.EIP] = CODE;
  const exit = context.run(10_000_000);
  const segs = [0, 1, 2, 3, 4, 5].map(seg => context.s[S.SEG + seg * 4]!);
  const registers = [...context.s.subarray(0, 9), context.readEflags(), ...segs, context.s[S.CR0]!, context.s[S.CR2]!];
  const end = exit.kind === 'shutdown' ? `stopped ${exit.reason}` : exit.kind;
  return { end, registers, memory: memory.bytes(base, RAM).slice(), ports: log };
}

function runVirtual({ words, code }: ReturnType<typeof image>): Outcome {
  const test = new TestVm({ ramBytes: RAM });
  const { vcpu, thread } = test;
  for (const [at, value] of words) test.write32(at, value);
  test.write(CODE, code);
  test.write(HANDLERS, HANDLER_CODE.bytes);
  vcpu.eip = CODE;
  const technique = new DirectTechnique(vcpu);
  let end = 'endless';
  const raise = (event: Event): void => {
    const delivery = deliver(vcpu, event);
    if (delivery.kind === 'stopped') end = `stopped ${delivery.reason}`;
  };
  for (let n = 0; n < 20_000 && end === 'endless'; n++) {
    const effect = emulate(vcpu);
    if (effect !== undefined) {
      if (effect.kind === 'fault') raise(eventOf(effect));
      else if (effect.kind === 'halt') end = 'halt';
      else if (effect.kind === 'stopped') end = `stopped ${effect.reason}`;
      continue;
    }
    vcpu.interruptShadow = true;
    const exit = technique.enter(Infinity);
    if (exit.kind === 'monitor' && exit.vector === 14) {
      const at = thread.s[S.CR2]! >>> 0;
      const fault = vcpu.shadow.classify(at, exit.errorCode);
      if (fault.kind === 'hidden') vcpu.shadow.fill(fault);
      else if (fault.kind === 'true') {
        technique.capture();
        raise({ kind: 'exception', vector: 14, errorCode: fault.errorCode, cr2: at });
      } else if (fault.kind === 'trace' || fault.kind === 'unprotected') {
        const override = vcpu.shadow.beginOverride(fault, test.vm.pmap.mpnFor(fault.ppn)!, true);
        thread.step();
        vcpu.shadow.endOverride(override);
        vcpu.traces.written(fault.ppn, 0, 4096);
      } else end = `unexpected ${fault.kind}`;
    } else if (exit.kind === 'monitor') {
      technique.capture();
      raise({
        kind: exit.software ? 'software' : 'exception',
        vector: exit.vector,
        errorCode: exit.hasErrorCode ? exit.errorCode : undefined,
      });
    } else if (exit.kind !== 'deadline') end = `unexpected ${exit.kind}`;
    technique.capture();
  }
  expect(vcpu.shadow.audit()).toEqual([]);
  expect(vcpu.descriptors.audit()).toEqual([]);
  vcpu.descriptors.propagateAccessed();
  const segs = [0, 1, 2, 3, 4, 5].map(seg => vcpu.selector(seg));
  const registers = [...thread.s.subarray(0, 8), vcpu.eip | 0, vcpu.eflags, ...segs, vcpu.cr0, vcpu.cr2];
  const memory = new Uint8Array(RAM);
  for (const [ppn, mpn] of test.vm.pmap.backedPages()) memory.set(test.memory.pageBytes(mpn), ppn << 12);
  return { end, registers, memory, ports: test.portLog };
}

function same(source: string, patch: Parameters<typeof image>[1] = () => {}): Outcome & { labels: Program['labels'] } {
  const program = build(PROLOGUE + source);
  const start = image(program, patch);
  const native = runNative(start);
  const virtual = runVirtual(start);
  const differing: string[] = [];
  const nativeWords = new Uint32Array(native.memory.buffer);
  const virtualWords = new Uint32Array(virtual.memory.buffer);
  for (let at = 0; at < RAM / 4 && differing.length < 8; at++) {
    if (nativeWords[at] === virtualWords[at]) continue;
    differing.push(`${(at * 4).toString(16)}: ${nativeWords[at]!.toString(16)}, ${virtualWords[at]!.toString(16)}`);
  }
  expect(differing, source.slice(-60)).toEqual([]);
  const hex = (list: readonly number[]) => list.map(value => (value >>> 0).toString(16));
  expect(virtual.end).toBe(native.end);
  expect(hex(virtual.registers)).toEqual(hex(native.registers));
  expect(virtual.ports).toEqual(native.ports);
  return { ...native, labels: program.labels };
}

/** Vector and error code (or the first word) of each logged event. */
function events({ memory }: Outcome): [vector: number, first: number][] {
  const view = new DataView(memory.buffer, memory.byteOffset);
  const end = view.getUint32(LOG_AT, true);
  const list: [number, number][] = [];
  for (let at = LOG; at < end; at += 32) list.push([view.getUint32(at, true), view.getUint32(at + 4, true)]);
  return list;
}

/** Enters user code at label `user` with interrupts on. */
const TO_USER = `
  push 0x23
  push ${USER_STACK}
  push 0x202
  push 0x1b
  push user
  iretd
  user:
`;

describe('segment loads', () => {
  it('check descriptors as the processor does', () => {
    const selectors = [
      0, 3, 0x08, 0x10, 0x11, 0x13, 0x1b, 0x23, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x70, 0x80, 0xff8, 0x07, 0x0c, 0x04,
      0x24,
    ];
    const lines = selectors.flatMap(selector =>
      ['ds', 'es', 'fs', 'gs', ...(selector === 0x70 ? [] : ['ss'])].map(
        seg => `mov eax, ${selector}\ntry mov ${seg}, ax`,
      ),
    );
    const result = same(`${lines.join('\n')}\nmov ax, 0x10\nmov ds, ax\nmov ss, ax`);
    expect(result.end).toBe('halt');
    expect(events(result).length).toBeGreaterThan(30);
    expect(events(result)).toContainEqual([13, 0x38]);
    expect(events(result)).toContainEqual([11, 0x48]);
  });

  it('work from user code, by POP, by LxS and through limits', () => {
    const result = same(`${TO_USER}
      mov eax, 0x23
      mov ds, ax
      mov es, ax
      push 0x23
      pop fs
      push 0x07
      try pop gs
      mov dword [0x7010], 0x1234
      mov dword [0x7014], 0x23
      lfs ebx, [0x7010]
      mov ecx, fs
      mov edx, cs
      mov esi, ss
      push cs
      pop edi`);
    expect(result.end).toBe('halt');
    // Only the HLT behind the program faults: selector 7 is user data in the LDT.
    expect(events(result)).toEqual([[13, 0]]);
    const limited = same(`mov ax, 0x70
      mov fs, ax
      mov eax, fs:[0xffc]
      try mov eax, fs:[0xffd]
      try mov fs:[0x1000], eax`);
    expect(events(limited).map(([vector]) => vector)).toEqual([13, 13]);
  });
});

describe('events and returns', () => {
  it('go from user code to the kernel and back, with exact frames', () => {
    const result = same(`${TO_USER}
      mov eax, 0x23
      mov ds, ax
      mov es, ax
      mov ebp, 0x1111
      try int 0x80
      mov eax, 0x5555`);
    expect(events(result)[0]![0]).toBe(0x80);
    expect(result.end).toBe('halt');
    for (const fault of [
      'cli',
      'sti',
      'hlt',
      'int 0x20',
      'mov eax, cr0',
      'in al, 0x60',
      'ud2',
      'lgdt [0]',
      'int3',
      'wbinvd',
      'rdmsr',
      'mov dr0, eax',
      'lldt ax',
      'ltr ax',
      'lmsw ax',
      'clts',
      'invlpg [0]',
      'iretd',
      'sysexit',
      'int 0x81',
      'retf',
      'jmp 0x08:start',
      'call 0x78:0',
      'jmp 0x28:0',
    ]) {
      const one = same(`${TO_USER} mov eax, 0x23\nmov ds, ax\nmov es, ax\npush 0\npush 0\npush 0\ntry ${fault}`);
      expect(one.end, fault).toBe('halt');
    }
  }, 60_000);

  it('return to the same ring, to user code, and refuse bad frames', () => {
    const frames = [
      [0x08, 0x2],
      [0x08, 0x3246],
      [0x0b, 2],
      [0x10, 2],
      [0x18, 2],
      [0x00, 2],
      [0x03, 2],
      [0x38, 2],
      [0x50, 2],
      [0x60, 2],
      [0x63, 2],
      [0x80, 2],
      [0x53, 2],
      [0x09, 2],
    ];
    for (const [cs, flags] of frames) {
      const result = same(`push 0x23
        push ${USER_STACK}
        push ${flags}
        push ${cs}
        push landed
        try iretd
        landed:
        nop`);
      expect(['halt'].includes(result.end) || result.end.startsWith('stopped'), `${cs}`).toBe(true);
    }
    for (const ss of [0x20, 0x23, 0x10, 0x13, 0, 3, 0x48, 0x40, 0x83, 0x0c, 0x07]) {
      const result = same(`push ${ss}
        push ${USER_STACK}
        push 0x3202
        push 0x1b
        push landed
        try iretd
        landed:
        nop`);
      expect(result.end, `${ss}`).toMatch(/halt|stopped/);
    }
  }, 60_000);

  it('null data registers that user code may not keep', () => {
    const result = same(`mov ax, 0x23
      mov fs, ax
      mov ax, 0x50
      mov gs, ax
      ${TO_USER}
      mov eax, ds
      mov ebx, es
      mov ecx, fs
      mov edx, gs
      mov edi, 0x23
      mov ds, di
      try int3`);
    expect(result.registers[0]).toBe(0);
    expect(result.registers[1]).toBe(0x23);
    expect(result.registers[2]).toBe(0x50);
  });

  it('find bad gates, bad stacks, double and triple faults', () => {
    const at = (vector: number) => IDT + vector * 8;
    const cases: [string, (put: (at: number, value: number) => void) => void][] = [
      ['gate not present', put => put(at(0x80) + 4, 0x6e00)],
      ['task gate', put => put(at(0x80) + 4, 0xe500)],
      ['null code', put => put(at(0x80), 0)],
      ['data as code', put => put(at(0x80), 0x100000)],
      ['code not present', put => put(at(0x80), 0x600000)],
      ['outer code', put => put(at(0x80), 0x180000)],
      ['conforming code', put => put(at(0x80), 0x500000)],
      ['null stack', put => put(TSS + 8, 0)],
      ['stack with a bad RPL', put => put(TSS + 8, 0x13)],
      ['read-only stack', put => put(TSS + 8, 0x40)],
      ['stack not present', put => put(TSS + 8, 0x48)],
      ['stack beyond the table', put => put(TSS + 8, 0x880)],
      ['stack without room', put => put(TSS + 8, 0x70)],
      [
        'no gate for the fault of the missing gate',
        put => {
          put(at(0x80) + 4, 0);
          put(at(13) + 4, 0);
        },
      ],
      [
        'no gate at all',
        put => {
          for (const vector of [13, 11, 8, 0x80]) put(at(vector) + 4, 0);
        },
      ],
    ];
    for (const [name, patch] of cases) {
      const result = same(`${TO_USER} mov eax, 0x23\nmov ds, ax\nmov es, ax\ntry int 0x80`, patch);
      expect(result.end, name).toMatch(/halt|stopped/);
      if (name === 'no gate at all') expect(result.end).toMatch(/^stopped triple fault/);
      if (name.startsWith('no gate for')) expect(events(result).map(([vector]) => vector)).toEqual([8]);
    }
  }, 60_000);
});

describe('far transfers', () => {
  it('jump, call and return in one ring and through gates', () => {
    const result = same(
      `mov dword [0x7020], far_two
      mov word [0x7024], 0x08
      mov eax, gate_target
      mov [${GDT + 0x58}], ax
      shr eax, 16
      mov [${GDT + 0x5e}], ax
      call 0x08:far_one
      call 0x08:far_three
      jmp after_far
      far_one:
      mov ebx, [esp+4]
      retf
      far_two:
      mov ecx, [esp+4]
      retf
      far_three:
      db 0xff, 0x1d, 0x20, 0x70, 0, 0
      retf
      after_far:
      try jmp 0x10:0
      try call 0x00:0
      try jmp 0x1b:0
      try call 0x48:0
      try jmp 0x60:0
      try jmp 0x28:0
      mov esp, ${KERNEL_STACK}
      push 0x10
      push 0
      try retf
      push 0x23
      push ${USER_STACK}
      push 0x1b
      push in_user
      retf
      in_user:
      mov eax, 0x23
      mov ds, ax
      mov es, ax
      push 0x2222
      push 0x1111
      call 0x5b:0
      mov edx, esp
      try int3
      jmp done
      gate_target:
      mov ebx, [esp+8]
      mov ecx, [esp+12]
      mov esi, esp
      retf 8
      done:
      nop`,
    );
    expect(result.registers[S.EBX]).toBe(0x1111);
    expect(result.registers[S.ECX]).toBe(0x2222);
    expect(result.registers[S.EDX]).toBe(USER_STACK);
    expect(events(result).map(([vector]) => vector)).toEqual([13, 13, 13, 13, 13, 13, 13, 3]);
    expect(result.end).toBe('halt');
  });
});

describe('system registers', () => {
  it('read back what the guest wrote, at any privilege', () => {
    const result = same(`sgdt [0x7030]
      sidt [0x7040]
      sldt eax
      str ebx
      smsw ecx
      mov eax, cr0
      or eax, 8
      mov cr0, eax
      smsw edx
      clts
      mov esi, cr0
      mov eax, 0x3
      lmsw ax
      mov edi, 0x12345678
      mov cr2, edi
      mov ebp, cr2
      mov eax, 0xffffd000
      mov dr7, eax
      mov eax, 0xffffffff
      mov dr6, eax
      mov eax, dr6
      try mov cr4, eax
      mov eax, 0x90
      mov cr4, eax
      mov eax, cr4
      mov eax, 0x80000000
      try mov cr0, eax
      mov eax, 0x20000011
      try mov cr0, eax`);
    expect(result.end).toBe('halt');
    expect(events(result).map(([vector]) => vector)).toEqual([13, 13, 13]);
  });

  it('answer LAR, LSL, VERR and VERW about the guest descriptors', () => {
    const selectors = [
      0, 0x08, 0x10, 0x1b, 0x23, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x58, 0x60, 0x70, 0x80, 0x0f, 0x07,
    ];
    const ask = selectors
      .flatMap(selector =>
        [`lar ebx, eax`, `lsl ecx, eax`, `verr ax`, `verw ax`].map(
          text => `mov eax, ${selector}\nmov ebx, 0\nmov ecx, 0\n${text}\npushfd\npush ebx\npush ecx`,
        ),
      )
      .join('\n');
    expect(same(`mov ebp, esp\nmov esp, 0x18000\n${ask}\nmov esp, ebp`).end).toBe('halt');
    expect(same(`${TO_USER} mov eax, 0x23\nmov ds, ax\nmov esp, 0x18000\n${ask}\ntry int3`).end).toBe('halt');
  });

  it('keep flags by privilege and IOPL', () => {
    for (const iopl of [0, 3]) {
      const result = same(`push ${0x2 | (iopl << 12)}
        popfd
        sti
        cli
        pushfd
        pop eax
        push 0x7ed7
        popfd
        pushfd
        pop ebx
        push ${0x2 | (iopl << 12)}
        popfd
        push 0x23
        push ${USER_STACK}
        push ${0x202 | (iopl << 12)}
        push 0x1b
        push user
        iretd
        user:
        mov ecx, 0x23
        mov ds, cx
        pushfd
        pop ecx
        push 0x3ed7
        popfd
        pushfd
        pop edx
        try cli
        try sti
        try in al, 0x60
        try in al, 0x42
        try in eax, 0x44
        try in eax, 0x46
        try out 0x40, al
        try out 0x48, al
        push ax
        popf
        try int3`);
      expect(result.end).toBe('halt');
    }
  });

  it('reach ports, strings of ports, MSRs and CPUID', () => {
    const result = same(`in al, 0x60
      mov edx, 0x3f8
      in ax, dx
      in eax, dx
      out dx, al
      out dx, ax
      out dx, eax
      mov ecx, 5
      mov edi, 0x6000
      mov esi, 0x3000
      cld
      rep insd
      mov ecx, 3
      rep outsb
      std
      insw
      outsw
      cld
      mov ecx, 0
      rep insb
      mov edi, 0x40000000
      mov ecx, 0x174
      mov eax, 0x08
      mov edx, 0
      wrmsr
      rdmsr
      mov ecx, 0x1b
      rdmsr
      wrmsr
      mov ecx, 0x999
      try rdmsr
      try wrmsr
      mov eax, 7
      cpuid`);
    expect(result.end).toBe('halt');
    expect(result.ports.length).toBe(16);
    expect(events(result)).toEqual([
      [13, 0],
      [13, 0],
    ]);
  });

  it('enter and leave by SYSENTER and SYSEXIT', () => {
    const result = same(`mov ecx, 0x174
      mov eax, 0x08
      mov edx, 0
      wrmsr
      mov ecx, 0x175
      mov eax, ${RING0_STACK}
      wrmsr
      mov ecx, 0x176
      mov eax, fast
      wrmsr
      mov edx, user
      mov ecx, ${USER_STACK}
      sti
      sysexit
      user:
      mov ebx, cs
      mov esi, ss
      mov edi, esp
      sysenter
      fast:
      mov ebp, cs
      pushfd
      mov edx, ss
      pop eax
      mov ecx, 0x174
      push eax
      mov eax, 0
      mov edx, 0
      wrmsr
      try sysenter`);
    expect(result.end).toBe('halt');
    expect(events(result)).toEqual([[13, 0]]);
  });
});

describe('paging', () => {
  it('is switched on, faults with exact codes and addresses, and follows table edits and INVLPG', () => {
    const result = same(`
      mov dword [0x30000], 0x31067
      mov ecx, 0
      fill: mov eax, ecx
      shl eax, 12
      or eax, 7
      mov [0x31000+ecx*4], eax
      inc ecx
      cmp ecx, 256
      jb fill
      mov dword [0x31140], 0
      mov dword [0x31144], 0x51001
      mov dword [0x31148], 0x52003
      mov eax, 0x30000
      mov cr3, eax
      mov eax, 0x80010011
      mov cr0, eax
      jmp paged
      paged:
      try mov eax, [0x50000]
      try mov dword [0x51000], 1
      try mov dword [0x400000], 1
      mov dword [0x52000], 7
      mov dword [0x31148], 0x53003
      invlpg [0x52000]
      mov ebx, [0x52000]
      mov dword [0x31140], 0x52003
      mov ebp, [0x50000]
      mov eax, cr3
      mov cr3, eax
      ${TO_USER}
      mov eax, 0x23
      mov ds, ax
      try mov eax, [0x52000]
      mov ax, 0x23
      mov ds, ax
      nop`);
    expect(result.end).toBe('halt');
    expect(events(result)).toEqual([
      [14, 0],
      [14, 3],
      [14, 2],
      [14, 5],
    ]);
  });
});
