/** Starts threads of the program, built or from sources. */
import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * Starts the thread of a file beside this one, named without its extension. Node 20 cannot load TypeScript into a worker by itself:
 * from sources, a bootstrap registers the loader first.
 */
export function startWorker(name: string, options: WorkerOptions): Worker {
  const here = import.meta.url;
  // Built, this may be a file of another folder: the build puts workers where they are in the sources.
  if (!here.endsWith('.ts')) return new Worker(new URL(`../session/${name}.js`, here), options);
  const url = JSON.stringify(new URL(`./${name}.ts`, here).href);
  const code = `import('tsx/esm/api').then(({ register }) => { register(); return import(${url}); });`;
  return new Worker(code, { ...options, eval: true });
}
