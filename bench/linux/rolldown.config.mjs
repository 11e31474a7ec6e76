/** v86's child as a plain program: what loads TypeScript on the fly would be part of its time. */
import { defineConfig } from 'rolldown';

export default defineConfig({
  input: { v86: 'bench/linux/v86.ts' },
  platform: 'node',
  external: id => !id.startsWith('.') && !id.startsWith('/'),
  output: { dir: 'build/bench/linux', format: 'esm', cleanDir: true },
});
