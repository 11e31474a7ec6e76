/** What `vmitop vm list` tells of VMs: as a table in the manner of `vim-cmd vmsvc/getallvms`, or as data. */
import { relative } from 'node:path';
import type { Mode } from '../../hypervisor/index.js';
import { printable } from '../../tui/format.js';
import { alignedLines, type TextColumn } from '../aligned.js';
import type { InventoryFolder, VmFile } from './folder.js';
import type { VmSettings } from './keys.js';
import { ignoredSettings } from './settings.js';
import { isSuspended } from './suspended.js';

interface ListColumn extends TextColumn {
  readonly cell: (vm: ListedVm) => string;
}

type ListedVm = ReturnType<typeof listed>;

/** The first four and the last are those of ESX. */
const COLUMNS: readonly ListColumn[] = [
  { title: 'Vmid', align: 'left', cell: vm => String(vm.vmid) },
  { title: 'Name', align: 'left', cell: vm => vm.name },
  { title: 'File', align: 'left', cell: vm => vm.file },
  { title: 'Guest OS', align: 'left', cell: vm => vm.guestOs },
  { title: 'Version', align: 'left', cell: vm => vm.version },
  { title: 'MB', align: 'right', cell: vm => String(vm.memoryMib) },
  { title: 'Mode', align: 'left', cell: vm => vm.mode },
  { title: 'Power', align: 'left', cell: vm => vm.power },
  { title: 'Annotation', align: 'left', cell: vm => vm.annotation },
];

const IGNORED_COLUMNS: readonly TextColumn[] = ['File', 'Ignored key', 'Value', 'Reason'].map(title => ({
  title,
  align: 'left',
}));

/** How the VM will run. */
const modeOf = ({ native, vmi, virtualExec }: VmSettings): Mode => {
  if (native) return 'native';
  if (vmi) return 'vmi';
  return virtualExec === 'hardware' ? 'hv' : 'bt';
};

function listed(folder: string, file: VmFile, vmid: number, power: string | undefined) {
  const { path, name, document, settings } = file;
  const { name: _displayName, vcpus, ...rest } = settings;
  const version = document.get('virtualHW.version');
  return {
    vmid,
    name,
    file: relative(folder, path),
    version: version === undefined ? '-' : `vmx-${version.padStart(2, '0')}`,
    mode: modeOf(settings),
    power: power ?? (isSuspended(file) ? 'suspended' : 'off'),
    vcpus,
    ...rest,
    ignored: ignoredSettings(document),
  };
}

/** The VMs of a folder, numbered in the order of their files. `powers`: of those that a console runs, by name. */
export const listedVms = (
  { path, vms }: InventoryFolder,
  powers: Readonly<Record<string, string>> = {},
): readonly ListedVm[] => vms.map((vm, index) => listed(path, vm, index + 1, powers[vm.name]));

/** Headings and rows, for whoever draws them. */
export const listTable = (vms: readonly ListedVm[]) => ({
  columns: COLUMNS,
  rows: vms.map(vm => COLUMNS.map(({ cell }) => printable(cell(vm)))),
});

/** A line for each key that changes nothing; none when there is no such key. */
export function ignoredLines(vms: readonly ListedVm[]): readonly string[] {
  const rows = vms.flatMap(vm =>
    vm.ignored.map(({ key, value, reason }) => [vm.file, key, `"${printable(value)}"`, reason]),
  );
  return rows.length === 0 ? [] : ['', ...alignedLines(IGNORED_COLUMNS, rows)];
}
