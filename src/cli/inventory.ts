/**
 * What the host runs: a host and its VMs as data, from a JSON file, from a folder of .vmx files, or from the default below. The default is
 * the paper's system A (two Xeon 5160, 5 GB) with six small Linux guests, half of them paravirtualized.
 */
import { existsSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { COST_PROFILES, CPU_MODELS, type HostConfig, UsageError, type VmConfig } from '../hypervisor/index.js';
import { loadImages, OWN_GUEST, readText } from './files.js';
import { hostFileOf, type InventoryFolder, openFolder, type VmFile } from './vmx/folder.js';
import { DISKS_MAX, disksOf, NICS_MAX, nicsOf } from './vmx/settings.js';
import { isSuspended, readStates, stateFileOf } from './vmx/suspended.js';

const vmSchema = z.strictObject({
  name: z.string().regex(/^[\w.-]{1,32}$/, 'must be 1 to 32 letters, digits, dots, dashes or underscores'),
  memoryMib: z.int().min(8).max(1024).default(64),
  monitor: z.enum(['bt', 'hv', 'native']).default('bt'),
  vmi: z.boolean().default(false),
  image: z.string().min(1).default(OWN_GUEST),
  /** Initial RAM disk of a Linux kernel. */
  initrd: z.string().min(1).optional(),
  /** Files that are disks. */
  disks: z.array(z.string().min(1)).max(DISKS_MAX).optional(),
  /** Number of network cards. */
  nics: z.int().min(0).max(NICS_MAX).optional(),
  append: z.string().max(1024).default(''),
  /** What CPUID says. */
  cpu: z.enum(CPU_MODELS).optional(),
  /** Local APIC and I/O APIC. */
  apic: z.boolean().optional(),
  countExecutions: z.boolean().optional(),
  cpuShares: z.int().min(1).max(100_000).optional(),
  cpuReservationMhz: z.int().min(0).optional(),
  cpuLimitMhz: z.int().min(1).optional(),
  powerOn: z.boolean().default(true),
  /** File with the VM as it was suspended. */
  suspended: z.string().min(1).optional(),
  /** Typed on the console, with a newline, when the guest is idle for the first time after power-on. */
  start: z.string().max(256).optional(),
});

const VMS_MAX = 64;

/** The host itself. */
const hostSchema = z.strictObject({
  name: z.string().min(1).max(64).default('esx01'),
  pcpus: z.int().min(1).max(32).default(4),
  memoryMib: z.int().min(256).max(65_536).default(5_120),
  /** Bound of the memory for compiled code of guests, in the process that simulates them. */
  codeCacheMib: z.int().min(16).max(4_096).optional(),
  costs: z.enum(Object.keys(COST_PROFILES) as [string, ...string[]]).default('xeon-5160'),
  costOverrides: z.record(z.string(), z.int().min(0)).default({}),
});

const inventorySchema = hostSchema
  .extend({ vms: z.array(vmSchema).min(1).max(VMS_MAX) })
  .superRefine((inventory, context) => {
    const seen = new Set<string>();
    for (const [index, vm] of inventory.vms.entries()) {
      if (seen.has(vm.name)) {
        context.addIssue({ code: 'custom', path: ['vms', index, 'name'], message: `"${vm.name}" is there twice` });
      }
      seen.add(vm.name);
      if (vm.monitor === 'native' && vm.vmi) {
        context.addIssue({ code: 'custom', path: ['vms', index, 'vmi'], message: 'needs monitor "bt"' });
      }
    }
  });

export type Inventory = z.output<typeof inventorySchema>;

/** What a user may write: everything but the names of the VMs has a default. */
export type InventoryInput = z.input<typeof inventorySchema>;

const DEFAULT: InventoryInput = {
  vms: [
    { name: 'web01', vmi: true, append: 'hz=250' },
    { name: 'web02', vmi: false, append: 'hz=250' },
    { name: 'db01', vmi: true, append: 'hz=1000', memoryMib: 128 },
    { name: 'legacy01', vmi: false, append: 'hz=1000', memoryMib: 128 },
    { name: 'build01', vmi: true, append: 'hz=250', start: 'nforkwait; javaswitch; getppid' },
    { name: 'build02', vmi: false, append: 'hz=250', start: 'nforkwait; javaswitch; getppid' },
  ],
};

/** The inventory of a host that nobody described. */
export const defaultInventory = (): Inventory => inventorySchema.parse(DEFAULT);

/** Throws `UsageError` with one line that names `source`, the field and the reason. */
export const parseInventory = (text: string, source: string): Inventory => parseJson(inventorySchema, text, source);

function parseJson<T>(schema: z.ZodType<T>, text: string, source: string): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`inventory ${source}: not JSON: ${(error as Error).message}`, { cause: error });
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const where = issue.path.length > 0 ? `${issue.path.join('.')}: ` : '';
  throw new UsageError(`inventory ${source}: ${where}${issue.message}`);
}

