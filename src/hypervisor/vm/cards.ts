/**
 * A VM's disks and network cards. They belong to the VM and outlive its power-ons, as what is on a disk does; what the guest talks to are virtio
 * devices that are put on the board at each power-on.
 */
import type { DeviceClock } from '../devices/clock.js';
import { DiskDrive } from '../devices/disk-drive.js';
import { DiskImage } from '../devices/disk-image.js';
import { type DiskFigures, VirtioBlock, zeroDiskFigures } from '../devices/virtio/block.js';
import { type NicFigures, VirtioNet, zeroNicFigures } from '../devices/virtio/net.js';
import { identityOf, type VirtioDevice, VirtioKind, VirtioTransport } from '../devices/virtio/transport.js';
import { SAVVIO_10K_1 } from '../machine/costs/disks.js';
import type { VmDiskSample, VmNicSample } from '../stats/sample.js';
import type { VirtualSwitch } from '../vmkernel/virtual-switch.js';
import type { Board } from './board.js';
import { bytesDigest } from './digest.js';

/** A line of the VM's log. */
type Log = (line: string) => void;

function plugVirtio<T extends VirtioDevice>(
  board: Board,
  name: string,
  kind: VirtioDevice['kind'],
  log: Log,
  make: (transport: VirtioTransport) => T,
): T {
  const { memory, memoryBytes } = board;
  const transport: VirtioTransport = new VirtioTransport(name, {
    memory,
    memoryBytes,
    setInterrupt: level => card.setInterrupt(level),
    log,
  });
  const card = board.plug(name, identityOf(kind), transport);
  const device = make(transport);
  transport.attach(device);
  return device;
}

export class VmDisk {
  readonly name: string;
  readonly #imageName: string;
  readonly #bytes: Uint8Array;
  readonly #image: DiskImage;
  #digest: string | undefined;
  #figures: DiskFigures = zeroDiskFigures();

  /** `index`: its place among the VM's disks. `bytes`: whole sectors; they are never changed. */
  constructor(index: number, imageName: string, bytes: Uint8Array) {
    this.name = `scsi0:${index}`;
    this.#imageName = imageName;
    this.#bytes = bytes;
    this.#image = new DiskImage(bytes);
  }

  /** By which a suspended guest knows its disk again. Computed once: disks are large. */
  get identity(): readonly [name: string, bytes: number, digest: string] {
    this.#digest ??= bytesDigest(this.#bytes);
    return [this.#imageName, this.#bytes.length, this.#digest];
  }

  plug(board: Board, log: Log): void {
    const figures = zeroDiskFigures();
    this.#figures = figures;
    const { clock } = board;
    const drive = new DiskDrive(SAVVIO_10K_1, clock.cyclesPerSecond);
    plugVirtio(
      board,
      this.name,
      VirtioKind.block,
      log,
      transport => new VirtioBlock({ transport, clock, image: this.#image, drive, id: this.name, figures }),
    );
  }

  /** The VM is switched off: what the drive was doing is lost. */
  unplug(): void {
    this.#figures.outstanding = 0;
  }

  sample(): VmDiskSample {
    return { name: this.name, image: this.#imageName, sizeKb: this.#image.sizeBytes / 1024, ...this.#figures };
  }
}

/** Addresses of VMware's, the VM's group and the card's place among its cards. */
export const macOf = (gid: number, index: number): Uint8Array =>
  Uint8Array.of(0x00, 0x0c, 0x29, (gid >>> 8) & 0xff, gid & 0xff, index);

const macText = (mac: Uint8Array): string => Array.from(mac, byte => byte.toString(16).padStart(2, '0')).join(':');

export class VmNic {
  readonly name: string;
  readonly #mac: Uint8Array;
  readonly #network: VirtualSwitch;
  readonly #port: number;
  #figures: NicFigures = zeroNicFigures();
  /** While the VM is on. */
  #plugged: { readonly clock: DeviceClock; readonly card: VirtioNet } | undefined;

  /** `onArrival`: a frame will come at that time, whatever the VM does until then. */
  constructor(index: number, gid: number, network: VirtualSwitch, onArrival: (atCycles: number) => void) {
    this.name = `ethernet${index}`;
    this.#mac = macOf(gid, index);
    this.#network = network;
    this.#port = network.connect({
      deliver: (frame, atCycles) => {
        const plugged = this.#plugged;
        if (plugged === undefined) return;
        plugged.clock.at(atCycles - plugged.clock.shiftCycles, () => plugged.card.receive(frame));
        onArrival(atCycles);
      },
      overrun: () => {
        if (this.#plugged !== undefined) this.#figures.receivedDropped += 1;
      },
    });
  }

  plug(board: Board, log: Log): void {
    const figures = zeroNicFigures();
    this.#figures = figures;
    const { clock } = board;
    const send = (frame: Uint8Array): void => this.#network.send(this.#port, frame, clock.hostCycles);
    const card = plugVirtio(
      board,
      this.name,
      VirtioKind.network,
      log,
      transport => new VirtioNet({ transport, mac: this.#mac, figures, send }),
    );
    this.#plugged = { clock, card };
  }

  /** The VM is switched off, or suspended: frames on their way are lost. */
  unplug(): void {
    this.#plugged = undefined;
  }

  /** For good. */
  remove(): void {
    this.#network.disconnect(this.#port);
  }

  sample(): VmNicSample {
    return { name: this.name, mac: macText(this.#mac), port: this.#port, ...this.#figures };
  }
}
