/**
 * One folder of a few large files. Not for size: V8 reads an imported constant from memory at every use, and knows one of the
 * same file when it compiles. The machine's inner loops are full of such constants.
 */
import { defineConfig } from 'rolldown';

export default defineConfig({
  input: {
    'cli/main': 'src/cli/main.ts',
    'session/worker': 'src/session/worker.ts',
    'hypervisor/index': 'src/hypervisor/index.ts',
    'guest/image': 'src/guest/image.ts',
  },
  platform: 'node',
  // Packages stay where npm put them.
  external: id => !id.startsWith('.') && !id.startsWith('/'),
  output: {
    dir: 'dist',
    format: 'esm',
    entryFileNames: '[name].js',
    // At the depth of the entries, so that paths relative to a file mean the same everywhere.
    chunkFileNames: 'session/[name]-[hash].js',
    sourcemap: true,
    cleanDir: true,
  },
});
