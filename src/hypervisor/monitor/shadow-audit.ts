/**
 * The shadow audit: recomputes everything that the shadow MMU has derived and says where it differs. Changes nothing.
 *
 * Each present shadow entry is checked twice: against the guest entry it was made from (frame and every permission bit: this
 * finds corruption, always), and that entry against the guest's table now (this finds missed updates). The second check is
 * left out for announced tables, where the guest may store first and announce later, and ignores accessed and dirty bits
 * that were set after the shadow was made: those only widen.
 */
import type { Ppn } from '../base/pages.js';
import { PRESENT_MASK, Pte } from './guest-walk.js';
import type { ShadowMmu } from './shadow.js';
import { directoryEntry } from './shadow-entries.js';
import type { ShadowTable } from './shadow-table.js';
import { pdeIndex, pteIndex, readEntry, slotOf } from './table-format.js';
import type { TraceBook } from './traces.js';

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
/** Hardware sets these in shadow entries as it likes. */
const IGNORED = Pte.A | Pte.D;

/** The set of this vCPU, whoever shares it, and the vCPU's TLB. One finding a line; empty when everything is as it should be. */
export function auditShadow(mmu: ShadowMmu): string[] {
  const { set } = mmu;
  const { reverse, traces, follower } = set;
  const shadows = [...set.shadows];
  const findings: string[] = [];
  const byMpn = new Map(shadows.map(shadow => [shadow.mpn as number, shadow]));
  const parents = new Map<ShadowTable, Set<number>>(shadows.map(shadow => [shadow, new Set()]));
  let leaves = 0;

  for (const shadow of shadows) {
    const name = `shadow ${shadow.kind} of PPN ${shadow.ppn.toString(16)}`;
    const say = (index: number, what: string) => findings.push(`${name} entry ${index}: ${what}`);
    const fromGuest = shadow.kind === 'directory' || shadow.kind === 'table';
    const announced = fromGuest && follower.isAnnounced(shadow.ppn);
    if (fromGuest && shadow.traced === announced)
      findings.push(`${name}: ${announced ? 'traced though announced' : 'not traced'}`);

    let count = 0;
    for (let index = 0; index < shadow.format.entries; index++) {
      const entry = shadow.entry(index);
      if (shadow.owner !== undefined && index >= shadow.guestEntries) {
        const expected = shadow.owner.hole.entry(shadow, index);
        if (((entry ^ expected) & ~IGNORED) !== 0) say(index, `hole entry ${hex(entry)} is not ${hex(expected)}`);
        continue;
      }
      if (entry === 0) continue;
      count += 1;
      const source = shadow.sources[index]!;
      if (shadow.owner !== undefined) {
        const child = byMpn.get(entry >>> 12);
        if (child === undefined) {
          say(index, `${hex(entry)} leads to no shadow table`);
          continue;
        }
        parents.get(child)!.add(shadow.at(index));
        const expected = directoryEntry(child, source);
        if (((entry ^ expected) & ~IGNORED) !== 0) say(index, `${hex(entry)} should be ${hex(expected)}`);
        const leadsTo = child.kind === 'table' ? source >>> 12 : (source & child.format.largeFrame) >>> 12;
        if (leadsTo !== child.ppn) say(index, `leads to ${child.kind} ${child.ppn.toString(16)}, guest ${hex(source)}`);
      } else {
        leaves += 1;
        const expected = set.leafEntry(shadow, source, false);
        if (expected === undefined) say(index, `maps PPN ${(source >>> 12).toString(16)}, which has no frame`);
        else checkLeaf(entry, expected, what => say(index, what));
        if (!reverse.entriesOf(shadow.ppnOf(index)).includes(shadow.at(index))) say(index, 'not in the reverse map');
        if (!fromGuest && shadow.ppnOf(index) !== (shadow.ppn | index) >>> 0) say(index, 'is at the wrong place');
      }
      if (!fromGuest || announced) continue;
      const guest = readEntry(mmu.vcpu.physical, shadow.format, shadow.guestAt(index));
      if ((guest & PRESENT_MASK) !== PRESENT_MASK) say(index, `guest entry ${hex(guest)} is not in use`);
      else if (((guest ^ source) & ~IGNORED) !== 0) say(index, `made from ${hex(source)}, guest has ${hex(guest)} now`);
      else if ((source & ~guest & IGNORED) !== 0) say(index, `guest has lost accessed or dirty: ${hex(guest)}`);
    }
    if (count !== shadow.count) findings.push(`${name}: counts ${shadow.count} entries, has ${count}`);
  }

  if (reverse.size !== leaves) findings.push(`reverse map holds ${reverse.size} entries, shadows ${leaves}`);
  for (const [shadow, expected] of parents) {
    const known = shadow.parents;
    if (known.size !== expected.size || [...expected].some(at => !known.has(at))) {
      findings.push(
        `shadow ${shadow.kind} of PPN ${shadow.ppn.toString(16)}: parents are not the entries that lead to it`,
      );
    }
  }
  auditTraces(traces, findings);
  auditTlb(mmu, findings);
  return findings;
}

