/**
 * VMware's backdoor: an IN from port 0x5658 with a magic number in EAX talks to the hypervisor through the general
 * registers (open-vm-tools, lib/include/backdoor_def.h and lib/message: names and numbers only).
 *
 *     EAX magic 0x564D5868, ECX low half command, high half subcommand, EBX argument, EDX port and, in the high half, channel
 *
 * The MESSAGE command carries remote procedure calls ("RPCI"): open a channel, announce the length of a request, send it
 * four bytes at a time, fetch the length of the reply and the reply, close. Without the magic number, or for an unknown
 * command, the port reads as all ones: nobody is there.
 */
import type { Archive } from '../base/archive.js';
import type { PortDevice, PortWidth } from './device.js';

/** The general registers of the CPU that makes the access. Values are unsigned. */
export interface BackdoorRegisters {
  readonly eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

const MAGIC = 0x564d5868;
const Command = { GET_MHZ: 1, GET_VERSION: 10, MESSAGE: 30 } as const;
const Sub = { OPEN: 0, SEND_SIZE: 1, SEND: 2, RECEIVE_SIZE: 3, RECEIVE: 4, RECEIVE_STATUS: 5, CLOSE: 6 } as const;
const RPCI = 0x49435052;
/** Flag beside the protocol number: the guest wants channel cookies. Accepted, and none are asked for. */
const COOKIE_FLAG = 0x80000000;
const Status = { FAIL: 0, SUCCESS: 0x0001_0000, REPLY_WAITING: 0x0002_0000 } as const;
const CHANNELS = 8;
const REQUEST_BYTES_MAX = 65_536;
/** Version 6 of the interface; product type 2: ESX Server. */
const INTERFACE_VERSION = 6;
const PRODUCT_ESX = 2;

interface Channel {
  requestBytes: number;
  request: number[];
  reply: number[];
  replySent: number;
}

export class Backdoor implements PortDevice {
  readonly #registers: BackdoorRegisters;
  readonly #mhz: number;
  readonly #onLog: (text: string) => void;
  readonly #channels: (Channel | undefined)[] = new Array<Channel | undefined>(CHANNELS).fill(undefined);

  /** `onLog` gets the text of "log" requests. */
  constructor(registers: BackdoorRegisters, mhz: number, onLog: (text: string) => void) {
    this.#registers = registers;
    this.#mhz = mhz;
    this.#onLog = onLog;
  }

  /** What is returned becomes EAX. */
  readPort(offset: number, width: PortWidth): number {
    const registers = this.#registers;
    if (offset !== 0 || width !== 4 || registers.eax !== MAGIC) return 0xffffffff;
    switch (registers.ecx & 0xffff) {
      case Command.GET_MHZ:
        return this.#mhz;
      case Command.GET_VERSION:
        registers.ebx = MAGIC;
        registers.ecx = PRODUCT_ESX;
        return INTERFACE_VERSION;
      case Command.MESSAGE:
        this.#message(registers);
        return registers.eax;
      default:
        return 0xffffffff;
    }
  }

  /** Writes are not part of the interface. */
  writePort(): void {}

  exchange(archive: Archive): void {
    for (let id = 0; id < CHANNELS; id++) {
      const channel = this.#channels[id];
      if (!archive.flag(channel !== undefined)) {
        this.#channels[id] = undefined;
        continue;
      }
      this.#channels[id] = {
        requestBytes: archive.number(channel?.requestBytes ?? 0),
        request: archive.numbers(channel?.request ?? []),
        reply: archive.numbers(channel?.reply ?? []),
        replySent: archive.number(channel?.replySent ?? 0),
      };
    }
  }

  #message(registers: BackdoorRegisters): void {
    const sub = registers.ecx >>> 16;
    if (sub === Sub.OPEN) {
      this.#open(registers);
      return;
    }
    const id = registers.edx >>> 16;
    const channel = this.#channels[id];
    const setStatus = (status: number): void => {
      registers.ecx = ((registers.ecx & 0xffff) | status) >>> 0;
    };
    if (channel === undefined) {
      setStatus(Status.FAIL);
      return;
    }
    switch (sub) {
      case Sub.SEND_SIZE: {
        const accepted = registers.ebx <= REQUEST_BYTES_MAX;
        setStatus(accepted ? Status.SUCCESS : Status.FAIL);
        if (!accepted) break;
        channel.requestBytes = registers.ebx;
        channel.request = [];
        if (channel.requestBytes === 0) this.#serve(channel);
        break;
      }
      case Sub.SEND: {
        if (channel.request.length >= channel.requestBytes) {
          setStatus(Status.FAIL);
          break;
        }
        for (let i = 0; i < 4 && channel.request.length < channel.requestBytes; i++) {
          channel.request.push((registers.ebx >>> (8 * i)) & 0xff);
        }
        setStatus(Status.SUCCESS);
        if (channel.request.length === channel.requestBytes) this.#serve(channel);
        break;
      }
      case Sub.RECEIVE_SIZE:
        if (channel.reply.length === 0) {
          setStatus(Status.SUCCESS);
          break;
        }
        setStatus(Status.SUCCESS | Status.REPLY_WAITING);
        registers.ebx = channel.reply.length;
        registers.edx = ((registers.edx & 0xffff) | (Sub.SEND_SIZE << 16)) >>> 0;
        break;
      case Sub.RECEIVE: {
        if (channel.replySent >= channel.reply.length) {
          setStatus(Status.FAIL);
          break;
        }
        let word = 0;
        for (let i = 0; i < 4; i++) word |= (channel.reply[channel.replySent + i] ?? 0) << (8 * i);
        channel.replySent += 4;
        setStatus(Status.SUCCESS);
        registers.ebx = word >>> 0;
        registers.edx = ((registers.edx & 0xffff) | (Sub.SEND << 16)) >>> 0;
        break;
      }
      case Sub.RECEIVE_STATUS:
        channel.reply = [];
        channel.replySent = 0;
        setStatus(Status.SUCCESS);
        break;
      case Sub.CLOSE:
        this.#channels[id] = undefined;
        setStatus(Status.SUCCESS);
        break;
      default:
        setStatus(Status.FAIL);
        break;
    }
  }

  #open(registers: BackdoorRegisters): void {
    const id = this.#channels.indexOf(undefined);
    const known = (registers.ebx & ~COOKIE_FLAG) >>> 0 === RPCI;
    const status = known && id >= 0 ? Status.SUCCESS : Status.FAIL;
    registers.ecx = ((registers.ecx & 0xffff) | status) >>> 0;
    if (status !== Status.SUCCESS) return;
    this.#channels[id] = { requestBytes: 0, request: [], reply: [], replySent: 0 };
    registers.edx = ((registers.edx & 0xffff) | (id << 16)) >>> 0;
  }

  /** A complete request: replies start with "1 " for success and "0 " for failure, as RPCI clients expect. */
  #serve(channel: Channel): void {
    const text = String.fromCharCode(...channel.request);
    let reply = '0 Unknown command';
    if (text.startsWith('log ')) {
      this.#onLog(text.slice(4).replace(/[\r\n\0]+$/, ''));
      reply = '1 ';
    }
    channel.reply = [...reply].map(character => character.charCodeAt(0));
    channel.replySent = 0;
  }
}
