/** ENTER beyond its plain 32-bit form without nesting, which is lowered to ops. */
import { type Core, Result } from './core.js';
import { Attr, S, Seg, segAttr } from './state.js';

/**
 * The helper of ENTER (SDM vol. 2, "ENTER"): `bytes` of locals, nesting `level` 0..31, operand size 2 or 4. Addresses are as
 * wide as the stack. Registers change when all stores are done.
 */
export function enterFrame(cpu: Core, bytes: number, level: number, size: number): number {
  const s = cpu.s;
  const big = (s[segAttr(Seg.SS)]! & Attr.DB) !== 0;
  const cut = (offset: number): number => (big ? offset | 0 : offset & 0xffff);
  const moved = (offset: number): number => (big ? offset | 0 : (s[S.ESP]! & ~0xffff) | (offset & 0xffff));
  const frame = moved(s[S.ESP]! - size);
  cpu.store(Seg.SS, cut(frame), size, s[S.EBP]!);
  if (cpu.faultVector >= 0) return Result.FAULT;
  for (let i = 1; i < level; i++) {
    const word = cpu.load(Seg.SS, cut(s[S.EBP]! - size * i), size);
    if (cpu.faultVector >= 0) return Result.FAULT;
    cpu.store(Seg.SS, cut(frame - size * i), size, word);
    if (cpu.faultVector >= 0) return Result.FAULT;
  }
  if (level > 0) {
    cpu.store(Seg.SS, cut(frame - size * level), size, frame);
    if (cpu.faultVector >= 0) return Result.FAULT;
  }
  s[S.ESP] = moved(frame - size * level - bytes);
  s[S.EBP] = size === 4 ? frame : (s[S.EBP]! & ~0xffff) | (frame & 0xffff);
  cpu.spend(level > 0 ? cpu.costs.cycles.pushPopAll : cpu.costs.cycles.store + cpu.costs.cycles.simple);
  return Result.DONE;
}
