/**
 * Speed of the interpreter in guest MIPS, by wall clock and by processor time (which counts the optimizer's threads too); run
 * by hand: `npx tsx test/machine/bench-interpreter.ts`. The start-up of the optimizer, a second or so, is included.
 */
import { CODE, DATA, Machine } from './fixture.js';

const INTEGER = `
  mov ecx, 10000000
top:
  mov eax, ecx
  add eax, 7
  xor ebx, eax
  shl eax, 3
  lea esi, [eax+ebx*2+5]
  sub edi, esi
  and esi, 0xffff
  or edx, esi
  cmp edi, ebx
  jb skip
  inc ebp
skip:
  dec ecx
  jnz top
  hlt`;

const MEMORY = `
  mov ecx, 10000000
  mov esi, ${DATA}
top:
  mov eax, [esi]
  add eax, ecx
  mov [esi+4], eax
  add dword [esi+8], 3
  movzx edx, byte [esi+12]
  push eax
  pop ebx
  dec ecx
  jnz top
  hlt`;

const CALLS = `
  mov ecx, 1000000
top:
  push ecx
  call function
  pop ecx
  dec ecx
  jnz top
  hlt
function:
  push ebp
  mov ebp, esp
  mov eax, [ebp+8]
  test eax, eax
  je out
  add eax, 1
out:
  pop ebp
  ret`;

const SYSTEM_CALLS = `
  mov ecx, 200000
top:
  int 0x80
  dec ecx
  jnz top
  hlt`;

for (const [name, code] of Object.entries({ INTEGER, MEMORY, CALLS, SYSTEM_CALLS })) {
  for (const paging of [false, true]) {
    const machine = new Machine();
    machine.write(0x4000 + 0x80 * 16, [0xcf]);
    if (paging) machine.enablePaging();
    machine.load(code, CODE);
    const instructions = machine.cpu.instructions;
    const processor = process.cpuUsage().user;
    const start = process.hrtime.bigint();
    const exit = machine.run();
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    const processorSeconds = (process.cpuUsage().user - processor) / 1e6;
    const count = machine.cpu.instructions - instructions;
    console.log(
      `${name}${paging ? ' with paging' : ''}: ${(count / seconds / 1e6).toFixed(1)} MIPS, ${(count / processorSeconds / 1e6).toFixed(1)} by processor time, ` +
        `${(machine.cpu.cycles / count).toFixed(2)} cycles per instruction (${exit.kind})`,
    );
  }
}
