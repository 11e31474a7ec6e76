import type { GuestFault } from '../guest-fault.js';

/** As `isFault`, where the value that came instead may be an object too. */
export const isFaultObject = (result: object | undefined): result is GuestFault =>
  result !== undefined && 'kind' in result && result.kind === 'fault';
