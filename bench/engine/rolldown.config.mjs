/** Built like the program itself, so that what is measured is what users run. */
import { defineConfig } from 'rolldown';

const program = defineConfig({
  input: { main: 'bench/engine/main.ts', ours: 'bench/engine/ours.ts', v86: 'bench/engine/v86.ts' },
  platform: 'node',
  external: id => !id.startsWith('.') && !id.startsWith('/'),
  output: { dir: 'build/bench/engine', format: 'esm', sourcemap: true, cleanDir: true },
});

/** Where the program looks for it. */
const compileWorker = defineConfig({
  ...program,
  input: { 'compile-worker': 'src/session/compile-worker.ts' },
  output: { ...program.output, dir: 'build/bench/session' },
});

export default [program, compileWorker];
