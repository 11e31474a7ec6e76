/**
 * WebAssembly bytes: a growing buffer with the encodings that the compiler needs, and the sections of a module around it.
 * Names and numbers are those of the WebAssembly core specification, 5 (binary format).
 */

export const Type = { I32: 0x7f, I64: 0x7e, F64: 0x7c, V128: 0x7b, VOID: 0x40 } as const;

/** Opcodes (core specification, 5.4). */
export const W = {
  UNREACHABLE: 0x00,
  BLOCK: 0x02,
  LOOP: 0x03,
  IF: 0x04,
  ELSE: 0x05,
  END: 0x0b,
  BR: 0x0c,
  BR_IF: 0x0d,
  BR_TABLE: 0x0e,
  RETURN: 0x0f,
  CALL: 0x10,
  CALL_INDIRECT: 0x11,
  RETURN_CALL: 0x12,
  RETURN_CALL_INDIRECT: 0x13,
  DROP: 0x1a,
  SELECT: 0x1b,
  LOCAL_GET: 0x20,
  LOCAL_SET: 0x21,
  LOCAL_TEE: 0x22,
  GLOBAL_GET: 0x23,
  I32_LOAD: 0x28,
  I64_LOAD: 0x29,
  F64_LOAD: 0x2b,
  I32_LOAD8_S: 0x2c,
  I32_LOAD8_U: 0x2d,
  I32_LOAD16_S: 0x2e,
  I32_LOAD16_U: 0x2f,
  I32_STORE: 0x36,
  I64_STORE: 0x37,
  F64_STORE: 0x39,
  I32_STORE8: 0x3a,
  I32_STORE16: 0x3b,
  I32_CONST: 0x41,
  I64_CONST: 0x42,
  I32_EQZ: 0x45,
  I32_EQ: 0x46,
  I32_NE: 0x47,
  I32_LT_S: 0x48,
  I32_LT_U: 0x49,
  I32_GT_S: 0x4a,
  I32_GT_U: 0x4b,
  I32_LE_S: 0x4c,
  I32_LE_U: 0x4d,
  I32_GE_S: 0x4e,
  I32_GE_U: 0x4f,
  I64_EQ: 0x51,
  I64_NE: 0x52,
  I64_LT_S: 0x53,
  I64_GT_U: 0x56,
  F64_GE: 0x66,
  I32_CLZ: 0x67,
  I32_CTZ: 0x68,
  I32_POPCNT: 0x69,
  I32_ADD: 0x6a,
  I32_SUB: 0x6b,
  I32_MUL: 0x6c,
  I32_AND: 0x71,
  I32_OR: 0x72,
  I32_XOR: 0x73,
  I32_SHL: 0x74,
  I32_SHR_S: 0x75,
  I32_SHR_U: 0x76,
  I32_ROTL: 0x77,
  I32_ROTR: 0x78,
  I64_ADD: 0x7c,
  I64_SUB: 0x7d,
  I64_MUL: 0x7e,
  I64_DIV_S: 0x7f,
  I64_DIV_U: 0x80,
  I64_REM_S: 0x81,
  I64_REM_U: 0x82,
  I64_OR: 0x84,
  I64_SHL: 0x86,
  I64_SHR_S: 0x87,
  I64_SHR_U: 0x88,
  F64_CEIL: 0x9b,
  F64_ADD: 0xa0,
  F64_SUB: 0xa1,
  F64_MIN: 0xa4,
  F64_MAX: 0xa5,
  I32_WRAP_I64: 0xa7,
  I32_TRUNC_F64_U: 0xab,
  I64_EXTEND_I32_S: 0xac,
  I64_EXTEND_I32_U: 0xad,
  F64_CONVERT_I32_S: 0xb7,
  F64_CONVERT_I32_U: 0xb8,
  I32_EXTEND8_S: 0xc0,
  I32_EXTEND16_S: 0xc1,
} as const;

/** Opcodes of vectors, behind the prefix 0xfd (core specification, 5.4.9); arithmetic is on four words. */
export const V = { LOAD: 0, STORE: 11, SHUFFLE: 13, SPLAT: 17, EQ: 55, BITMASK: 164, SUB: 177, MAX_U: 185 } as const;

/** No instruction that is written at once is longer. */
const INSTRUCTION_BYTES_MAX = 16;

/**
 * A growing sequence of bytes. The instructions that generated code is full of are written without a call each byte: most regions
 * are emitted before V8 has compiled the emitter, when a call costs as much as everything else here.
 */
