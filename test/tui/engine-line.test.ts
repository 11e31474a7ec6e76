/** The memory screen says what compiled guest code takes of the computer, where the session knows. */
import { expect, test } from 'vitest';
import { engineLine } from '../../src/tui/header.js';

test('megabytes now and at most, units of compiled code now and ever', () => {
  const line = engineLine(
    { compiledBytes: 12.5 * 1048576, compiledBytesMax: 256 << 20, regions: 140, modules: 95, compilations: 1234 },
    80,
  );
  expect(line.trimEnd()).toBe('ENGINE/MB:    13    code:   256     max,  140 regions, 95 modules, 1234 made');
  expect(line).toHaveLength(80);
});
