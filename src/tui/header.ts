/** The lines above the table, in the manner of esxtop 3.5. Only figures that samples hold. */
import type { EngineState, Sample } from '../hypervisor/index.js';
import type { VmScreenId } from './columns.js';
import { clock, fixed, left, megabytes, short, uptime } from './format.js';
import { MEMORY_LINES, pcpuShares, STATE_LINE } from './host-figures.js';
import { diskRows, type PortRow, portRows } from './io-rows.js';
import { interruptRows, vmGroups } from './rows.js';

/**
 * Line 1: virtual clock and uptime, worlds, load averages, virtual seconds per real second (where time passes). The first shape that fits.
 */
export function firstLine(now: Sample, speed: number | string | undefined, width: number): string {
  const seconds = now.atCycles / now.cyclesPerSecond;
  const up = `${clock(seconds).padStart(8)} up ${uptime(seconds)}, ${now.host.worldCount} worlds`;
  const load = now.host.loadAverages.map(average => fixed(average, 2)).join(', ');
  const words = typeof speed === 'number' ? `speed ${speed.toFixed(speed < 0.1 ? 3 : 2)}x` : speed;
  const pace = words === undefined ? '' : `; ${words}`;
  const shapes = [`${up}; CPU load average: ${load}${pace}`, `${up}; load: ${load}${pace}`, `${up}${pace}`, up];
  return left(shapes.find(shape => shape.length <= width) ?? up, width);
}

/** `PCPU(%):` with one figure per pCPU and their mean, on as many lines as they need. */
export function pcpuLines(now: Sample, before: Sample | undefined, width: number): string[] {
  const { used, mean } = pcpuShares(now, before);
  const pieces = used.map((percent, index) => `${fixed(percent, 2).padStart(7)}${index < used.length - 1 ? ',' : ' '}`);
  pieces.push(`;   used total: ${fixed(mean, 2).padStart(6)}`);
  const lines: string[] = [];
  let line = 'PCPU(%):';
  for (const piece of pieces) {
    if (line.length + piece.length > width) {
      lines.push(left(line, width));
      line = ' '.repeat('PCPU(%):'.length);
    }
    line += piece;
  }
  return [...lines, left(line, width)];
}

const labelled = (label: string, kb: number, unit: string): string => `${label}${megabytes(kb).padStart(6)} ${unit}`;
const figure = (kb: number, unit: string): string => `${megabytes(kb).padStart(6)} ${unit}`;

export function memoryLines(now: Sample, width: number): string[] {
  return MEMORY_LINES.map(({ label, figures: [first, ...others] }) => {
    const state =
      label === STATE_LINE && now.host.memory.state !== 'unknown' ? `,  ${now.host.memory.state} state` : '';
    const rest = others.map(({ unit, kb }) => figure(kb(now), unit)).join('');
    return left(`${labelled(label, first!.kb(now), first!.unit)}${rest}${state}`, width);
  });
}

/** Memory of the computer, not of the host: what the simulation keeps compiled of the guests' code. */
export function engineLine(
  { compiledBytes, compiledBytesMax, regions, modules, compilations }: EngineState,
  width: number,
): string {
  return left(
    labelled('ENGINE/MB:', compiledBytes / 1024, '   code:') +
      figure(compiledBytesMax / 1024, '    max,') +
      `  ${regions} regions, ${modules} modules, ${compilations} made`,
    width,
  );
}

/** Sums over the VMs that are on. */
export function timerLines(now: Sample, before: Sample | undefined, width: number): string[] {
  const rows = vmGroups(now, before, new Set()).map(group => group.row);
  const total = (pick: (row: (typeof rows)[number]) => number) => rows.reduce((sum, row) => sum + pick(row), 0);
  const sources = new Map<string, number>();
  for (const { vm } of rows) {
    if (vm.power === 'on') sources.set(vm.timer.source, (sources.get(vm.timer.source) ?? 0) + 1);
  }
  const rate = (value: number) => fixed(value, 0).padStart(6);
  return [
    `TIMER /s: ${rate(total(row => row.vm.timer.requestedHz))} requested:${rate(total(row => row.timer.deliveredPerSecond))} dlvd,` +
      `${rate(total(row => row.timer.wakeupsPerSecond))} wake-ups;  backlog: ${short(total(row => row.vm.timer.backlog))}`,
    `SOURCES : ${[...sources].map(([source, count]) => `${count} ${source}`).join(', ') || 'no VM is on'}`,
  ].map(line => left(line, width));
}

/** Sums over all virtual disks. */
function diskLine(now: Sample, before: Sample | undefined, width: number): string {
  const rows = now.vms.map(vm => diskRows(now, before, vm).all);
  const total = (pick: (row: (typeof rows)[number]) => number) => rows.reduce((sum, row) => sum + pick(row), 0);
  const rate = (name: 'commands' | 'readMb' | 'writeMb') =>
    fixed(
      total(row => row.rates[name]),
      2,
    ).padStart(9);
  return left(
    `DISK  /s: ${rate('commands')} commands,${rate('readMb')} MB read,${rate('writeMb')} MB written;  ` +
      `${fixed(
        total(row => row.outstanding),
        0,
      )} active`,
    width,
  );
}

/** Sums over the ports of the virtual switch. */
function networkLine(now: Sample, before: Sample | undefined, width: number): string {
  const rows = now.vms.flatMap(vm => portRows(now, before, vm));
  const total = (pick: (row: PortRow) => number) =>
    fixed(
      rows.reduce((sum, row) => sum + pick(row), 0),
      2,
    ).padStart(9);
  return left(
    `NET   /s: ${total(row => row.sentPackets)} PKTTX,${total(row => row.receivedPackets)} PKTRX,` +
      `${total(row => row.sentMb)} MbTX,${total(row => row.receivedMb)} MbRX`,
    width,
  );
}

/** Sums over the VMs; and what the host itself did for them. */
export function interruptLines(now: Sample, before: Sample | undefined, width: number): string[] {
  const rows = vmGroups(now, before, new Set()).map(group => group.row);
  const lines = rows.flatMap(({ vm }) => interruptRows(now, before, vm));
  const rate = (value: number) => fixed(value, 0).padStart(6);
  const delivered = lines.reduce((sum, line) => sum + line.perSecond, 0);
  const active = lines.filter(line => line.perSecond > 0).length;
  const timers = rows.reduce((sum, { timer }) => sum + timer.hostTimersPerSecond, 0);
  return [left(`INT   /s: ${rate(delivered)} delivered on ${active} lines;  host: ${rate(timers)} timers`, width)];
}

export function headerLines(
  screen: VmScreenId,
  now: Sample,
  before: Sample | undefined,
  speed: number | string | undefined,
  width: number,
  engine?: EngineState,
): string[] {
  const first = firstLine(now, speed, width);
  switch (screen) {
    case 'cpu':
      return [first, ...pcpuLines(now, before, width)];
    case 'memory':
      return [first, ...memoryLines(now, width), ...(engine === undefined ? [] : [engineLine(engine, width)])];
    case 'diskAdapter':
    case 'diskDevice':
    case 'diskVm':
      return [first, diskLine(now, before, width)];
    case 'network':
      return [first, networkLine(now, before, width)];
    case 'interrupt':
      return [first, ...interruptLines(now, before, width)];
    case 'timer':
      return [first, ...timerLines(now, before, width)];
  }
}
