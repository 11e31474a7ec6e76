/** The few `WebAssembly` members that the hypervisor uses (its tsconfig has neither DOM nor Node types). */
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { initial: number; maximum?: number; shared?: boolean });
    readonly buffer: SharedArrayBuffer;
    grow(pages: number): number;
  }
  class Table {
    constructor(descriptor: { element: 'anyfunc'; initial: number; maximum?: number });
    readonly length: number;
    get(index: number): unknown;
    // biome-ignore lint/suspicious/noExplicitAny: as in the standard declaration.
    set(index: number, value: any): void;
    grow(delta: number): number;
  }
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
  }
  class Instance {
    // biome-ignore lint/suspicious/noExplicitAny: as in the standard declaration.
    constructor(module: Module, imports: any);
    // biome-ignore lint/suspicious/noExplicitAny: as in the standard declaration.
    readonly exports: any;
  }
}
