/** The line about the selected VM: why it stopped, or where its cycles went since the last update. */
import { CAUSE_NAMES, CAUSES, type Sample, type VmSample } from '../hypervisor/index.js';
import { duration, left, printable, short } from './format.js';
import { elapsedCycles, rise, sameRun } from './rows.js';

/** Causes with their share of the cycles charged between the samples, largest first. */
export function causeShares(now: VmSample, before: VmSample | undefined): { label: string; percent: number }[] {
  const charged = CAUSE_NAMES.map(cause => ({
    label: CAUSES[cause].label,
    cycles: rise(now.causes[cause], before?.causes[cause]),
  }));
  const total = charged.reduce((sum, { cycles }) => sum + cycles, 0);
  return charged
    .filter(({ cycles }) => cycles > 0)
    .map(({ label, cycles }) => ({ label, percent: (100 * cycles) / total }))
    .sort((a, b) => b.percent - a.percent);
}

export function detailLine(name: string, now: Sample, before: Sample | undefined, width: number): string {
  const vm = now.vms.find(candidate => candidate.name === name);
  if (!vm) return left('', width);
  const title = printable(vm.name);
  if (vm.power === 'crashed') return left(`${title} crashed: ${printable(vm.crashReason ?? 'no reason given')}`, width);
  if (vm.power === 'suspended') return left(`${title} is suspended: p lets it go on`, width);
  if (vm.power === 'off') return left(`${title} is off; at power-on: VMI ${vm.vmiConfigured ? 'on' : 'off'}`, width);
  const vmBefore = sameRun(vm, before);
  const seconds = elapsedCycles(now, before) / now.cyclesPerSecond;
  const exits = seconds > 0 ? rise(vm.counters.exits, vmBefore?.counters.exits) / seconds : 0;
  const booted = vm.bootCycles === undefined ? '' : `; booted in ${duration(vm.bootCycles / now.cyclesPerSecond)}`;
  const without = vm.bootCycles !== undefined && vm.vmiEnabled && !vm.vmiActive ? ' without the VMI it is offered' : '';
  let line = `${title}: ${short(exits)} exits/s${booted}${without}`;
  for (const { label, percent } of causeShares(vm, vmBefore)) {
    const piece = `${line.includes(' | ') ? ',' : ' |'} ${label} ${percent.toFixed(percent < 10 ? 1 : 0)}%`;
    if (line.length + piece.length > width) break;
    line += piece;
  }
  return left(line, width);
}
