/**
 * A folder that describes a host: `host.json` for the host itself, if it is there, and a .vmx file for each VM, as `NAME.vmx` or as
 * `NAME/NAME.vmx`, which is how ESX lays them out. A VM with a folder of its own has its vmware.log there.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { UsageError } from '../../hypervisor/index.js';
import { fileReason, replaceFile } from '../files.js';
import { VmxDocument } from './document.js';
import { VMX_KEYS, type VmSettings } from './keys.js';
import { readSettings, withSetting } from './settings.js';

const EXTENSION = '.vmx';
const HOST_FILE = 'host.json';
/** A slip of the finger (a disk) should not be read into memory, bytes. */
const VMX_BYTES_MAX = 1024 * 1024;

/** A VM as its file describes it. */
export interface VmFile {
  readonly path: string;
  /** Name of the file without its extension. */
  readonly base: string;
  /** What the host calls the VM: `displayName`, or the name of the file. */
  readonly name: string;
  /** The file has a folder of its own. */
  readonly alone: boolean;
  readonly document: VmxDocument;
  readonly settings: VmSettings;
}

export class InventoryFolder {
  readonly path: string;
  /** By path. */
  readonly vms: readonly VmFile[];

  private constructor(path: string, vms: readonly VmFile[]) {
    this.path = path;
    this.vms = vms;
  }

  /** Reads every .vmx file. Throws `UsageError` for the first that cannot be used, and when two VMs have one name. */
  static open(path: string): InventoryFolder {
    const vms = vmxFiles(path).map(({ file, alone }) => readVmFile(file, alone));
    const byName = new Map<string, VmFile>();
    for (const vm of vms) {
      const other = byName.get(vm.name);
      if (other) {
        throw new UsageError(`${vm.document.where('displayName')}: "${vm.name}" is the name of ${other.path} already`);
      }
      byName.set(vm.name, vm);
    }
    return new InventoryFolder(path, vms);
  }

  /** Where the host itself may be described. */
  get hostFile(): string {
    return join(this.path, HOST_FILE);
  }

  /** Where a new VM's file belongs. */
  fileOf(base: string): string {
    return join(this.path, base, base + EXTENSION);
  }

  /** By the name of the VM, or that of its file. Throws `UsageError` for one that is not there. */
  find(name: string): VmFile {
    const vm = this.vms.find(each => each.name === name) ?? this.vms.find(each => each.base === name);
    if (!vm) throw new UsageError(`inventory ${this.path}: no VM is called "${name}"`);
    return vm;
  }
}

/** The file as it is now, with keys set one after the other; nothing else in it changes. Throws `UsageError`; then nothing has changed. */
export function setInFile(path: string, settings: readonly (readonly [key: string, value: string])[]): void {
  let document = readDocument(path);
  for (const [key, value] of settings) document = withSetting(document, key, value);
  replaceFile(path, document.bytes());
}

/** Throws `UsageError`. */
export function readDocument(path: string): VmxDocument {
  try {
    const { size } = statSync(path);
    if (size > VMX_BYTES_MAX) throw new UsageError(`${path}: ${size} bytes are too many for a .vmx file`);
    return VmxDocument.parse(readFileSync(path), path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path}: ${fileReason(error)}`, { cause: error });
  }
}

function readVmFile(path: string, alone: boolean): VmFile {
  const document = readDocument(path);
  const settings = readSettings(document);
  const base = basename(path, EXTENSION);
  return { path, base, name: settings.name ?? nameOfFile(path, base), alone, document, settings };
}

/** A file whose name cannot be that of a VM has to say `displayName`. */
function nameOfFile(path: string, base: string): string {
  const reading = VMX_KEYS.name.read(base);
  if ('value' in reading) return reading.value;
  throw new UsageError(`${path}: needs a displayName: the name of a VM ${reading.reason}, not "${base}"`);
}

/** In the order of their paths. */
function vmxFiles(folder: string): { readonly file: string; readonly alone: boolean }[] {
  try {
    return readdirSync(folder)
      .filter(name => !name.startsWith('.'))
      .flatMap(name => {
        const path = join(folder, name);
        if (name.endsWith(EXTENSION) && isFile(path)) return [{ file: path, alone: false }];
        const own = join(path, name + EXTENSION);
        return isFile(own) ? [{ file: own, alone: true }] : [];
      })
      .sort((a, b) => (a.file < b.file ? -1 : 1));
  } catch (error) {
    throw new UsageError(`inventory ${folder}: ${fileReason(error)}`, { cause: error });
  }
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();