/** Pages are watched as tables exactly as often as shadows, of whatever set, want it. */
function auditTraces(traces: TraceBook, findings: string[]): void {
  const watches = new Map<Ppn, number>();
  for (const follower of traces.followers) {
    for (const ppn of follower.tracedPages()) watches.set(ppn, (watches.get(ppn) ?? 0) + 1);
  }
  for (const ppn of traces.watched('table')) {
    if (!watches.has(ppn)) findings.push(`PPN ${ppn.toString(16)} is watched as a table and has no shadow`);
  }
  for (const [ppn, count] of watches) {
    if (traces.users(ppn, 'table') !== count)
      findings.push(`PPN ${ppn.toString(16)}: trace has the wrong number of users`);
  }
}

/** Frame and permissions. A missing W is legal where the page was watched when the entry was made: only a wider entry is wrong. */
function checkLeaf(entry: number, expected: number, say: (what: string) => void): void {
  const wider = entry & ~expected & (Pte.W | Pte.U | Pte.G);
  if (((entry ^ expected) & ~(IGNORED | Pte.W)) !== 0 || wider !== 0) say(`${hex(entry)} should be ${hex(expected)}`);
}

/** No TLB line may allow what the shadow does not. */
function auditTlb(mmu: ShadowMmu, findings: string[]): void {
  const { i32 } = mmu.vcpu.vm.memory;
  const { format } = mmu;
  const pteMask = (format.entries - 1) << format.entryShift;
  for (const line of mmu.vcpu.thread.tlbEntries()) {
    const linear = (line.linearPage << 12) >>> 0;
    const say = (what: string) => findings.push(`TLB line for ${hex(linear)}: ${what}`);
    const pde = mmu.roots[slotOf(format, linear)]?.entry(pdeIndex(format, linear)) ?? 0;
    const pteOffset = pteIndex(format, linear) << format.entryShift;
    const pte = (pde & Pte.P) === 0 ? 0 : i32[(((pde >>> 12) << 12) + pteOffset) >>> 2]!;
    if ((pte & Pte.P) === 0) {
      // A global line may stem from another address space, where the same mapping is filled.
      const elsewhere =
        line.global &&
        linear < mmu.hole.base &&
        mmu.set.reverse.holds(at => {
          const entry = i32[at >> 2]!;
          return entry >>> 12 === line.physicalPage && (entry & Pte.G) !== 0 && (at & pteMask) === pteOffset;
        });
      if (!elsewhere) say('the shadow maps nothing there');
      continue;
    }
    const both = pde & pte;
    if (pte >>> 12 !== line.physicalPage)
      say(`maps ${line.physicalPage.toString(16)}, the shadow ${(pte >>> 12).toString(16)}`);
    if (line.writable && (both & Pte.W) === 0) say('is writable, the shadow is not');
    if (line.user && (both & Pte.U) === 0) say('is a user line, the shadow is not');
  }
}
