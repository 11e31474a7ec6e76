import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    setupFiles: ['test/tiering.ts'],
    include: ['test/**/*.test.{ts,tsx}'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
