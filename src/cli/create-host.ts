/**
 * A host in this thread. The hypervisor is loaded when the first one is built, with the decoder's WebAssembly: the console, whose
 * host lives in a worker, is on the screen before that.
 */

import type { Host, HostConfig } from '../hypervisor/index.js';
import { openWorkshop } from '../session/workshop.js';

/** Rejects with `UsageError` when the configuration cannot be used. */
export async function createHost(config: HostConfig): Promise<Host> {
  const hypervisor = await import('../hypervisor/index.js');
  return hypervisor.createHost(config, openWorkshop());
}
