/** The activity screen: what has happened on the host, newest last, as it happened or looked back at. */
import type { HostEvent } from '../hypervisor/index.js';
import { clock, cut, left, printable } from './format.js';

const NAME_WIDTH = 16;

interface Told {
  readonly what: string;
  readonly text: string;
  readonly alarm: boolean;
}

/** Console output has a pane of its own. */
function told(event: HostEvent): Told | undefined {
  switch (event.kind) {
    case 'power': {
      const crashed = event.state === 'crashed';
      return { what: crashed ? 'crash' : `power ${event.state}`, text: event.reason, alarm: crashed };
    }
    case 'guest':
      return { what: 'guest', text: event.state === 'vmi' ? 'runs by VMI' : event.state, alarm: false };
    case 'log':
      return { what: 'log', text: event.line, alarm: false };
    case 'audit':
      return { what: 'audit', text: event.finding, alarm: true };
    case 'console':
      return undefined;
  }
}

export interface ActivityLine {
  readonly text: string;
  readonly alarm: boolean;
}

/** Oldest first; times are virtual, since the host's start. */
export function activityLines(
  events: readonly HostEvent[],
  cyclesPerSecond: number,
  width: number,
): readonly ActivityLine[] {
  return events.flatMap(event => {
    const line = told(event);
    if (line === undefined) return [];
    const seconds = event.atCycles / cyclesPerSecond;
    const ms = String(Math.floor((seconds % 1) * 1000)).padStart(3, '0');
    const head = ` ${clock(Math.floor(seconds)).padStart(8)}.${ms}  ${left(printable(event.vm), NAME_WIDTH)} `;
    return [{ text: cut(`${head}${left(line.what, 10)} ${printable(line.text)}`, width), alarm: line.alarm }];
  });
}

export const activityHeading = (width: number): string =>
  left(`${' TIME'.padEnd(15)}${left('NAME', NAME_WIDTH)} ${left('EVENT', 10)} WHAT`, width);

/** What is described in the help of the screen. */
export const ACTIVITY_COLUMNS = [
  { title: 'TIME', help: 'virtual time since the start of the host' },
  { title: 'NAME', help: 'the VM' },
  {
    title: 'EVENT',
    help: 'power on or off, crash; guest: a state that it reports; log: a line of its vmware.log; audit: a finding of ours',
  },
  { title: 'WHAT', help: 'the reason, the state, the line' },
] as const;
