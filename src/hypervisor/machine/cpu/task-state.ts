/** What is in a task state, 32 or 16 bits wide (SDM vol. 3, figures 7-2 and 7-10), and what a switch makes of EFLAGS. */
import { Flag } from './state.js';

/** What led to a switch, as the exit qualification has it (SDM vol. 3, table 27-2); an event in the IDT is a CALL to the tasks themselves. */
export const Switch = { CALL: 0, RETURN: 1, JUMP: 2, TASK_GATE: 3 } as const;

/** Offsets; a register every `width` bytes, a segment register likewise. -1: there is none. */
export interface TaskLayout {
  readonly width: 2 | 4;
  readonly cr3: number;
  readonly eip: number;
  readonly registers: number;
  readonly segments: number;
  /** ES, CS, SS, DS, and of wide ones FS and GS. */
  readonly segmentCount: number;
  readonly ldt: number;
  readonly trap: number;
  /** The least limit of its segment. */
  readonly limit: number;
}

const WIDE: TaskLayout = {
  width: 4,
  cr3: 0x1c,
  eip: 0x20,
  registers: 0x28,
  segments: 0x48,
  segmentCount: 6,
  ldt: 0x60,
  trap: 0x64,
  limit: 0x67,
};
const NARROW: TaskLayout = {
  width: 2,
  cr3: -1,
  eip: 0x0e,
  registers: 0x12,
  segments: 0x22,
  segmentCount: 4,
  ldt: 0x2a,
  trap: -1,
  limit: 0x2b,
};

/** By the type of its descriptor. */
export const layoutOf = (attr: number): TaskLayout => ((attr & 8) !== 0 ? WIDE : NARROW);

/** Bytes from EIP on that a switch writes of the old task: EIP, EFLAGS, eight registers, the selectors. */
export const savedBytes = ({ width, segmentCount }: TaskLayout): number => (10 + segmentCount) * width;

/** In the second word of a task state's descriptor. */
export const BUSY = 0x200;

/** EFLAGS bits that come from a task state. */
export const LOADABLE =
  Flag.ARITHMETIC | Flag.TF | Flag.IF | Flag.DF | Flag.IOPL | Flag.NT | Flag.RF | Flag.AC | Flag.ID;

/** DR7 bits that a switch clears: the local enables (SDM vol. 3, 17.2.4). */
export const LOCAL_ENABLES = 0x55;

export const isTaskState = (attr: number): boolean => (attr & 0x15) === 0x01;
export const isTaskGate = (attr: number): boolean => (attr & 0x1f) === 0x05;
/** Of a task that can be switched to, and of one that runs or that another one was called from. */
export const isAvailable = (attr: number): boolean => (attr & 0x17) === 0x01;
export const isBusy = (attr: number): boolean => (attr & 0x17) === 0x03;
