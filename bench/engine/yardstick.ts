/**
 * How fast the computer is just now, for one that is not steady: a virtual machine whose processors are shared may run at half its speed
 * for seconds. A chain of multiplications, which depends on nothing but the clock of the processor, is timed at both marks of a row.
 */

const STEPS = 1_000_000;
/** Time of the chain on a processor of 2.5 GHz with four cycles a step, ms: what times are converted to. */
const NOMINAL_MS = 1.6;
/** Runs until V8 has optimized the loop. */
const WARM_UPS = 60;

function chain(): number {
  let value = 1;
  for (let i = 0; i < STEPS; i++) value = (Math.imul(value, 1664525) + 1013904223) | 0;
  return value;
}

/** Answers what measures: time of the chain now, in units of its nominal time; above 1 on a slower computer. */
export function makeYardstick(): () => number {
  let kept = 0;
  const measure = () => {
    const start = performance.now();
    // What nobody looks at would not be computed.
    kept ^= chain();
    return (performance.now() - start) / NOMINAL_MS + (kept === 0 ? Number.EPSILON : 0);
  };
  for (let i = 0; i < WARM_UPS; i++) measure();
  return measure;
}
