/**
 * A folder that describes a host: `host.json` for the host itself, if it is there, and a .vmx file for each VM, as `NAME.vmx` or as
 * `NAME/NAME.vmx`, which is how ESX lays them out. A VM with a folder of its own has its vmware.log there.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UsageError } from '../../hypervisor/index.js';
import { fileReason, replaceFile } from '../files.js';
import { VmxDocument } from './document.js';
import { knownKey, VMX_KEYS, type VmSettings } from './keys.js';
import { readSettings } from './settings.js';
import { isSuspended, stateFileOf } from './suspended.js';

const EXTENSION = '.vmx';
const HOST_FILE = 'host.json';
/** vmware.log, and those of power-ons before. */
const LOG = /^vmware(?:-\d+)?\.log$/;
/** A slip of the finger (a disk) should not be read into memory, bytes. */
const VMX_BYTES_MAX = 1024 * 1024;

/** A .vmx file of a folder; what it says has not been looked at. */
export interface VmxFile {
  readonly path: string;
  /** Name of the file without its extension. */
  readonly base: string;
  /** It has a folder of its own. */
  readonly alone: boolean;
}

/** A VM as its file describes it. */
export interface VmFile extends VmxFile {
  /** What the host calls the VM: `displayName`, or the name of the file. */
  readonly name: string;
  readonly document: VmxDocument;
  readonly settings: VmSettings;
}

export interface InventoryFolder {
  readonly path: string;
  /** By path. */
  readonly vms: readonly VmFile[];
}

/** Reads every .vmx file. Throws `UsageError` for the first that cannot be used, and when two VMs have one name. */
export function openFolder(path: string): InventoryFolder {
  const vms = vmxFiles(path).map(readVmFile);
  const byName = new Map<string, VmFile>();
  for (const vm of vms) {
    const other = byName.get(vm.name);
    if (other) throw nameTaken(vm, other);
    byName.set(vm.name, vm);
  }
  return { path, vms };
}

/** Where the host itself may be described. */
export const hostFileOf = (folder: string): string => join(folder, HOST_FILE);

/**
 * The file of a VM, by the name of the file or else by that of the VM: a file that cannot be used is still found by its own name, even
 * beside others that cannot. Throws `UsageError` for a VM that is not there.
 */
export function findFile(folder: string, name: string): VmxFile {
  const [file, second] = vmxFiles(folder).filter(({ base }) => base === name);
  if (file && !second) return file;
  const vm = openFolder(folder).vms.find(each => each.name === name);
  if (!vm) throw new UsageError(`inventory ${folder}: no VM is called "${name}"`);
  return vm;
}

/** What ESX 3.5 writes into every file, as far as it means something here, or to ESX. */
const TEMPLATE = [
  '#!/usr/bin/vmware',
  '.encoding = "UTF-8"',
  'config.version = "8"',
  'virtualHW.version = "4"',
  'guestOS = "other26xlinux"',
  'memsize = "64"',
  'numvcpus = "1"',
  'monitor.virtual_exec = "automatic"',
  'vmi.present = "FALSE"',
];

type Settings = readonly (readonly [key: string, value: string])[];

/**
 * Makes a VM with a folder of its own and these settings beside the usual ones; the inventory's folder is made as well. Returns the path of
 * the file. Throws `UsageError`; then nothing has changed.
 */
export function createVm(folder: string, name: string, settings: Settings): string {
  const reading = VMX_KEYS.name.read(name);
  if ('reason' in reading || /^[. ]|[. ]$/.test(name)) {
    const reason = 'reason' in reading ? reading.reason : 'must not begin or end with a dot or a blank';
    throw new UsageError(`vm create: the name of a VM ${reason}, not "${name}"`);
  }
  const path = join(folder, name, name + EXTENSION);
  if (existsSync(path)) throw new UsageError(`${path}: ${fileReason({ code: 'EEXIST' })}`);
  const text = [...TEMPLATE, `displayName = "${name}"`].map(line => `${line}\n`).join('');
  const document = withSettings(VmxDocument.parse(Buffer.from(text), path), settings);
  const vm = vmFileOf({ path, base: name, alone: true }, document);
  if (existsSync(folder)) refuseTakenName(folder, vm);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, document.bytes(), { flag: 'wx' });
  } catch (error) {
    throw new UsageError(`${path}: ${fileReason(error)}`, { cause: error });
  }
  return path;
}

