/**
 * One region as one WebAssembly function. Its outer structure:
 *
 *     registers, flags, base from the state words
 *     block EXIT
 *       block TRANSFER
 *         loop DISPATCH
 *           block ... block            one for each item that is branched to forward
 *             br_table entry
 *           end  item 0  end  item 1 ...
 *         end
 *       end TRANSFER
 *       find the region at TARGET: this one (back to DISPATCH), another (a tail call), or none
 *     end EXIT
 *     state words from registers and flags; return the exit code
 */

import { MARK_WORDS } from '../cache-layout.js';
import { OP_WORDS, Op } from '../ir.js';
import { LIMIT, Shape } from '../layout.js';
import { S } from '../state.js';
import { emitLeave, emitTransfer, goToEip } from './emit-exits.js';
import { pushCondition } from './emit-flags.js';
import { emitFlatLimit } from './emit-memory.js';
import {
  checkTarget,
  emitOp,
  flushClock,
  loadFlags,
  loadRegisters,
  spillTemps,
  storeFlags,
  storeRegisters,
} from './emit-ops.js';
import { emitInlineSystem, emitRepeat } from './emit-system.js';
import { ELSEWHERE, Frame, Global, Helper, L, Leave } from './frame.js';
import { firstOf, type Item, isLoop, itemIn, type Loop, routeTo } from './loop-tree.js';
import { flagsLiveAcross, UNKNOWN_KIND } from './op-facts.js';
import { flagsLiveOut, type Node, type RegionPlan } from './region-plan.js';
import type { RegionSource } from './region-source.js';
import { usage } from './register-use.js';
import { W } from './wasm-writer.js';

export class RegionEmitter {
  readonly #f = new Frame();
  /** Depths of the blocks that end where an item begins, and of loops. */
  readonly #labels = new Map<Item, number>();
  readonly #loops = new Map<Loop, number>();
  #entries: readonly Node[] = [];
  #live = new Uint8Array(4096);

  #shape = 0;
  #costs: RegionSource['costs'] | undefined;

  /** The region's function, and for each block that has a global for its ops the index of the first one. Valid until the next call. */
  emit(source: RegionSource, plan: RegionPlan): { readonly code: Uint8Array; readonly opsStarts: readonly number[] } {
    const f = this.#f;
    const { w } = f;
    const { shape } = source;
    w.clear();
    f.depth = 0;
    f.opsStarts.length = 0;
    f.code = source.code;
    this.#shape = shape;
    this.#costs = source.costs;
    f.flat = (shape & Shape.FLAT) !== 0;
    f.whole = (shape & Shape.WHOLE) !== 0;
    f.user = (shape & Shape.USER) !== 0;
    this.#entries = plan.entries;
    this.#labels.clear();
    this.#loops.clear();
    const use = usage(source.code, plan.nodes);
    f.used = use.used;
    f.written = use.written;
    f.writesFlags = use.writesFlags;

    loadRegisters(f);
    loadFlags(f);
    if (f.flat && !f.whole) emitFlatLimit(f);
    w.get(L.EIP);
    w.i32(-4096);
    w.op(W.I32_AND);
    w.set(L.BASE);

    f.exitDepth = f.open();
    f.dispatchDepth = f.openLoop();
    f.transferDepth = f.open();
    this.#items(plan.items, () => this.#dispatch(plan.entries, null));
    f.end();
    emitTransfer(f, source.jumpCacheAt);
    // Not reached: every path of the transfer branches.
    f.end();
    f.end();
    emitLeave(f);
    return { code: w.done(), opsStarts: f.opsStarts };
  }

  // ---- layout

