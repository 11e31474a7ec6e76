/** Runs the image of `delivery-image.ts` in QEMU and commits what it found: `npx tsx test/differential/record-delivery.ts`. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { buildDeliveryImage, DELIVERY_FIELDS, DELIVERY_SNIPPETS } from './delivery-image.js';
import { oracleFixturePath } from './oracle-fixture.js';

const folder = mkdtempSync(join(tmpdir(), 'vmitop-oracle-'));
try {
  const [image, out] = [join(folder, 'image'), join(folder, 'out')];
  writeFileSync(image, buildDeliveryImage());
  const machine = ['-kernel', image, '-m', '64', '-cpu', 'pentium3', '-display', 'none', '-no-reboot'];
  const output = ['-debugcon', `file:${out}`, '-device', 'isa-debug-exit,iobase=0xf4'];
  // isa-debug-exit ends QEMU with status 1 for the value 0.
  const { status } = spawnSync('qemu-system-i386', [...machine, ...output], { timeout: 60_000 });
  const bytes = readFileSync(out);
  const expected = DELIVERY_SNIPPETS.length * DELIVERY_FIELDS.length * 4;
  if (status !== 1 || bytes.length !== expected) throw new Error(`QEMU: status ${status}, ${bytes.length} bytes`);
  writeFileSync(oracleFixturePath('delivery'), gzipSync(bytes, { level: 9 }));
  console.log(`${DELIVERY_SNIPPETS.length} cases recorded`);
} finally {
  rmSync(folder, { recursive: true });
}
