/** Time to decode and lower cold code: `npx tsx test/machine/bench-decode.ts`. Not a test. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CodeCache } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { BlockDecoder } from '../../src/hypervisor/machine/cpu/decode.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import { parseMultiboot } from '../../src/hypervisor/vm/multiboot.js';
import { COSTS } from './fixture.js';

const file = new Uint8Array(readFileSync(fileURLToPath(new URL('../../fixtures/guest.elf', import.meta.url))));
const text = parseMultiboot('guest', file)
  .segments.map(segment => segment.bytes)
  .reduce((a, b) => (b.length > a.length ? b : a));
const memory = new MachineMemory(RESERVED_BYTES + (text.length + 8191));
memory.writeBytes(RESERVED_BYTES, text);

/** CPU time, not wall time: the machine may have other work. */
for (const templates of [false, true]) {
  const cache = new CodeCache(memory);
  const decoder = new BlockDecoder(cache, COSTS, templates);
  const times: number[] = [];
  let instructions = 0;
  let blocks = 0;
  for (let pass = 0; pass < (templates ? 30 : 8); pass++) {
    cache.clear();
    instructions = 0;
    blocks = 0;
    const begin = process.cpuUsage().user;
    for (let at = 0; at < text.length; ) {
      const block = decoder.decode(RESERVED_BYTES + at, 0, -1);
      if (typeof block === 'string') {
        at = (at & -4096) + 4096;
        continue;
      }
      instructions += block.instructions;
      blocks += 1;
      at += block.bytes;
    }
    times.push((process.cpuUsage().user - begin) * 1e3);
  }
  const [first] = times;
  times.sort((a, b) => a - b);
  const each = (ns: number): string => `${(ns / instructions).toFixed(0)} ns`;
  console.log(
    `${templates ? 'templates' : 'in full'}: ${blocks} blocks, ${instructions} instructions, each ${each(first!)} the first ` +
      `time, then ${each(times[times.length >> 1]!)} (median), ${each(times[0]!)} (best)`,
  );
}
