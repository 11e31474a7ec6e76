/** The few `WebAssembly` members that the hypervisor uses (its tsconfig has neither DOM nor Node types). */
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { initial: number; maximum?: number; shared?: boolean });
    readonly buffer: SharedArrayBuffer;
    grow(pages: number): number;
  }
}
