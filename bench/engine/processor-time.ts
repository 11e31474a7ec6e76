/** Processor time of another process, as Linux counts it. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Stamp } from './rows.js';

/** Run time of all threads in ms; NaN where /proc does not tell. */
function processorMs(pid: number): number {
  try {
    const tasks = `/proc/${pid}/task`;
    return readdirSync(tasks).reduce((sum, task) => {
      const nanoseconds = readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]!;
      return sum + Number(nanoseconds) / 1e6;
    }, 0);
  } catch {
    return Number.NaN;
  }
}

export const stampOf = (pid: number): Stamp => ({ wallMs: performance.now(), cpuMs: processorMs(pid) });
