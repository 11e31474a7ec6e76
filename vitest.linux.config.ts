import { defineConfig } from 'vitest/config';

/** Debian's kernels as guests: `npm run test:linux`. */
export default defineConfig({
  test: {
    include: ['test/linux/*.linux.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 900_000,
    hookTimeout: 300_000,
  },
});
