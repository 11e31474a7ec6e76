/** A sample as text for a pipe: the console's own header and columns, without the console. */
import type { Sample } from '../hypervisor/index.js';
import { headerLines } from '../tui/header.js';
import { textTable } from '../tui/table.js';

/** Ends with an empty line. Rates are over the time since `before`, or since the host's start without it. */
export function sampleText(now: Sample, before: Sample | undefined, speed: number, width: number): string {
  const header = headerLines('cpu', now, before, speed, width).map(line => line.trimEnd());
  return `${[...header, '', ...textTable('cpu', now, before, width)].join('\n')}\n\n`;
}
