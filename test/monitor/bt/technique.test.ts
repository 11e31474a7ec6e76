/** The technique's parts one by one: hypercall hook, audits that find planted errors, adaptation, text for people. */
import { expect, test } from 'vitest';
import { S } from '../../../src/hypervisor/machine/cpu/state.js';
import { RESERVED_BYTES } from '../../../src/hypervisor/machine/memory.js';
import { HITS_TO_ADAPT } from '../../../src/hypervisor/monitor/bt/adapt.js';
import { HYPERCALL_VECTOR, TC_LINEAR } from '../../../src/hypervisor/monitor/hole.js';
import { CAUSE_NAMES } from '../../../src/hypervisor/stats/causes.js';
import { CODE, DATA, guest, makeBt, runBt, setGate } from './bt-machine.js';

const LOOP = `
        mov ecx, 30
again:  call f
        mov eax, f
        call eax
        dec ecx
        jnz again
        hlt
f:      inc ebx
        ret`;

test('INT with the hypercall vector goes to the hook first, with EIP behind it', () => {
  const start = guest(`mov eax, 1\n int ${HYPERCALL_VECTOR}\n inc ebx\n int ${HYPERCALL_VECTOR}\n hlt`, {
    98304: 'mov edx, 9\n iretd',
  });
  setGate(start.memory, HYPERCALL_VECTOR, 0x18000, 0);
  const seen: number[] = [];
  const machine = makeBt(start, {
    onHypercall: vcpu => {
      seen.push(vcpu.eip);
      // The first call is the hook's; the second is left to the guest's own IDT.
      if (seen.length > 1) return undefined;
      vcpu.thread.s[S.EAX] = 42;
      return { kind: 'resume' };
    },
  });
  const end = runBt(machine);
  expect(seen).toEqual([CODE + 7, CODE + 10]);
  expect(end.registers[0]).toBe(42);
  expect(end.registers[3]).toBe(1);
  expect(end.registers[2]).toBe(9);
});

test('every cycle is booked on a cause, and translation is a cause of its own', () => {
  const machine = makeBt(guest(LOOP));
  runBt(machine);
  const { causes } = machine.vm;
  const sum = CAUSE_NAMES.reduce((total, name) => total + causes[name], 0);
  expect(sum).toBe(machine.vcpu.chargedCycles);
  const { counters } = machine.vm;
  expect(causes.translation).toBeGreaterThanOrEqual(counters.tcInstructions * 800);
  expect(causes.guestKernel).toBeGreaterThan(0);
  expect(counters.tcBytes).toBe(machine.technique.cache.usedBytes);
});

test('the audit finds a changed byte of the TC', () => {
  const machine = makeBt(guest(LOOP));
  runBt(machine);
  expect(machine.technique.audit()).toEqual([]);
  const [unit] = machine.technique.cache.units;
  const at = machine.vcpu.shadow.lookup(unit!.tcStart, false, false);
  // The hole is not the guest's: `lookup` does not show it, so the page is found by its bytes.
  expect(at).toBeUndefined();
  const { memory } = machine.vm;
  // The first guest instructions are not patched by chaining.
  const code = unit!.code.bytes.slice(0, 10);
  for (let mpn = RESERVED_BYTES >>> 12; mpn < memory.pageCount; mpn++) {
    if (code.every((byte, i) => memory.read8((mpn << 12) + i) === byte)) {
      memory.write8(mpn << 12, code[0]! ^ 0xff);
      break;
    }
  }
  expect(machine.technique.audit().join('\n')).toMatch(/code in the TC has changed/);
});

test('the audit finds guest code that changed behind the trace', () => {
  const machine = makeBt(guest(LOOP));
  runBt(machine);
  const mpn = machine.vm.pmap.mpnFor((CODE >>> 12) as never)!;
  machine.vm.memory.write8((mpn << 12) + 1, 0x77);
  expect(machine.technique.audit().join('\n')).toMatch(/made from other bytes/);
});

test('the audit finds a one-sided link and a hash entry that leads to a dead unit', () => {
  const machine = makeBt(guest(LOOP));
  runBt(machine);
  const { cache } = machine.technique;
  const chained = cache.units.find(tu => tu.chainedFrom.size > 0)!;
  const [from] = chained.chainedFrom;
  chained.chainedFrom.delete(from!);
  expect(machine.technique.audit().join('\n')).toMatch(/chained to a unit that does not know it/);
  chained.chainedFrom.add(from!);
  expect(machine.technique.audit()).toEqual([]);
  const hashed = cache.units.find(tu => tu.hashIndex !== undefined)!;
  const index = hashed.hashIndex!;
  expect(cache.hashEntry(index).tcStart).toBe(hashed.tcStart);
  hashed.retired = true;
  expect(machine.technique.audit().join('\n')).toMatch(/not to a live unit|leads nowhere/);
});

