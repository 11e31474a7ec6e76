/**
 * A device that writes guest memory by itself, as a disk controller does: programmed through ports or device memory, it copies one of its
 * blocks to an address, at once or after some time, and raises a line when it has.
 */
import type { Adapter } from '../../src/hypervisor/vm/board.js';

export const DMA_PORT = 0x9000;
/** The same registers as device memory, four bytes each. */
export const DMA_MMIO = 0xd0000;
export const DMA_IRQ = 5;
/** Offsets: where to, which block, go (cycles until it is done, 0: before the access is over), and busy. Also what of memory, to its own block. */
export const DmaRegister = { ADDRESS: 0, BLOCK: 4, GO: 8, BUSY: 12, FETCH: 16 } as const;
const BYTES = 20;

export const dmaDevice =
  (contents: readonly Uint8Array[]): Adapter =>
  board => {
    const blocks = [...contents];
    let address = 0;
    let block = 0;
    let busy = 0;
    const line = board.pic.line(DMA_IRQ);
    const done = () => {
      board.memory.write(address, blocks[block]!);
      busy = 0;
      line.set(true);
    };
    const write = (offset: number, value: number) => {
      switch (offset) {
        case DmaRegister.ADDRESS:
          address = value;
          break;
        case DmaRegister.BLOCK:
          block = value % blocks.length;
          line.set(false);
          break;
        case DmaRegister.GO:
          busy = 1;
          if (value === 0) done();
          else board.clock.at(board.clock.nowCycles + value, done);
          break;
        case DmaRegister.FETCH:
          blocks[block] = board.memory.read(address, value);
          break;
        default:
      }
    };
    const read = (offset: number) => (offset === DmaRegister.BUSY ? busy : 0xffffffff);
    const registers = {
      readPort: read,
      writePort: (offset: number, _width: number, value: number) => write(offset, value),
      readMmio: read,
      writeMmio: (offset: number, _width: number, value: number) => write(offset, value),
    };
    board.ports.claim(DMA_PORT, BYTES, registers, 4);
    board.mmio.claim(DMA_MMIO, BYTES, registers);
  };
