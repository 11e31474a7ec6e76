/** Console text of a Linux kernel without what depends on time and on how fast the machine seems. */

/** A line of the kernel's log begins with its time. */
const STAMP = /^\[ *\d+\.\d{6}\] /;

/**
 * Lines that say how fast the machine seems or when something happened: clock calibration, and in the list of interrupts those that
 * count time.
 */
const TIMED = [
  /\btsc: |^clocksource: |BogoMIPS|^sched_clock: |^cpu MHz|^bogomips|^audit: type=2000|^\s+\d+: +\d+ +XT-PIC/,
  /^Memory: \d+K|^perf: interrupt took|^random: |^clocksource:? |raid6: |xor: |setting system clock/,
];

/** The lines that every mode must have alike. */
export const timelessLines = (text: string): string[] =>
  text
    .replaceAll('\r', '')
    .split('\n')
    .map(line => line.replace(STAMP, ''))
    .filter(line => !TIMED.some(pattern => pattern.test(line)));
