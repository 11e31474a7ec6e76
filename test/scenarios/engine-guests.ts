/** Guests that make life hard for an engine that compiles: multiboot images that run for ever. */
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { LOAD_ADDRESS, multiboot } from '../differential/oracle-image.js';

const image = (source: string) => multiboot(assemble(LOAD_ADDRESS + 32, `mov esp, 0x90000\n${source}`).bytes);

/** Changes an instruction of its own loop each time round; other code of the page is hot. */
export const patchesEachTime = image(`
top:
  add eax, 1
patch: mov ebx, 0
  add edx, ebx
  inc dword [patch+1]
  jmp top`);

/** Runs a loop until it is compiled, then changes an instruction of it. */
export const patchesWhatIsHot = image(`
top:
  mov ecx, 2000
inner:
  add eax, 1
patch: mov ebx, 0
  add edx, ebx
  dec ecx
  jnz inner
  inc dword [patch+1]
  jmp top`);

const FUNCTIONS_AT = 0x200000;

/** Writes `count` functions of one page each, then calls every one of them often enough to be hot, round after round. */
export const fillsCodeCache = (count: number, calls: number) =>
  image(`
  mov edi, ${FUNCTIONS_AT}
  mov ecx, ${count}
fill:
  mov dword [edi], 0x90c3c0ff
  mov dword [edi+64], 0x90c3c1ff
  add edi, 4096
  dec ecx
  jnz fill
round:
  mov edi, ${FUNCTIONS_AT}
  mov esi, ${count}
next:
  mov ebp, ${calls}
again:
  call edi
  lea ebx, [edi+64]
  call ebx
  dec ebp
  jnz again
  add edi, 4096
  dec esi
  jnz next
  inc dword [0x80000]
  jmp round`);

/** Fills memory with jumps and runs through all of it: a block a page, each in another place of its page. */
export const jumpsThroughMemory = (pages: number) =>
  image(`
  mov edi, ${FUNCTIONS_AT}
  mov ecx, ${pages - 1}
fill:
  mov byte [edi], 0xe9
  mov dword [edi+1], 4107
  add edi, 4112
  dec ecx
  jnz fill
  mov byte [edi], 0xe9
  mov eax, again-5
  sub eax, edi
  mov [edi+1], eax
again:
  inc dword [0x80000]
  jmp ${FUNCTIONS_AT}`);
