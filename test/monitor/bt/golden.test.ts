/**
 * Golden translations: guest code beside TC code. `BLESS=1 npx vitest run test/monitor/bt/golden.test.ts` rewrites them; the
 * difference is then for a person to read.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Decoder, OpKind } from 'iced-x86';
import { expect, test } from 'vitest';
import { assemble } from '../../../src/hypervisor/machine/cpu/assemble.js';
import { disassembleUnit } from '../../../src/hypervisor/monitor/bt/disassemble.js';
import { translate } from '../../../src/hypervisor/monitor/bt/translate.js';
import { TC_LINEAR } from '../../../src/hypervisor/monitor/hole.js';

const FOLDER = fileURLToPath(new URL('../../../fixtures/bt/', import.meta.url));
const LOOKUP = TC_LINEAR + 0x3fff80;
const ORIGIN = 0xc0101000;

const SNIPPETS: Readonly<Record<string, string>> = {
  'interrupt-flag': 'cli\n mov eax, [ebx]\n sti\n add eax, 1\n mov [ebx], eax\n jmp 0xc0102000',
  'sti-hlt': 'sti\n hlt\n jmp 0xc0101000',
  'sti-ret': 'sti\n ret',
  'flags-image': 'pushf\n pop eax\n push eax\n popf\n ret',
  'call-ret': 'push ebp\n mov ebp, esp\n call 0xc0103000\n',
  'ret-imm': 'leave\n ret 8',
  jcc: 'dec ecx\n jnz 0xc0101000',
  loop: 'mov [edi], al\n loop 0xc0101000',
  jecxz: 'jecxz 0xc0101010',
  'indirect-register': 'call eax',
  'indirect-memory': 'jmp dword [ecx*4+0xc0200000]',
  'call-memory': 'call dword [esp+8]',
  'call-per-cpu': 'call dword gs:[0x10]',
  iret: 'pop ebx\n iretd',
  'address-space': 'mov cr3, eax\n mov eax, cr2\n invlpg [edi]\n ret',
  selectors:
    'mov eax, cs\n mov ebx, ss\n mov ecx, gs\n push cs\n push ss\n push gs\n mov ax, cs\n mov [edi], cs\n mov gs, ax\n ret',
  'gs-memory': 'mov eax, gs:[0x14]\n add dword gs:[ebx+4], 1\n mov edx, cs:[esi]\n ret',
  'ss-shadow': 'mov ss, ax\n mov esp, ebx\n ret',
  'control-registers': 'mov eax, cr0\n mov ebx, cr2\n mov ecx, cr3\n mov edx, cr4\n mov cr0, eax\n ret',
  ports: 'in al, dx\n out 0x20, al\n nop\n jmp 0xc0101000',
  twelve: `${'inc eax\n'.repeat(14)}ret`,
  invalid: 'nop\n db 0x0f, 0xff, 0xff\n nop',
};

for (const [name, source] of Object.entries(SNIPPETS)) {
  test(`translation of ${name}`, () => {
    const { bytes } = assemble(ORIGIN, source);
    const code = translate({
      eip: ORIGIN,
      code: bytes,
      cs: 0x60,
      tcStart: TC_LINEAR,
      lookupAt: LOOKUP,
      isAdapted: () => false,
    })!;
    const text = disassembleUnit(code, { tcStart: TC_LINEAR, lookupAt: LOOKUP });
    const path = `${FOLDER}${name}.asm`;
    if (process.env['BLESS'] === '1') {
      mkdirSync(FOLDER, { recursive: true });
      writeFileSync(path, text);
    }
    expect(text).toBe(readFileSync(path, 'utf8'));
    // Hardware takes events at taken backward branches: inside a unit these lead to guest boundaries only.
    const decoder = new Decoder(32, code.bytes, 0);
    for (const { at } of code.points) {
      decoder.position = at;
      decoder.ip = BigInt(at);
      const instruction = decoder.decode();
      const kind = instruction.opCount > 0 ? instruction.op0Kind : OpKind.Register;
      const target = kind === OpKind.NearBranch32 ? instruction.nearBranch32 : Number.POSITIVE_INFINITY;
      instruction.free();
      if (target > at) continue;
      const landing = code.points.find(point => point.at === target);
      expect(landing).toMatchObject({ kind: 'exact', shadow: false });
    }
    decoder.free();
    expect(code.points.every((point, i) => i === 0 || point.at > code.points[i - 1]!.at)).toBe(true);
  });
}