/** Sets keys of a VM. Throws `UsageError`; then nothing has changed. */
export function setInVm(folder: string, file: VmxFile, settings: Settings): void {
  if (isSuspended(file)) throw new UsageError(`${file.path}: the VM is suspended: resume it and switch it off first`);
  const document = withSettings(readDocument(file.path), settings);
  const vm = vmFileOf(file, document);
  if (settings.some(([key]) => key.toLowerCase() === VMX_KEYS.name.key.toLowerCase())) refuseTakenName(folder, vm);
  replaceFile(file.path, document.bytes());
}

/**
 * Deletes the file of a VM, what it was suspended as and its logs, and its folder, if that held nothing else. Returns what is left of the folder. Throws
 * `UsageError`.
 */
export function deleteVm(file: VmxFile): readonly string[] {
  const { path, alone } = file;
  try {
    rmSync(path);
    rmSync(stateFileOf(file), { force: true });
    if (!alone) return [];
    const folder = dirname(path);
    for (const entry of readdirSync(folder)) if (LOG.test(entry)) rmSync(join(folder, entry));
    const left = readdirSync(folder);
    if (left.length === 0) rmdirSync(folder);
    return left;
  } catch (error) {
    throw new UsageError(`${path}: ${fileReason(error)}`, { cause: error });
  }
}

const withSettings = (document: VmxDocument, settings: Settings): VmxDocument => {
  let changed = document;
  for (const [key, value] of settings) changed = changed.with(knownKey(key)?.key ?? key, value);
  return changed;
};

/** Throws `UsageError`. */
function readDocument(path: string): VmxDocument {
  try {
    const { size } = statSync(path);
    if (size > VMX_BYTES_MAX) throw new UsageError(`${path}: ${size} bytes are too many for a .vmx file`);
    return VmxDocument.parse(readFileSync(path), path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path}: ${fileReason(error)}`, { cause: error });
  }
}

const readVmFile = (file: VmxFile): VmFile => vmFileOf(file, readDocument(file.path));

function vmFileOf(file: VmxFile, document: VmxDocument): VmFile {
  const settings = readSettings(document);
  return { ...file, name: settings.name ?? nameOfFile(file), document, settings };
}

function refuseTakenName(folder: string, vm: VmFile): void {
  const other = openFolder(folder).vms.find(each => each.name === vm.name && each.path !== vm.path);
  if (other) throw nameTaken(vm, other);
}

const nameTaken = (vm: VmFile, other: VmFile): UsageError =>
  new UsageError(`${vm.document.where(VMX_KEYS.name.key)}: "${vm.name}" is the name of ${other.path} already`);

/** A file whose name cannot be that of a VM has to say `displayName`. */
function nameOfFile({ path, base }: VmxFile): string {
  const reading = VMX_KEYS.name.read(base);
  if ('value' in reading) return reading.value;
  throw new UsageError(`${path}: needs a displayName: the name of a VM ${reading.reason}, not "${base}"`);
}

/** In the order of their paths. Throws `UsageError`. */
function vmxFiles(folder: string): VmxFile[] {
  try {
    return readdirSync(folder)
      .filter(name => !name.startsWith('.'))
      .flatMap((name): VmxFile[] => {
        const path = join(folder, name);
        if (name.endsWith(EXTENSION) && isFile(path)) return [{ path, base: basename(name, EXTENSION), alone: false }];
        const own = join(path, name + EXTENSION);
        return isFile(own) ? [{ path: own, base: name, alone: true }] : [];
      })
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  } catch (error) {
    throw new UsageError(`inventory ${folder}: ${fileReason(error)}`, { cause: error });
  }
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();
