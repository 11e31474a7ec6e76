/**
 * What a guest's console says, without what may differ between machines of another speed or make: the text that has to be
 * the same in QEMU and under every monitor.
 */

/** Lines that say which platform the kernel found itself on. Everything else has to be equal. */
export const PLATFORM_LINES = [
  /** VMI detection and the VMI timer's rates. */
  'VMI',
  'Reserving virtual address space',
  'Booting paravirtualized kernel on',
  /** Vendor, family and model. */
  'CPU:',
  /** SYSENTER or INT 0x80: a kernel above CPL 0 has to take the latter. */
  'vsyscall:',
  /** Time source and its rate. */
  'Time:',
] as const;

const TIMESTAMP = /^\[ *\d+\.\d{6}\] /;

/** Drops firmware's text before the kernel's, carriage returns, time stamps, platform lines and rates. */
export function normalizeConsole(text: string): string {
  const lines = text.replaceAll('\r', '').split('\n');
  const first = lines.findIndex(line => line.includes('] Vmilinux version'));
  const own = first < 0 ? lines : lines.slice(first);
  if (first >= 0) own[0] = own[0]!.replace(/^.*?(?=\[ *\d+\.\d{6}\] Vmilinux)/, '');
  return own
    .map(line => line.replace(TIMESTAMP, '[time] '))
    .filter(line => !PLATFORM_LINES.some(start => line.startsWith(`[time] ${start}`)))
    .map(line => line.replace(/[\d.]+ BogoMIPS \(lpj=\d+\)/, '<rate> BogoMIPS'))
    .join('\n');
}
