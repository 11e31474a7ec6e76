/**
 * What a column is: heading, width, help, cell, sort order, when it leaves a narrow terminal, and the counter that it is in batch files.
 * The screens' own are in `screens.ts`; here are the kinds of columns and those that several screens have.
 */
import type { VmSample } from '../hypervisor/index.js';
import { decimal, NO_FIGURE, printable } from './format.js';
import type { CpuRow, CpuShares, VmRow } from './rows.js';

/** Screens with a row for each VM, or for each of its parts. */
export type VmScreenId = 'cpu' | 'memory' | 'diskAdapter' | 'diskDevice' | 'diskVm' | 'network' | 'interrupt' | 'timer';
export type ScreenId = VmScreenId | 'exits' | 'code' | 'activity';

/** A column of rows `R`, which are sorted by rows `S`: worlds stay below their VM. */
export interface Column<R = CpuRow, S = VmRow> {
  readonly id: string;
  readonly title: string;
  /** Cells, with the blank in front. */
  readonly width: number;
  /** Text columns are left-aligned and may shrink to this width when every row's text fits. */
  readonly textWidthMin?: number;
  readonly help: string;
  /** Columns leave in rising order of this figure; `Infinity` stays. */
  readonly keep: number;
  readonly cell: (row: R) => string;
  /** Rows sort by falling figure, or by rising one when `rising`; without it the column does not sort. */
  readonly sort?: (row: S) => number;
  readonly rising?: true;
  /** The same figure in batch files; without it the column is a text, or a name. */
  readonly counter?: BatchCounter<R>;
  /** True when experienced eyes would stop at this cell (thresholds of the well-known esxtop cards). */
  readonly alarm?: (row: R) => boolean;
}

/** A figure of batch files. */
export interface BatchCounter<R> {
  /** esxtop's name, or one of ours in its manner. */
  readonly name: string;
  /** Rates and percentages have two decimals; counts and sizes are whole. */
  readonly places: 0 | 2;
  readonly of: (row: R) => number;
  /** Of VMs, not of their worlds. */
  readonly vmOnly?: true;
}

/**
 * What `f` and `o` choose and move, as in esxtop: columns that come and go together under one letter, which is the field's place in its
 * screen's list. A field without columns keeps its letter for esxtop's; the host has nothing of the kind.
 */
export interface Field<C = Column> {
  readonly title: string;
  readonly help: string;
  readonly columns: readonly C[];
  /** Shown before anybody chooses. */
  readonly shown: boolean;
}

export const field = <C>(title: string, help: string, columns: readonly C[], shown = true): Field<C> => ({
  title,
  help,
  columns,
  shown,
});

/** A field of esxtop's that this host has nothing to show in. */
export const noField = (title: string, help: string): Field<never> => ({ title, help, columns: [], shown: false });

/** A field of one column, in the column's words. */
export const ownField = <C extends { readonly title: string; readonly help: string }>(column: C): Field<C> =>
  field(column.title, column.help, [column]);

export const PERCENT_WIDTH = 7;

/** A share of the time between two samples. */
export function share(
  id: keyof CpuShares,
  title: string,
  counter: string,
  keep: number,
  help: string,
  alarm?: (percent: number) => boolean,
): Column {
  return {
    id,
    title,
    width: PERCENT_WIDTH,
    keep,
    help,
    cell: row => decimal(row.cpu[id], PERCENT_WIDTH - 1),
    sort: row => row.cpu[id],
    counter: { name: counter, places: 2, of: row => row.cpu[id] },
    ...(alarm ? { alarm: (row: CpuRow) => row.kind === 'world' && alarm(row.cpu[id]) } : {}),
  };
}

export const MODE_LABELS: Readonly<Record<VmSample['mode'], string>> = {
  native: 'native',
  bt: 'BT',
  hv: 'HV',
  vmi: 'VMI',
  unknown: NO_FIGURE,
};

/**
 * How the guest runs now. In brackets while the VM is off: what the next power-on begins with. `*`: the configuration changed and
 * the next power-on will differ.
 */
export function modeText({ vm }: { readonly vm: VmSample }): string {
  if (vm.mode === 'unknown') return NO_FIGURE;
  if (vm.power !== 'on') return `(${MODE_LABELS[vm.vmiConfigured ? 'vmi' : vm.monitor]})`;
  // Without VMI the mode is the monitor that the guest was powered on with.
  const same = vm.vmiConfigured === vm.vmiEnabled && (vm.vmiConfigured || vm.mode === vm.monitor);
  return same ? MODE_LABELS[vm.mode] : `${MODE_LABELS[vm.mode]}*`;
}

export function guestText(row: CpuRow): string {
  if (row.kind === 'vm') return printable(row.vm.guestState);
  const { state, pcpu } = row.world;
  if (state === 'unknown') return NO_FIGURE;
  return state === 'run' && pcpu !== undefined ? `run cpu${pcpu}` : state;
}

/** Rows of any kind: each is about a VM. */
export interface OfVm {
  readonly vm: VmSample;
}

export const GID: Column<OfVm, OfVm> = {
  id: 'gid',
  title: 'GID',
  width: 5,
  keep: 60,
  help: 'group of worlds: every VM is one',
  cell: row => String(row.vm.gid),
  sort: row => row.vm.gid,
  rising: true,
};

/** The VM that a row is a part of. */
export const VM_NAME: Column<OfVm, OfVm> = {
  id: 'name',
  title: 'NAME',
  width: 17,
  textWidthMin: 9,
  keep: Number.POSITIVE_INFINITY,
  help: 'VM',
  cell: row => printable(row.vm.name),
};

export const NAME: Column = {
  ...VM_NAME,
  help: 'VM, or world of an expanded VM',
  // `vmm0:web01` below web01 is vmm0: the rest would cost a narrow terminal another column.
  cell: row => printable(row.kind === 'vm' ? row.vm.name : ` ${row.world.name.split(':')[0]}`),
};

export const MODE: Column = {
  id: 'mode',
  title: 'MODE',
  width: 9,
  textWidthMin: 6,
  keep: 100,
  help: 'BT, HV, VMI or native; (off: at power-on); * changes at next power-on',
  cell: row => (row.kind === 'vm' ? modeText(row) : ''),
};

/** Megabytes of `kb`, with two decimals as esxtop does; whole ones in batch files, again as there, or kilobytes where that says nothing. */
export function size(
  id: string,
  title: string,
  counter: string,
  keep: number,
  help: string,
  kb: (row: VmRow) => number,
): Column<VmRow> {
  const of = counter.endsWith(' KBytes') ? kb : (row: VmRow) => kb(row) / 1024;
  return {
    id,
    title,
    width: 9,
    keep,
    help,
    cell: row => decimal(kb(row) / 1024, 8),
    sort: kb,
    counter: { name: counter, places: 0, of },
  };
}

/** A figure with as many decimals on the screen as `places`; a rate has two in batch files, a count none. */
export function figure<R>(
  id: string,
  title: string,
  width: number,
  places: number,
  counter: string,
  keep: number,
  help: string,
  of: (row: R) => number,
): Column<R, R> {
  const rate = /\/sec$|%|MilliSec/.test(counter);
  return {
    id,
    title,
    width,
    keep,
    help,
    cell: row => decimal(of(row), width - 1, places),
    sort: of,
    counter: { name: counter, places: rate ? 2 : 0, of },
  };
}
