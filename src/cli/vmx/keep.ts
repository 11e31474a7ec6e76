/** Changes of a VM's configuration at the console go into its .vmx file, as with ESX's client: the next host is built from it. */
import { type Command, type CommandResult, UsageError } from '../../hypervisor/index.js';
import { type InventoryFolder, setInVm } from './folder.js';
import { VMX_KEYS } from './keys.js';

/** What a command changes of a file. */
function settingOf(command: Command): readonly [key: string, value: string] | undefined {
  switch (command.kind) {
    case 'setVmi':
      return [VMX_KEYS.vmi.key, command.enabled ? 'TRUE' : 'FALSE'];
    case 'setMonitor':
      return [VMX_KEYS.virtualExec.key, command.monitor === 'hv' ? 'hardware' : 'software'];
    default:
      return undefined;
  }
}

/**
 * Sets the key that a command changes in the file of its VM, as the file is then. A file that cannot be changed refuses the command with the
 * reason: what the host runs and what the file says stay the same thing.
 */
export function keepIn({ path, vms }: InventoryFolder): (command: Command) => CommandResult {
  return command => {
    const setting = settingOf(command);
    const file = 'vm' in command ? vms.find(({ name }) => name === command.vm) : undefined;
    // A native VM has no monitor: the host refuses to choose one.
    const refused = command.kind === 'setMonitor' && file?.settings.native === true;
    if (setting === undefined || file === undefined || refused) return { ok: true };
    try {
      setInVm(path, file, [setting]);
      return { ok: true };
    } catch (error) {
      if (error instanceof UsageError) return { ok: false, reason: error.message };
      throw error;
    }
  };
}
