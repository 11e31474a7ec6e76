/** Changes of a VM's configuration at the console go into its .vmx file, as with ESX's client: the next host is built from it. */
import { type Command, type CommandResult, UsageError } from '../../hypervisor/index.js';
import { type InventoryFolder, setInVm } from './folder.js';
import { VMX_KEYS } from './keys.js';

type Setting = readonly [key: string, value: string];

/** What a command changes of a file. */
function settingsOf(command: Command): readonly Setting[] {
  switch (command.kind) {
    case 'setVmi':
      return [[VMX_KEYS.vmi.key, command.enabled ? 'TRUE' : 'FALSE']];
    case 'setMonitor':
      return [[VMX_KEYS.virtualExec.key, command.monitor === 'hv' ? 'hardware' : 'software']];
    case 'setCpu': {
      const { shares, reservationMhz, limitMhz } = command;
      return [
        ...(shares === undefined ? [] : [[VMX_KEYS.cpuShares.key, String(shares)] as const]),
        ...(reservationMhz === undefined ? [] : [[VMX_KEYS.cpuReservationMhz.key, String(reservationMhz)] as const]),
        ...(limitMhz === undefined ? [] : [[VMX_KEYS.cpuLimitMhz.key, String(limitMhz ?? 'unlimited')] as const]),
      ];
    }
    default:
      return [];
  }
}

/**
 * Sets the key that a command changes in the file of its VM, as the file is then. A file that cannot be changed refuses the command with the
 * reason: what the host runs and what the file says stay the same thing.
 */
export function keepIn({ path, vms }: InventoryFolder): (command: Command) => CommandResult {
  return command => {
    const settings = settingsOf(command);
    const file = 'vm' in command ? vms.find(({ name }) => name === command.vm) : undefined;
    // A native VM has no monitor: the host refuses to choose one.
    const refused = command.kind === 'setMonitor' && file?.settings.native === true;
    if (settings.length === 0 || file === undefined || refused) return { ok: true };
    try {
      setInVm(path, file, settings);
      return { ok: true };
    } catch (error) {
      if (error instanceof UsageError) return { ok: false, reason: error.message };
      throw error;
    }
  };
}
