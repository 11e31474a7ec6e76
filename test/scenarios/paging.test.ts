/** Access rights, error codes and accessed and dirty flags by the manual, whoever runs the guest. */
import { expect, test } from 'vitest';
import { createHost } from '../../src/hypervisor/index.js';
import { expectedLines, type FormatName, pagingImage } from './paging-guest.js';
import { consoleOf, findings, MODES } from './run-guest.js';

/** PAE tables are nothing for the VMI. */
const CASES = MODES.flatMap(mode =>
  (['two-level', 'PAE'] as const satisfies readonly FormatName[])
    .filter(format => mode !== 'vmi' || format !== 'PAE')
    .map(format => [format, mode] as const),
);

test.each(CASES)(
  'every access through every entry of %s tables does under %s what the manual says',
  {
    timeout: 300_000,
  },
  (format, mode) => {
    const host = createHost({
      name: 'test',
      pcpus: 1,
      memoryMib: 128,
      costs: 'xeon-5160',
      images: { image: pagingImage(format) },
      vms: [
        {
          name: 'vm',
          memoryMib: 16,
          monitor: mode === 'vmi' ? 'bt' : mode,
          vmi: mode === 'vmi',
          image: 'image',
          append: '',
          powerOn: true,
        },
      ],
      sampleIntervalMs: 1000,
      auditEveryQuanta: 10,
    });
    let { mode: ranAs } = host.sample().vms[0]!;
    while (host.anyPoweredOn && host.nowCycles < 5 * host.cyclesPerSecond) {
      host.advance(host.nowCycles + host.quantumCycles);
      if (host.anyPoweredOn) ranAs = host.sample().vms[0]!.mode;
    }
    const events = host.drainEvents();
    expect(host.sample().vms[0]).toMatchObject({ power: 'off', crashReason: undefined });
    expect(ranAs).toBe(mode);
    expect(findings(events)).toEqual([]);
    const printed = consoleOf(events).trimEnd().split('\n');
    const expected = expectedLines(format);
    const wrong = expected.flatMap(({ name, text }, n) =>
      text === printed[n] ? [] : [`${name}\n${printed[n]}\n${text}`],
    );
    expect([wrong.length, ...wrong.slice(0, 4)]).toEqual([0]);
    expect(printed.length).toBe(expected.length);
  },
);
