/**
 * Builds the VMI option ROM: a header that a BIOS and a guest kernel recognise, and the code of `rom-source.ts`.
 */
import { assert } from '../../base/assert.js';
import { assemble } from '../../machine/cpu/assemble.js';
import { VMI_VIRTUAL_TOP } from '../hole.js';
import { CALLS } from './calls.js';
import { DIRECT_GATES, Header } from './rom-layout.js';
import { romSource } from './rom-source.js';

/** The hypercall of Init, which has no index of its own. */
export const INIT_CALL = -1;

/** A stretch of code which the monitor, when it takes control inside, has to leave at `restart`. Offsets in the ROM. */
export interface RestartRange {
  readonly name: 'iret' | 'queue';
  /** First offset inside. */
  readonly from: number;
  /** First offset behind. */
  readonly to: number;
  readonly restart: number;
  /** VIF was set ahead of the real IRET: take it back. */
  readonly clearsVif: boolean;
}

export interface VmiRom {
  /** A multiple of 512 bytes whose sum is 0 modulo 256. */
  readonly bytes: Uint8Array;
  /** Offset of each offered call's code, by call index. */
  readonly entries: ReadonlyMap<number, number>;
  /** Offset behind each hypercall's INT -> call index (`INIT_CALL` for Init). */
  readonly sites: ReadonlyMap<number, number>;
  readonly restartRanges: readonly RestartRange[];
  /** Offsets of the three IRET instructions. */
  readonly realIrets: readonly number[];
  /** Offsets of the code behind each direct gate. */
  readonly gates: readonly number[];
  /** All labels, for listings. */
  readonly labels: ReadonlyMap<string, number>;
}

const SECTOR = 512;
const IRET_OPCODE = 0xcf;

let built: VmiRom | undefined;

/** The ROM image; the same object every time, since nothing in it varies. */
export function buildVmiRom(): VmiRom {
  built ??= build();
  return built;
}

function build(): VmiRom {
  const encoded = new Map<string, Uint8Array>();
  const first = assemble(Header.END, romSource(new Map()), {}, encoded);
  const { bytes: code, labels } = assemble(Header.END, romSource(first.labels), {}, encoded);
  const offset = (label: string): number => {
    const at = labels.get(label);
    assert(at !== undefined, `no label ${label} in the ROM`);
    return at;
  };
  const sizeBytes = Math.ceil((Header.END + code.length + 1) / SECTOR) * SECTOR;
  const bytes = new Uint8Array(sizeBytes);
  bytes.set(code, Header.END);
  writeHeader(bytes, offset('init'), offset('get_relocation_info'));
  bytes[sizeBytes - 1] = -sum(bytes) & 0xff;

  const sites = new Map<number, number>([[offset('site_init'), INIT_CALL]]);
  for (const [label, at] of labels) {
    const match = /^site_(\d+)/.exec(label);
    if (match) sites.set(at, Number(match[1]));
  }
  const realIrets: number[] = [];
  for (const label of ['iret_kernel', 'iret_masked', 'iret_slow']) {
    assert(bytes[offset(label) - 1] === IRET_OPCODE, `no IRET before ${label}`);
    realIrets.push(offset(label) - 1);
  }
  return {
    bytes,
    entries: new Map(
      CALLS.filter(call => call.how === 'fast' || call.how === 'hypercall').map(call => [
        call.index,
        offset(`call_${call.index}`),
      ]),
    ),
    sites,
    restartRanges: [
      // Up to and with the INT at iret_slow.
      {
        name: 'iret',
        from: offset('iret_restart'),
        to: offset('iret_slow') + 1,
        restart: offset('iret_restart'),
        clearsVif: true,
      },
      {
        name: 'queue',
        from: offset('note_entry'),
        to: offset('appended'),
        restart: offset('note_entry'),
        clearsVif: false,
      },
    ],
    realIrets,
    gates: Array.from({ length: DIRECT_GATES }, (_, slot) => offset(`gate_${slot}`)),
    labels,
  };
}

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

/** Header of API 3.0, PCI data structure (PCI 2.1, 6.3.1.2) and PnP expansion header (Plug and Play BIOS 1.0A, 3.2). */
function writeHeader(bytes: Uint8Array, init: number, getRelocationInfo: number): void {
  const put16 = (at: number, value: number): void => {
    bytes[at] = value;
    bytes[at + 1] = value >>> 8;
  };
  const put32 = (at: number, value: number): void => {
    put16(at, value & 0xffff);
    put16(at + 2, value >>> 16);
  };
  const putText = (at: number, text: string): number => {
    for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
    return at + text.length + 1;
  };
  const putJump = (at: number, target: number): void => {
    bytes[at] = 0xe9;
    put32(at + 1, target - (at + 5));
    bytes.fill(0x90, at + 5, at + 8);
  };
  const license = Header.STRINGS;
  const manufacturer = putText(license, 'GPL');
  const product = putText(manufacturer, 'VMware, Inc.');
  assert(putText(product, 'Hypervisor OPROM') <= Header.INIT, 'ROM strings run into the code');

  put16(Header.SIGNATURE, 0xaa55);
  bytes[Header.LENGTH] = bytes.length / SECTOR;
  // A BIOS calls this far in real mode: return at once (RETF).
  bytes[Header.REAL_MODE_ENTRY] = 0xcb;
  put32(Header.VROM_SIGNATURE, 0x696d5663);
  bytes[Header.API_MINOR] = 0;
  bytes[Header.API_MAJOR] = 3;
  bytes[Header.JUMP_SLOTS] = 2;
  put32(Header.VIRTUAL_TOP, VMI_VIRTUAL_TOP);
  put16(Header.LICENSE, license);
  put16(Header.PCI, Header.PCI_DATA);
  put16(Header.PNP, Header.PNP_DATA);

  const pci = Header.PCI_DATA;
  putText(pci, 'PCIR');
  put16(pci + 0x04, 0x15ad);
  put16(pci + 0x06, 0x0801);
  put16(pci + 0x0a, 0x18);
  // Class code, programming interface first: "other memory controller".
  bytes.set([0x00, 0x80, 0x05], pci + 0x0d);
  put16(pci + 0x10, bytes.length / SECTOR);
  // Version 1.0, minor byte first; code type 0 is PC-AT; the last image of the ROM.
  bytes.set([0, 1, 0, 0x80], pci + 0x12);

  const pnp = Header.PNP_DATA;
  putText(pnp, '$PnP');
  bytes[pnp + 4] = 1;
  bytes[pnp + 5] = 2;
  put16(pnp + 0x0e, manufacturer);
  put16(pnp + 0x10, product);
  bytes[pnp + 9] = -sum(bytes.subarray(pnp, pnp + 0x20)) & 0xff;

  putJump(Header.INIT, init);
  putJump(Header.GET_RELOCATION_INFO, getRelocationInfo);
}