test('retiring a unit undoes its links, its hash entry and, with the last unit, the trace', () => {
  const machine = makeBt(guest(LOOP));
  runBt(machine);
  const { cache } = machine.technique;
  expect(machine.vcpu.traces.isWatchedFor((CODE >>> 12) as never, 'code')).toBe(true);
  for (const tu of [...cache.units]) {
    cache.retire(tu);
    expect(tu.chainedFrom.size).toBe(0);
    expect(tu.code.continuations.every(({ target }) => target === undefined)).toBe(true);
    expect(cache.find(tu.tcStart)).toBe(tu);
    expect(cache.get(tu.linear)).toBeUndefined();
    expect(machine.technique.audit()).toEqual([]);
  }
  expect(machine.vcpu.traces.isWatchedFor((CODE >>> 12) as never, 'code')).toBe(false);
});

test('a write retires exactly the units that it overlaps', () => {
  const machine = makeBt(guest(LOOP));
  runBt(machine);
  const { cache } = machine.technique;
  const before = cache.units.length;
  const victim = cache.units.find(tu => tu.linear === CODE)!;
  const { sources } = victim;
  expect(sources).toHaveLength(1);
  expect(cache.retireWritten(CODE >>> 12, (CODE & 4095) + 1, 1)).toBe(1);
  expect(victim.retired).toBe(true);
  expect(cache.units.length).toBe(before - 1);
  expect(cache.retireWritten(CODE >>> 12, 0x800, 4)).toBe(0);
});

test('a store that keeps hitting a trace becomes a callout after a few hits', () => {
  // The page below holds both code and data: each store to it is a trace hit.
  const machine = makeBt(
    guest(`
        mov ecx, 20
        mov ebx, ${CODE + 0x800}
again:  mov [ebx], ecx
        xchg [ebx+4], ecx
        mov ecx, [ebx]
        and dword [ebx+8], 0x55
        bts dword [ebx+12], 3
        dec ecx
        jnz again
        hlt`),
  );
  const end = runBt(machine);
  expect(end.why).toBe('halt');
  expect(machine.vm.counters.tcAdapted).toBe(4);
  expect(machine.technique.adaptation.adaptedSites).toHaveLength(4);
  // Four sites, each with its hits before adaptation.
  expect(machine.vm.counters.traceFaults).toBe(4 * HITS_TO_ADAPT);
  expect(machine.technique.audit()).toEqual([]);
});

test('units describe themselves', () => {
  const machine = makeBt(guest(LOOP));
  runBt(machine);
  const text = machine.technique.disassemble(CODE)!;
  expect(text).toMatch(/^unit 0: guest 00010000\+10 \(2 instructions\); TC ffd00000/);
  expect(text).toMatch(/call {2}.*\| .* push/);
  expect(machine.technique.disassemble(DATA)).toBeUndefined();
  expect(machine.technique.guestEipAt(TC_LINEAR)).toBe(CODE);
});

test('what hardware does not build is #UD to the guest, and the log names the guest’s address', () => {
  const start = guest('nop\n db 0xf2, 0x0f, 0x7c, 0xc1\n hlt', { 98304: 'pop eax\n hlt' });
  setGate(start.memory, 6, 0x18000, 0);
  const machine = makeBt(start);
  const end = runBt(machine);
  expect(end.registers[0]).toBe(CODE + 1);
  expect(machine.log).toContain(`#UD in the guest's kernel at 0x${(CODE + 1).toString(16)}: f2 0f 7c c1`);
});

test('a 16-bit code segment stops the VM with a reason', () => {
  const start = guest('jmp 0x30:0x1000');
  // Descriptor 0x30 becomes a 16-bit code segment.
  new DataView(start.memory.buffer).setUint32(0x1034, 0x00009b00, true);
  const end = runBt(makeBt(start));
  expect(end.why).toMatch(/^stopped: 16-bit code segment 0x30/);
});

test('units that count their executions do what they did before, and count right', () => {
  const source = `mov ecx, 1000
    pushf
    pop edi
again: call f
    dec ecx
    jnz again
    hlt
f:  add eax, ecx
    adc ebx, 7
    ret`;
  const plain = runBt(makeBt(guest(source)));
  const machine = makeBt(guest(source), { countExecutions: true });
  const counted = runBt(machine);
  expect(counted.registers).toEqual(plain.registers);
  expect(counted.eflags).toBe(plain.eflags);
  const lines = machine.technique.listCode(0);
  const count = (start: string) => lines.find(({ text }) => text.startsWith(start))!.count;
  expect([count('add eax'), count('dec ecx'), count('hlt')]).toEqual([
    // HLT's unit goes on into the function that stands behind it.
    1001, 1000, 1,
  ]);
  expect(machine.technique.audit()).toEqual([]);
});

test('a store to a page table that is not yet followed by an invalidation is no finding; an address space that nobody noticed is', () => {
  const machine = makeBt(
    guest(`
        mov edi, 0x41000
        mov eax, 3
  fill: stosd
        add eax, 0x1000
        cmp eax, 0x100000
        jb fill
        mov dword [0x40000], 0x41003
        mov eax, 0x40000
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        mov byte [0x50000], 0xc3
        mov byte [0x51000], 0xc3
        mov eax, 0x50000
        call eax
        mov dword [0x41140], 0x51003
        hlt`),
  );
  expect(runBt(machine).why).toBe('halt');
  expect(machine.technique.audit()).toEqual([]);
  machine.vcpu.cr3 = 0x42000;
  expect(machine.technique.audit()).toEqual(['CR3 0x42000: units are of another address space']);
});
