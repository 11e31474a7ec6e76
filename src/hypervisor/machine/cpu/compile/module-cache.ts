/**
 * The WebAssembly modules of regions, by their bytes. Guests that run the same code in different machine pages get the same bytes, for
 * what differs comes to an instance from outside; they share the module, and with it what V8 makes of it, now and when it optimizes.
 */

export interface SharedModule {
  readonly module: WebAssembly.Module;
  readonly wasm: Uint8Array<ArrayBuffer>;
  readonly hash: number;
  /** Regions that are instances of it. */
  users: number;
}

/** Memory that V8 keeps for a module, measured: a fixed part and one per byte of WebAssembly. */
const MODULE_BYTES = 18 << 10;
const CODE_BYTES_PER_BYTE = 8;

const memoryOf = (wasm: Uint8Array): number => MODULE_BYTES + wasm.length * CODE_BYTES_PER_BYTE;

export class ModuleCache {
  /** Bytes of host memory that the modules are reckoned to take. */
  bytes = 0;
  /** Modules in use. */
  size = 0;
  readonly #byHash = new Map<number, SharedModule[]>();

  /** The module of these bytes, for one user more. The bytes must not change any more. `made`: one that somebody has compiled already. */
  take(wasm: Uint8Array<ArrayBuffer>, made?: WebAssembly.Module): SharedModule {
    const hash = hashOf(wasm);
    const alike = this.#byHash.get(hash);
    let shared = alike?.find(other => equal(other.wasm, wasm));
    if (shared === undefined) {
      shared = { module: made ?? new WebAssembly.Module(wasm), wasm, hash, users: 0 };
      if (alike === undefined) this.#byHash.set(hash, [shared]);
      else alike.push(shared);
      this.bytes += memoryOf(wasm);
      this.size += 1;
    }
    shared.users += 1;
    return shared;
  }

  /** One user less; the module goes with the last one. */
  release(shared: SharedModule): void {
    shared.users -= 1;
    if (shared.users > 0) return;
    this.bytes -= memoryOf(shared.wasm);
    this.size -= 1;
    const others = this.#byHash.get(shared.hash)!.filter(other => other !== shared);
    if (others.length > 0) this.#byHash.set(shared.hash, others);
    else this.#byHash.delete(shared.hash);
  }
}

/** Of whole words: what is behind the last one is the end of the code, which differs least. */
function hashOf(bytes: Uint8Array<ArrayBuffer>): number {
  const words = wordsOf(bytes);
  let hash = bytes.length;
  for (let i = 0; i < words.length; i++) hash = (Math.imul(hash, 31) + words[i]!) | 0;
  return hash;
}

const wordsOf = (bytes: Uint8Array<ArrayBuffer>): Int32Array =>
  new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);

function equal(a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): boolean {
  if (a.length !== b.length) return false;
  const [left, right] = [wordsOf(a), wordsOf(b)];
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  for (let i = left.length * 4; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
