/** Internal promises, checked where they are relied on. The errors of the hypervisor are in `errors.ts`. */
import { MonitorBug } from './errors.js';

export { MonitorBug, UsageError } from './errors.js';

/** Throws `MonitorBug` unless `condition` holds. Pass a constant string where the call is hot. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new MonitorBug(message);
}

/** Makes the compiler prove that a union was handled completely. */
export function assertNever(value: never): never {
  throw new MonitorBug(`unhandled case ${JSON.stringify(value)}`);
}
