/**
 * Virtual-8086 mode (SDM vol. 3, 20.2), without the extensions of CR4.VME: ring 3 in 16-bit segments at sixteen times their
 * selectors. Inside, `real-mode.ts` says what selectors and far transfers do, and `CHECK_IOPL` guards what needs IOPL 3; it is
 * left through an interrupt or trap gate to ring 0 (`exceptions.ts`), and entered by IRET from there. A task in this mode is
 * not built (`tasks.ts`).
 */
import { type Core, Result } from './core.js';
import { Attr, Flag, S, Seg, segAttr, Vector } from './state.js';

/** All flags that there are. */
const IMAGE = 0x3f7fd5;
const VIRTUAL_ATTR = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | (3 << Attr.DPL_SHIFT);

export function loadSegmentVirtual(cpu: Core, seg: number, selector: number): void {
  cpu.setSegment(seg, selector & 0xffff, (selector & 0xffff) << 4, 0xffff, VIRTUAL_ATTR);
}

/** IRETD at CPL 0 to an image with VM set: EIP, CS and EFLAGS have been popped, six more words follow. */
export function enterVirtual(cpu: Core, eip: number, selector: number, image: number): number {
  const s = cpu.s;
  const big = (s[segAttr(Seg.SS)]! & Attr.DB) !== 0;
  const words: number[] = [];
  for (let i = 3; i < 9; i++) {
    const offset = (s[S.ESP]! + 4 * i) | 0;
    words.push(cpu.load(Seg.SS, big ? offset : offset & 0xffff, 4));
    if (cpu.faultVector >= 0) return Result.FAULT;
  }
  if ((eip & ~0xffff) !== 0) {
    cpu.raise(Vector.GP, 0);
    return Result.FAULT;
  }
  cpu.spend(cpu.costs.cycles.iretToOuter);
  cpu.setCpl(3);
  cpu.writeEflags(image & IMAGE & (cpu.breakpoints.active ? -1 : ~Flag.RF));
  loadSegmentVirtual(cpu, Seg.CS, selector);
  s[S.ESP] = words[0]!;
  [Seg.SS, Seg.ES, Seg.DS, Seg.FS, Seg.GS].forEach((seg, i) => {
    loadSegmentVirtual(cpu, seg, words[i + 1]!);
  });
  cpu.nextEip = eip;
  return Result.DONE;
}