/** An inventory, and the folder that it was read from, if it was one. */
export interface LoadedInventory {
  readonly inventory: Inventory;
  readonly folder?: InventoryFolder;
}

/** The user's inventory, or the default one. */
export function loadInventory(path: string | undefined): LoadedInventory {
  if (path === undefined) return { inventory: defaultInventory() };
  if (!isFolder(path)) return { inventory: parseInventory(readText(path, 'inventory'), path) };
  const folder = openFolder(path);
  return { inventory: inventoryOf(folder), folder };
}

/**
 * The inventory of `path` with one of its VMs only, which is off; by the VM's name or, in a folder, that of its file. Throws `UsageError` for
 * a VM that is not there.
 */
export function loadAlone(path: string, name: string): LoadedInventory {
  const { inventory, ...loaded } = loadInventory(path);
  const { folder } = loaded;
  const own = inventory.vms.some(vm => vm.name === name) ? name : folder?.vms.find(({ base }) => base === name)?.name;
  const vms = inventory.vms.filter(vm => vm.name === own).map(vm => ({ ...vm, powerOn: false }));
  if (vms.length === 0) throw new UsageError(`inventory ${path}: no VM is called "${name}"`);
  return { ...loaded, inventory: { ...inventory, vms } };
}

export const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

/** Throws `UsageError` for a folder without VMs, with too many of them, or with a host.json that cannot be used. */
export function inventoryOf({ path, vms }: InventoryFolder): Inventory {
  if (vms.length === 0 || vms.length > VMS_MAX) {
    throw new UsageError(`inventory ${path}: holds ${vms.length} VMs, must be 1 to ${VMS_MAX} .vmx files`);
  }
  const hostFile = hostFileOf(path);
  const host = existsSync(hostFile)
    ? parseJson(hostSchema, readText(hostFile, 'inventory'), hostFile)
    : hostSchema.parse({});
  return { ...host, vms: vms.map(vmOf) };
}

function vmOf(file: VmFile): Inventory['vms'][number] {
  const { path, name, settings } = file;
  const {
    memoryMib,
    vmi,
    append,
    cpu,
    apic,
    cpuShares,
    cpuReservationMhz,
    cpuLimitMhz,
    countExecutions,
    powerOn,
    image,
    initrd,
    start,
  } = settings;
  const place = (word: string): string => (isAbsolute(word) ? word : join(dirname(path), word));
  const assisted = settings.virtualExec === 'hardware' ? 'hv' : 'bt';
  return {
    name,
    memoryMib,
    monitor: settings.native ? 'native' : assisted,
    vmi,
    image: image === OWN_GUEST ? image : place(image),
    ...(initrd !== undefined && { initrd: place(initrd) }),
    disks: disksOf(settings).map(place),
    nics: nicsOf(settings),
    append,
    cpu,
    ...(apic !== 'automatic' && { apic: apic === 'true' }),
    cpuShares,
    cpuReservationMhz,
    ...(cpuLimitMhz !== 'unlimited' && { cpuLimitMhz }),
    countExecutions,
    powerOn,
    ...(start !== '' && { start }),
    ...(isSuspended(file) && { suspended: stateFileOf(file) }),
  };
}

/** The configuration of a host with this inventory; reads the images. `costOverrides` win over the inventory's. */
export function hostConfig(
  inventory: Inventory,
  sampleIntervalMs: number,
  costOverrides: Readonly<Record<string, number>> = {},
): HostConfig {
  return {
    name: inventory.name,
    pcpus: inventory.pcpus,
    memoryMib: inventory.memoryMib,
    costs: inventory.costs,
    costOverrides: { ...inventory.costOverrides, ...costOverrides },
    images: {
      ...loadImages(
        inventory.vms.flatMap(vm => (vm.initrd === undefined ? [vm.image] : [vm.image, vm.initrd])),
        inventory.vms.flatMap(vm => vm.disks ?? []),
      ),
      ...readStates(inventory.vms),
    },
    vms: inventory.vms.map(vmConfig),
    sampleIntervalMs,
    ...(inventory.codeCacheMib === undefined ? {} : { engine: { codeBytesMax: inventory.codeCacheMib << 20 } }),
  };
}

/** Without what is not said, and what says nothing. */
function vmConfig({ start: _start, disks, nics, cpuReservationMhz, ...vm }: Inventory['vms'][number]): VmConfig {
  const config = {
    ...vm,
    ...(disks !== undefined && disks.length > 0 && { disks }),
    ...(nics !== undefined && nics > 0 && { nics }),
    ...(cpuReservationMhz !== undefined && cpuReservationMhz > 0 && { cpuReservationMhz }),
  };
  // Without the fields that are undefined, it is one.
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)) as unknown as VmConfig;
}

/** What the session types by itself, by VM. */
export const typedWhenIdle = (inventory: Inventory): Record<string, string> =>
  Object.fromEntries(inventory.vms.flatMap(vm => (vm.start === undefined ? [] : [[vm.name, `${vm.start}\n`]])));