  /** `dispatch` is emitted where the labels of all items are open. */
  #items(items: readonly Item[], dispatch: () => void): void {
    const f = this.#f;
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i]!;
      if (item.labelled) this.#labels.set(item, f.open());
    }
    dispatch();
    for (const item of items) {
      if (item.labelled) f.end();
      if (isLoop(item)) this.#loop(item);
      else this.#block(item);
    }
  }

  #loop(loop: Loop): void {
    const f = this.#f;
    const { header } = loop;
    this.#loops.set(loop, f.openLoop());
    this.#items(loop.items, () => {
      if (!loop.dispatches) return;
      // Most of the time it is the header that is wanted, and it is behind the dispatch.
      f.w.get(L.ENTRY);
      f.w.i32(header.entry);
      f.w.op(W.I32_NE);
      f.if();
      this.#dispatch(this.#entries.slice(loop.firstEntry, loop.endEntry), loop);
      f.end();
      if (loop.items[0] !== header) f.br(this.#labels.get(header)!);
    });
    f.end();
  }

  /** To one of the entries of a loop, or (null) of the region. The default is the last entry; ENTRY is never out of range. */
  #dispatch(entries: readonly Node[], scope: Loop | null): void {
    const f = this.#f;
    f.w.get(L.ENTRY);
    if (entries[0]!.entry !== 0) {
      f.w.i32(entries[0]!.entry);
      f.w.op(W.I32_SUB);
    }
    f.w.op(W.BR_TABLE);
    f.w.u(entries.length - 1);
    for (const node of entries) f.w.u(f.depth - this.#labels.get(itemIn(scope, node))!);
  }

  // ---- blocks

  #block(node: Node): void {
    const f = this.#f;
    const { block } = node;
    const { code } = f;
    f.blockOffset = node.offset;
    f.blockStart = block.start;
    f.kind = node.kindIn;
    const count = (block.marks - block.start) / OP_WORDS;
    if (this.#live.length < count) this.#live = new Uint8Array(count * 2);
    let live = flagsLiveOut(code, node);
    for (let i = count - 1; i >= 0; i--) {
      this.#live[i] = live ? 1 : 0;
      live = flagsLiveAcross(code, block.start + i * OP_WORDS, live);
    }
    let index = 0;
    f.beginInstruction(block, 0);
    for (let i = 0; i < count - 1; i++) {
      const at = block.start + i * OP_WORDS;
      while (index + 1 < block.instructions && code[block.marks + (index + 1) * MARK_WORDS] === at) {
        index += 1;
        f.beginInstruction(block, index);
      }
      emitOp(f, at, this.#live[i] !== 0);
    }
    if (index + 1 < block.instructions && code[block.marks + (index + 1) * MARK_WORDS] === node.terminator) {
      f.beginInstruction(block, index + 1);
    }
    this.#terminator(node);
  }

  #terminator(node: Node): void {
    const f = this.#f;
    const { w, code } = f;
    const at = node.terminator;
    const { block } = node;
    switch (code[at]) {
      case Op.JUMP: {
        const offset = node.offset + code[at + 1]!;
        this.#checkDirect(offset, node);
        f.spend(block.instructions, block.cycles);
        this.#edge(node, node.taken, offset, code[at + 2] !== 0);
        return;
      }
      case Op.NEXT:
        f.spend(block.instructions, block.cycles);
        this.#edge(node, node.fall, node.offset + code[at + 1]!, false);
        return;
      case Op.BRANCH:
      case Op.BRANCH_IF:
      case Op.BRANCH_LOOP:
        this.#branch(node);
        return;
      case Op.JUMP_INDIRECT: {
        f.push(code[at + 2]!);
        w.set(L.TARGET);
        if (!this.#checkedTarget(node)) {
          w.get(L.TARGET);
          checkTarget(f);
        }
        f.spend(block.instructions, block.cycles);
        f.settleKind();
        this.#eventCheck();
        f.br(f.transferDepth);
        return;
      }
      default:
        this.#system(node);
    }
  }

  /**
   * A helper executes the instruction on the state words. Where nothing but registers, flags and memory has changed the region
   * goes on behind it; else the run loop finds out what comes next.
   */
  #system(node: Node): void {
    const f = this.#f;
    const { w } = f;
    const { block } = node;
    const at = node.terminator;
    const next = node.offset + block.bytes;
    const { instructions, cycles } = block;
    const inline = emitInlineSystem(f, at, { instructions, cycles, next, shape: this.#shape }, this.#costs!);
    spillTemps(f);
    f.settleKind();
    storeRegisters(f);
    if (f.writesFlags) storeFlags(f);
    f.spend(block.instructions - 1, block.cycles);
    flushClock(f);
    f.storeState(S.EIP, () => f.pushEip(node.offset + f.code[at + 6]!));
    const repeated = emitRepeat(f, at);
    w.get(L.CPU);
    f.pushOp(at);
    w.op(W.GLOBAL_GET);
    w.u(Global.PAGE);
    f.call(Helper.SYSTEM);
    w.tee(L.CODE);
    f.if();
    // Everything is in the state words already.
    w.get(L.CODE);
    w.i32(ELSEWHERE);
    w.op(W.I32_EQ);
    f.if();
    goToEip(f);
    f.end();
    w.get(L.CODE);
    w.op(W.RETURN);
    f.end();
    if (repeated !== 0) f.end();
    loadRegisters(f);
    loadFlags(f);
    f.kind = UNKNOWN_KIND;
    if (inline !== 0) f.end();
    if (f.flat && !f.whole) emitFlatLimit(f);
    // Behind the helper no event is due; behind what was done without it there may be one.
    this.#edge(node, node.fall, next, inline !== 0 || repeated !== 0);
  }

  /** A target in another page must lie within the code segment. A LOOP or CALL has checked already, and committed something. */
  #checkDirect(offset: number, node: Node): void {
    if (offset >= 0 && offset < 4096) return;
    const f = this.#f;
    const { block } = node;
    const first = f.code[block.marks + (block.instructions - 1) * MARK_WORDS]!;
    if (f.code[first] === Op.CHECK_TARGET_DIRECT) return;
    f.pushEip(offset);
    checkTarget(f);
  }

  /** Has the last instruction checked its computed target already, before it committed anything? */
  #checkedTarget(node: Node): boolean {
    const { code } = this.#f;
    const { block } = node;
    const first = code[block.marks + (block.instructions - 1) * MARK_WORDS]!;
    for (let at = first; at < node.terminator; at += OP_WORDS) if (code[at] === Op.CHECK_TARGET) return true;
    return false;
  }

  #branch(node: Node): void {
    const f = this.#f;
    const { w, code } = f;
    const at = node.terminator;
    const { block } = node;
    const offset = node.offset + code[at + 1]!;
    const backward = code[at + 2] !== 0;
    const inPage = offset >= 0 && offset < 4096;
    const condition = () => {
      if (code[at] === Op.BRANCH) {
        pushCondition(f, code[at + 3]!);
      } else {
        f.push(code[at + 3]!);
        if (code[at] === Op.BRANCH_IF) {
          if (code[at + 4] === 0) w.op(W.I32_EQZ);
        } else {
          w.i32(0);
          w.op(W.I32_NE);
          pushCondition(f, code[at + 4]!);
          w.op(W.I32_AND);
        }
      }
    };
    if (!inPage) {
      condition();
      f.if();
      this.#checkDirect(offset, node);
      f.spend(block.instructions, block.cycles);
      this.#edge(node, null, offset, backward);
      f.end();
      f.spend(block.instructions, block.cycles);
    } else {
      f.spend(block.instructions, block.cycles);
      condition();
      const target = backward || node.taken === null ? -1 : this.#plainTarget(node, node.taken);
      if (target >= 0) {
        f.brIf(target);
      } else {
        f.if();
        this.#edge(node, node.taken, offset, backward, false);
        f.end();
      }
    }
    this.#edge(node, node.fall, node.offset + block.bytes, false);
  }

  /** Depth of the block that a branch names which has nothing else to do, or -1. */
  #plainTarget(from: Node, to: Node): number {
    if (this.#needsKind(to)) return -1;
    const { back, item, dispatched } = routeTo(from, to);
    if (dispatched) return -1;
    return back !== null ? this.#loops.get(back)! : this.#labels.get(item)!;
  }

  /** Must the flags' kind be in its local when `to` begins? */
  #needsKind(to: Node): boolean {
    return to.flagsLiveIn && to.kindIn === UNKNOWN_KIND && this.#f.kind !== UNKNOWN_KIND;
  }

  /** Goes to a block at a page offset; to the one that is laid out next by going on, if `falls`. */
  #edge(from: Node, to: Node | null, offset: number, backward: boolean, falls = true): void {
    const f = this.#f;
    const { w } = f;
    if (backward) {
      // An event point: the flags are wanted, with their kind.
      w.get(L.SPENT);
      w.op(W.I32_WRAP_I64);
      f.loadState(LIMIT);
      w.op(W.I32_GE_S);
      f.if();
      f.leaveAt(offset, 0, 0, Leave.EVENT);
      f.end();
    }
    if (to === null) {
      f.settleKind();
      f.pushEip(offset);
      w.set(L.TARGET);
      f.br(f.transferDepth);
      return;
    }
    if (this.#needsKind(to)) f.settleKind();
    const { back, item, dispatched } = routeTo(from, to);
    if (dispatched) {
      w.i32(to.entry);
      w.set(L.ENTRY);
    }
    if (back !== null) f.br(this.#loops.get(back)!);
    else if (!falls || firstOf(item).position !== from.position + 1) f.br(this.#labels.get(item)!);
  }

  #eventCheck(): void {
    const f = this.#f;
    const { w } = f;
    w.get(L.SPENT);
    w.op(W.I32_WRAP_I64);
    f.loadState(LIMIT);
    w.op(W.I32_GE_S);
    f.if();
    w.i32(Leave.EVENT);
    w.set(L.CODE);
    f.br(f.exitDepth);
    f.end();
  }
}
