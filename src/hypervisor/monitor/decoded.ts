/**
 * A decoded instruction in fields of our own. Every property of iced's `Instruction` is a call into WebAssembly, and the object
 * has to be freed; an instruction that the monitor performs again and again is better decoded once.
 */
import { Decoder, type Instruction, type Mnemonic, OpKind, Register } from 'iced-x86';
import { DECODER_OPTIONS } from '../machine/cpu/decoder-options.js';

const OPERANDS = 2;

export class Decoded {
  readonly mnemonic: Mnemonic;
  /** In bytes. */
  readonly length: number;
  readonly opCount: number;
  readonly op0Kind: OpKind;
  readonly op1Kind: OpKind;
  /** `Register.None` where the operand is no register. */
  readonly op0Register: Register;
  readonly op1Register: Register;
  readonly immediate8: number;
  readonly immediate16: number;
  /** The second operand where it is an immediate, sign-extended as the instruction does; else 0. */
  readonly secondImmediate: number;
  readonly farBranchSelector: number;
  readonly farBranch32: number;
  readonly isCallFarIndirect: boolean;
  readonly isJmpFarIndirect: boolean;
  readonly hasRepeatPrefix: boolean;
  readonly memorySegment: Register;
  readonly memoryBase: Register;
  readonly memoryIndex: Register;
  readonly memoryIndexScale: number;
  /** As an int32. */
  readonly memoryDisplacement: number;
  /** Bytes of the displacement's encoding, which tell 16-bit addresses where there is no register. */
  readonly memoryDisplSize: number;
  /** iced's `MemorySize`. */
  readonly memorySize: number;
  readonly stackPointerIncrement: number;

  constructor(from: Instruction) {
    this.mnemonic = from.mnemonic;
    this.length = from.length;
    this.opCount = from.opCount;
    this.op0Kind = from.op0Kind;
    this.op1Kind = from.op1Kind;
    this.op0Register = this.op0Kind === OpKind.Register ? from.op0Register : Register.None;
    this.op1Register = this.op1Kind === OpKind.Register ? from.op1Register : Register.None;
    this.immediate8 = from.immediate8;
    this.immediate16 = from.immediate16;
    const immediate =
      this.opCount >= OPERANDS && this.op1Kind >= OpKind.Immediate8 && this.op1Kind <= OpKind.Immediate32to64;
    this.secondImmediate = immediate ? Number(BigInt.asIntN(32, from.immediate(1))) : 0;
    this.farBranchSelector = from.farBranchSelector;
    this.farBranch32 = from.farBranch32;
    this.isCallFarIndirect = from.isCallFarIndirect;
    this.isJmpFarIndirect = from.isJmpFarIndirect;
    this.hasRepeatPrefix = from.hasRepPrefix || from.hasRepnePrefix;
    this.memorySegment = from.memorySegment;
    this.memoryBase = from.memoryBase;
    this.memoryIndex = from.memoryIndex;
    this.memoryIndexScale = from.memoryIndexScale;
    this.memoryDisplacement = Number(BigInt.asIntN(32, from.memoryDisplacement));
    this.memoryDisplSize = from.memoryDisplSize;
    this.memorySize = from.memorySize;
    this.stackPointerIncrement = from.stackPointerIncrement;
  }
}

/** Places whose instructions are remembered; a kernel has a few dozen that trap. */
const PLACES_MAX = 512;

/** Instructions decoded before, by EIP. One is the same again where the bytes are the same. */
export class DecodedPlaces {
  readonly #known = new Map<number, { readonly bytes: Uint8Array; readonly decoded: Decoded }>();

  /** As the function. Keeps `bytes`. */
  decode(bytes: Uint8Array, eip: number): Decoded | undefined {
    const known = this.#known.get(eip);
    if (known !== undefined && startsWith(bytes, known.bytes)) return known.decoded;
    const decoded = decode(bytes, eip);
    if (decoded === undefined) return undefined;
    if (this.#known.size >= PLACES_MAX) this.#known.clear();
    this.#known.set(eip, { bytes: bytes.subarray(0, decoded.length), decoded });
    return decoded;
  }
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  if (bytes.length < start.length) return false;
  for (let i = 0; i < start.length; i++) if (bytes[i] !== start[i]) return false;
  return true;
}

/** The first instruction of 32-bit code; undefined where the bytes are none, or not all of it. */
export function decode(bytes: Uint8Array, eip: number): Decoded | undefined {
  const decoder = new Decoder(32, bytes, DECODER_OPTIONS);
  decoder.ip = BigInt(eip >>> 0);
  const instruction = decoder.decode();
  const decoded = instruction.isInvalid ? undefined : new Decoded(instruction);
  instruction.free();
  decoder.free();
  return decoded;
}