export class WasmWriter {
  bytes: Uint8Array;
  length = 0;
  /** From this length on there may be no room for an instruction. */
  #full: number;

  constructor(capacity = 4096) {
    this.bytes = new Uint8Array(capacity + INSTRUCTION_BYTES_MAX);
    this.#full = capacity;
  }

  clear(): void {
    this.length = 0;
  }

  byte(value: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.bytes[this.length++] = value;
  }

  raw(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.#full) this.#grow(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Unsigned LEB128. */
  u(value: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.#unsigned(value);
  }

  #unsigned(value: number): void {
    const { bytes } = this;
    let at = this.length;
    let rest = value >>> 0;
    while (rest >= 0x80) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at] = rest;
    this.length = at + 1;
  }

  /** Signed LEB128 of a 32-bit integer. */
  s(value: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.#signed(value);
  }

  #signed(value: number): void {
    const { bytes } = this;
    let at = this.length;
    let rest = value | 0;
    while (rest < -0x40 || rest >= 0x40) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>= 7;
    }
    bytes[at] = rest & 0x7f;
    this.length = at + 1;
  }

  /** Signed LEB128 of a 64-bit integer given as high and low word. */
  s64(high: number, low: number): void {
    let l = low >>> 0;
    let h = high | 0;
    for (;;) {
      const bits = l & 0x7f;
      l = ((l >>> 7) | (h << 25)) >>> 0;
      h >>= 7;
      if ((l === 0 && h === 0 && (bits & 0x40) === 0) || (l === 0xffffffff && h === -1 && (bits & 0x40) !== 0)) {
        this.byte(bits);
        return;
      }
      this.byte(bits | 0x80);
    }
  }

  name(text: string): void {
    this.u(text.length);
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i));
  }

  done(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  #grow(more: number): void {
    const capacity = Math.max(this.#full * 2, this.length + more);
    const bigger = new Uint8Array(capacity + INSTRUCTION_BYTES_MAX);
    bigger.set(this.bytes);
    this.bytes = bigger;
    this.#full = capacity;
  }

  // ---- instructions

  op(code: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.bytes[this.length++] = code;
  }

  i32(value: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.bytes[this.length++] = W.I32_CONST;
    if (value >= -0x40 && value < 0x40) this.bytes[this.length++] = value & 0x7f;
    else this.#signed(value);
  }

  i64(high: number, low: number): void {
    this.byte(W.I64_CONST);
    this.s64(high, low);
  }

  get(local: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.bytes[this.length++] = W.LOCAL_GET;
    if (local < 0x80) this.bytes[this.length++] = local;
    else this.#unsigned(local);
  }

  set(local: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.bytes[this.length++] = W.LOCAL_SET;
    if (local < 0x80) this.bytes[this.length++] = local;
    else this.#unsigned(local);
  }

  tee(local: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.bytes[this.length++] = W.LOCAL_TEE;
    if (local < 0x80) this.bytes[this.length++] = local;
    else this.#unsigned(local);
  }

  #withIndex(code: number, index: number): void {
    if (this.length > this.#full) this.#grow(0);
    this.bytes[this.length++] = code;
    this.#unsigned(index);
  }

  /** A load or store with its static offset; `align` is a promise as a power of two, 0 for none. */
  memory(code: number, offset: number, align = 0): void {
    if (this.length > this.#full) this.#grow(0);
    const { bytes } = this;
    bytes[this.length++] = code;
    bytes[this.length++] = align;
    this.#unsigned(offset);
  }

  simd(code: number): void {
    this.byte(0xfd);
    this.u(code);
  }

  /** A load or store of a vector. */
  vector(code: number, offset: number): void {
    this.simd(code);
    this.u(2);
    this.u(offset);
  }

  /** Pops two vectors; the words of the result are those of these numbers, 0 to 3 of the first, 4 to 7 of the second. */
  shuffleWords(numbers: readonly number[]): void {
    this.simd(V.SHUFFLE);
    for (const number of numbers) for (let byte = 0; byte < 4; byte++) this.byte(number * 4 + byte);
  }

  block(type: number = Type.VOID): void {
    this.byte(W.BLOCK);
    this.byte(type);
  }

  loop(): void {
    this.byte(W.LOOP);
    this.byte(Type.VOID);
  }

  if(type: number = Type.VOID): void {
    this.byte(W.IF);
    this.byte(type);
  }

  else(): void {
    this.byte(W.ELSE);
  }

  end(): void {
    this.byte(W.END);
  }

  br(depth: number): void {
    this.#withIndex(W.BR, depth);
  }

  brIf(depth: number): void {
    this.#withIndex(W.BR_IF, depth);
  }

  /** memory.copy and memory.fill: destination, source or value, bytes. */
  copyMemory(): void {
    for (const byte of [0xfc, 10, 0, 0]) this.byte(byte);
  }

  fillMemory(): void {
    for (const byte of [0xfc, 11, 0]) this.byte(byte);
  }

  /** i32.trunc_sat_f64_s. */
  truncate(): void {
    this.byte(0xfc);
    this.byte(2);
  }

  /** i64.trunc_sat_f64_s. */
  truncateWide(): void {
    this.byte(0xfc);
    this.byte(6);
  }

  call(index: number): void {
    this.#withIndex(W.CALL, index);
  }
}

export interface FunctionType {
  readonly parameters: readonly number[];
  readonly results: readonly number[];
}

export interface ImportedFunction {
  readonly name: string;
  readonly type: number;
}

export interface Local {
  readonly count: number;
  readonly type: number;
}

export interface FunctionBody {
  readonly type: number;
  readonly locals: readonly Local[];
  /** Instructions without the final `end`. */
  readonly code: Uint8Array;
}

/** A module: everything it imports comes from module `m`, functions are exported under their number as `0`, `1`, ... */
export interface ModuleParts {
  readonly types: readonly FunctionType[];
  readonly imports: readonly ImportedFunction[];
  /** Pages of the shared memory `memory` that is imported; with `memoryPagesMax`, so many at least and at most. */
  readonly memoryPages: number;
  readonly memoryPagesMax?: number;
  /** False if the function table `table` is not imported. */
  readonly table?: boolean;
  /** Names of imported immutable i32 globals. */
  readonly globals?: readonly string[];
  readonly functions: readonly FunctionBody[];
}

function section(out: WasmWriter, id: number, fill: (part: WasmWriter) => void): void {
  const part = new WasmWriter(256);
  fill(part);
  out.byte(id);
  out.u(part.length);
  out.raw(part.done());
}

export function assembleModule(parts: ModuleParts): Uint8Array<ArrayBuffer> {
  const out = new WasmWriter(8192);
  for (const byte of [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) out.byte(byte);
  section(out, 1, part => {
    part.u(parts.types.length);
    for (const type of parts.types) {
      part.byte(0x60);
      part.u(type.parameters.length);
      for (const parameter of type.parameters) part.byte(parameter);
      part.u(type.results.length);
      for (const result of type.results) part.byte(result);
    }
  });
  const globals = parts.globals ?? [];
  section(out, 2, part => {
    const table = parts.table ?? true;
    part.u(parts.imports.length + globals.length + (table ? 2 : 1));
    part.name('m');
    part.name('memory');
    part.byte(2);
    part.byte(3); // shared, with a maximum
    part.u(parts.memoryPages);
    part.u(parts.memoryPagesMax ?? parts.memoryPages);
    if (table) {
      part.name('m');
      part.name('table');
      part.byte(1);
      part.byte(0x70);
      part.byte(0);
      part.u(0);
    }
    for (const global of globals) {
      part.name('m');
      part.name(global);
      part.byte(3);
      part.byte(Type.I32);
      part.byte(0);
    }
    for (const { name, type } of parts.imports) {
      part.name('m');
      part.name(name);
      part.byte(0);
      part.u(type);
    }
  });
  section(out, 3, part => {
    part.u(parts.functions.length);
    for (const body of parts.functions) part.u(body.type);
  });
  section(out, 7, part => {
    part.u(parts.functions.length);
    parts.functions.forEach((_, number) => {
      part.name(`${number}`);
      part.byte(0);
      part.u(parts.imports.length + number);
    });
  });
  section(out, 10, part => {
    part.u(parts.functions.length);
    for (const body of parts.functions) {
      const code = new WasmWriter(body.code.length + 64);
      code.u(body.locals.length);
      for (const local of body.locals) {
        code.u(local.count);
        code.byte(local.type);
      }
      code.raw(body.code);
      code.end();
      part.u(code.length);
      part.raw(code.done());
    }
  });
  return out.bytes.slice(0, out.length);
}
