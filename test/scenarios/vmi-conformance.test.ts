/**
 * The kernel that checks a VMI ROM as an unmodified one would use it (src/guest/vmi-conformance): every call by patched sites, and
 * the pitfalls of kernels that were built for the interface.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { createHost, type Host, type HostEvent, type Mode } from '../../src/hypervisor/index.js';
import { CALLS } from '../../src/hypervisor/monitor/vmi/calls.js';
import { type EngineSetting, inSetting } from '../engine-setting.js';
import { consoleOf, findings } from './run-guest.js';

const IMAGE = readFileSync(new URL('../../fixtures/vmi-conformance.elf', import.meta.url));
/** It takes 55. */
const QUANTA_MAX = 200;
/** Those that concern a hypervisor; the last two of the list are properties of Linux versions. */
const PITFALLS = Array.from({ length: 30 }, (_, index) => index + 1);

interface Run {
  readonly lines: readonly string[];
  readonly events: readonly HostEvent[];
  readonly host: Host;
}

function run(mode: Mode, append = '', setting: EngineSetting = 'normal', apic = true): Run {
  const monitor = mode === 'vmi' ? 'bt' : mode;
  const vm = {
    name: 'vm',
    memoryMib: 16,
    monitor,
    vmi: mode === 'vmi',
    image: 'image',
    append,
    apic,
    powerOn: true,
  } as const;
  const host = inSetting(setting, () =>
    createHost({
      name: 'test',
      pcpus: 1,
      memoryMib: 256,
      costs: 'xeon-5160',
      images: { image: new Uint8Array(IMAGE) },
      vms: [vm],
      sampleIntervalMs: 10,
      auditEveryQuanta: 1,
    }),
  );
  const events: HostEvent[] = [];
  const isOver = () => events.some(event => event.kind === 'power' && event.state !== 'on');
  for (let i = 0; i < QUANTA_MAX && !isOver(); i++) {
    host.advance(host.nowCycles + host.quantumCycles);
    events.push(...host.drainEvents());
  }
  return { lines: consoleOf(events).trimEnd().split('\n'), events, host };
}

test('the image is the one that its hash names', () => {
  const [expected] = readFileSync(new URL('../../fixtures/vmi-conformance.sha256', import.meta.url), 'utf8').split(' ');
  expect(createHash('sha256').update(IMAGE).digest('hex')).toBe(expected);
});

describe('under VMI', () => {
  let vmi: Run;
  let pae: Run;
  beforeAll(() => {
    vmi = run('vmi');
    pae = run('vmi', 'pae');
  });

  test('no check fails, and none is missing at the end', () => {
    expect(vmi.lines.filter(line => line.startsWith('FAIL'))).toEqual([]);
    const passed = vmi.lines.filter(line => line.startsWith('ok ')).length;
    expect(vmi.lines.at(-1)).toBe(`PASS ${passed}`);
    // Three lines a call come of patching alone.
    expect(passed).toBeGreaterThan(3 * CALLS.length + 250);
  });

  test('every call of the list is checked, each offered one by more than its relocation', () => {
    const linesOf = (name: string) => [...vmi.lines, ...pae.lines].filter(line => line.startsWith(`ok ${name}: `));
    for (const { name } of CALLS) {
      const behaviour = linesOf(name).filter(line => !/relocation|is no jump|has code/.test(line));
      expect(behaviour.length, name).toBeGreaterThan(0);
    }
    for (const { name, how } of CALLS.filter(call => call.how === 'none' && call.name !== 'RDPMC'))
      expect(
        linesOf(name).some(line => line.includes('is not offered')),
        `${name} ${how}`,
      ).toBe(true);
  });

  test('every pitfall that concerns a hypervisor is checked', () => {
    const named = new Set(
      vmi.lines.flatMap(line => [...(/\(pitfalls? ([\d, ]+)\)/.exec(line)?.[1] ?? '').matchAll(/\d+/g)].map(Number)),
    );
    expect(PITFALLS.filter(pitfall => !named.has(pitfall))).toEqual([]);
  });

  test('on PAE tables no check fails either, and the forms of the calls for them are checked', () => {
    expect(pae.lines.filter(line => line.startsWith('FAIL'))).toEqual([]);
    const passed = pae.lines.filter(line => line.startsWith('ok ')).length;
    expect(pae.lines.at(-1)).toBe(`PASS ${passed}`);
    for (const name of ['SetPxELong', 'UpdatePxELong']) {
      expect(pae.lines).toContain(`ok ${name}: is offered where there is PAE`);
      expect(pae.lines).toContain(`ok ${name}: with the wrong level changes a directory (pitfall 7)`);
    }
    expect(findings(pae.events)).toEqual([]);
    expect(pae.host.sample().vms[0]).toMatchObject({ power: 'off', mode: 'vmi', vmiActive: true });
  });

  test('a VM without a local APIC passes, too, and more than its calls are the same', () => {
    const { lines, events } = run('vmi', '', 'normal', false);
    expect(lines.filter(line => line.startsWith('FAIL'))).toEqual([]);
    expect(lines.at(-1)).toMatch(/^PASS/);
    expect(findings(events)).toEqual([]);
    const apicLines = (all: readonly string[]) => all.filter(line => /^ok APIC|LVTT/.test(line));
    expect(apicLines(lines)).not.toEqual(apicLines(vmi.lines));
    expect(lines.filter(line => /^ok SetPxE:/.test(line))).toEqual(vmi.lines.filter(line => /^ok SetPxE:/.test(line)));
  });

  test('the audits find nothing, and Shutdown ends it', () => {
    expect(findings(vmi.events)).toEqual([]);
    expect(vmi.host.sample().vms[0]).toMatchObject({ power: 'off', mode: 'vmi', vmiActive: true });
    expect(vmi.events.at(-1)).toMatchObject({ kind: 'power', state: 'off', reason: 'powered off by the guest' });
  });

  test.each(['never', 'always', 'later'] as const)('the same bytes with the engine setting "%s"', setting => {
    for (const [append, normal] of [
      ['', vmi],
      ['pae', pae],
    ] as const) {
      const other = run('vmi', append, setting);
      expect(other.events).toEqual(normal.events);
      expect(other.host.guestDigest('vm')).toBe(normal.host.guestDigest('vm'));
    }
  });

  test('on its command line Reboot ends it instead', () => {
    const { events, lines } = run('vmi', 'end=reset');
    // The machine that comes up at once begins again.
    expect(lines).toContain(vmi.lines.at(-1));
    expect(events.filter(event => event.kind === 'power').map(event => event.reason)).toContain('reset by the guest');
  });
});

test.each(['native', 'bt', 'hv'] as const)('under %s without VMI there is no ROM, and it says so', mode => {
  const { lines, events, host } = run(mode);
  expect(lines).toEqual(['vmi-conformance', 'no VMI ROM between 0xc0000 and 0xe0000: this kernel stays native']);
  expect(host.sample().vms[0]).toMatchObject({ power: 'off', vmiActive: false });
  expect(findings(events)).toEqual([]);
});
