import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import { expect, test } from 'vitest';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';

function disassemble(bytes: Uint8Array, ip: number): string[] {
  const decoder = new Decoder(32, bytes, DecoderOptions.None);
  decoder.ip = BigInt(ip);
  const formatter = new Formatter(FormatterSyntax.Nasm);
  const lines: string[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    lines.push(formatter.format(instruction));
    instruction.free();
  }
  formatter.free();
  decoder.free();
  return lines;
}

// One line: what is written, and what an independent reader (iced's decoder) makes of the bytes.
const CASES: readonly (readonly [string, string])[] = [
  ['mov eax, 1', 'mov eax,1'],
  ['mov al, 0xff', 'mov al,0FFh'],
  ['mov ax, 5', 'mov ax,5'],
  ['mov eax, gs:[ecx*8+0x10]', 'mov eax,[gs:ecx*8+10h]'],
  ['mov dword gs:[0xfc000000], 0', 'mov dword [gs:0FC000000h],0'],
  ['mov ss:[0xfc000000], ecx', 'mov [ss:0FC000000h],ecx'],
  ['mov [esp+4], eax', 'mov [esp+4],eax'],
  ['mov ds, ax', 'mov ds,ax'],
  ['mov ds, eax', 'mov ds,eax'],
  ['mov eax, cr3', 'mov eax,cr3'],
  ['mov cr0, eax', 'mov cr0,eax'],
  ['add eax, -8', 'add eax,0FFFFFFF8h'],
  ['add ebx, 0x12345', 'add ebx,12345h'],
  ['and dword [ebx], 0xfffffdff', 'and dword [ebx],0FFFFFDFFh'],
  ['test eax, eax', 'test eax,eax'],
  ['movzx ecx, cx', 'movzx ecx,cx'],
  ['movzx eax, byte [esi]', 'movzx eax,byte [esi]'],
  ['lea ecx, [ecx+edx*2-4]', 'lea ecx,[ecx+edx*2-4]'],
  ['push 0x1234', 'push 1234h'],
  ['push eax', 'push eax'],
  ['push dword gs:[4]', 'push dword [gs:4]'],
  ['pop gs', 'pop gs'],
  ['pushfd', 'pushf'],
  ['popf', 'popf'],
  ['lock xadd [ebx], eax', 'lock xadd [ebx],eax'],
  ['lock cmpxchg8b [edi]', 'lock cmpxchg8b [edi]'],
  ['rep movsd', 'rep movsd'],
  ['repne scasb', 'repne scasb'],
  ['shl eax, 4', 'shl eax,4'],
  ['shr eax, 1', 'shr eax,1'],
  ['sar edx, cl', 'sar edx,cl'],
  ['imul eax, ebx, 10', 'imul eax,ebx,0Ah'],
  ['bt [ebx], ecx', 'bt [ebx],ecx'],
  ['int 0x80', 'int 80h'],
  ['int3', 'int3'],
  ['iretd', 'iret'],
  ['lgdt [eax]', 'lgdt [eax]'],
  ['ltr ax', 'o16 ltr ax'],
  ['in al, dx', 'in al,dx'],
  ['out dx, eax', 'out dx,eax'],
  ['out 0x80, al', 'out 80h,al'],
  ['invlpg [eax]', 'invlpg [eax]'],
  ['jmp dword gs:[0x40]', 'jmp dword [gs:40h]'],
  ['call eax', 'call eax'],
  ['ret', 'ret'],
  ['ret 8', 'ret 8'],
  ['retf', 'retf'],
  ['jmp 0x60:0x1000', 'jmp 0060h:00001000h'],
  ['setne al', 'setne al'],
  ['cmovb eax, [ebx]', 'cmovb eax,[ebx]'],
  ['xchg eax, [ebx]', 'xchg eax,[ebx]'],
  ['ud2', 'ud2'],
  ['sysexit', 'sysexit'],
  ['rdtsc', 'rdtsc'],
  ['enter 16, 0', 'enter 10h,0'],
  ['shld eax, ebx, 5', 'shld eax,ebx,5'],
  ['cli', 'cli'],
  ['hlt', 'hlt'],
];

test.each(CASES)('%s', (source, expected) => {
  expect(disassemble(assemble(0x1000, source).bytes, 0x1000)).toEqual([expected]);
});

test('labels, data and both jump lengths', () => {
  const { bytes, labels } = assemble(
    0x1000,
    `
    start: nop           ; one byte
           jnz start     ; long form: 6 bytes, target 0x1000
           jecxz done
           jmp short done
           dd done, start+4
    done:  ret
  `,
  );
  expect(labels.get('done')).toBe(0x1000 + 1 + 6 + 2 + 2 + 8);
  expect(disassemble(bytes.subarray(0, 11), 0x1000)).toEqual([
    'nop',
    'jne near 00001000h',
    'jecxz 00001013h',
    'jmp short 00001013h',
  ]);
  expect([...bytes.subarray(11, 19)]).toEqual([0x13, 0x10, 0, 0, 0x04, 0x10, 0, 0]);
});

test('an instruction that does not exist names its line', () => {
  expect(() => assemble(0, 'nop\nmov eax, bl')).toThrow(/line 2/);
  expect(() => assemble(0, 'jmp nowhere')).toThrow(/unknown symbol "nowhere"/);
});
