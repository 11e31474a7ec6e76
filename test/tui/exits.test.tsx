/** The exits screen: which figures it shows, and what its keys do to them. */
import { afterEach, describe, expect, test } from 'vitest';
import { CAUSE_NAMES, CAUSES, COUNTERS, type VmSample } from '../../src/hypervisor/index.js';
import { causeDifferences, causeRows, exitsSubject, whyLine } from '../../src/tui/exits.js';
import { closeConsoles, consoleOn, shape } from './console-on.js';
import { FakeSession } from './fake-session.js';
import { causes, counters, HZ, sample, vm } from './fixtures.js';

afterEach(closeConsoles);

/** After n seconds: 1000 n cycles, of which 400 n user, 300 n for 3 n system calls and 300 n for 5 n + n faults. */
const at = (n: number, some: Partial<VmSample> = {}) =>
  vm(17, 'db-bt', {
    counters: counters({ exits: n * 9, syscallsForwarded: n * 3, trueFaults: n * 5, forwardedFaults: n }),
    causes: causes({ guestUser: n * 400, syscall: n * 300, trueFault: n * 300 }),
    chargedCycles: n * 1000,
    ...some,
  });

const rowsAt = (now: VmSample, before?: VmSample, zero?: VmSample, sort = 'cause') => {
  const subject = exitsSubject(
    now,
    sample(4 * HZ, [now]),
    before && sample(3 * HZ, [before]),
    zero && sample(2 * HZ, [zero]),
  );
  return causeRows([subject], sort);
};
const figures = (rows: ReturnType<typeof rowsAt>, cause: string) => rows.find(row => row.cause === cause)!.sides[0]!;

describe('figures', () => {
  test('count from power-on, rates between the last two samples', () => {
    const rows = rowsAt(at(40), at(10));
    expect(figures(rows, 'syscall')).toEqual({
      events: 120,
      eventsPerSecond: 90,
      cycles: 12_000,
      cyclesNow: 9_000,
      percent: 30,
      percentNow: 30,
    });
    // Several counters of one cause.
    expect(figures(rows, 'trueFault').events).toBe(40 * 6);
  });

  test('the guest’s own instructions are no events', () => {
    expect(figures(rowsAt(at(4)), 'guestUser')).toMatchObject({ events: undefined, eventsPerSecond: undefined });
  });

  test('from zero on after z, and from power-on again when the VM was restarted since', () => {
    expect(figures(rowsAt(at(40), at(10), at(5)), 'syscall')).toMatchObject({ events: 105, cycles: 10_500 });
    const restarted = at(3, { poweredOnAtCycles: 3500 });
    expect(figures(rowsAt(restarted, at(10), at(5)), 'syscall')).toMatchObject({ events: 9, cyclesNow: 900 });
  });

  test('the sum is what was charged, and 100 percent of it', () => {
    const rows = rowsAt(at(40), at(10), at(5));
    expect(rows.at(-1)!.cause).toBe('sum');
    const sum = rows.at(-1)!.sides[0]!;
    expect(sum).toMatchObject({ cycles: 35_000, cyclesNow: 30_000, percent: 100, percentNow: 100 });
    expect(rows.slice(0, -1).reduce((total, row) => total + row.sides[0]!.cycles, 0)).toBe(sum.cycles);
    // A VM that never ran: no percentage of nothing.
    expect(figures(rowsAt(vm(1, 'new')), 'sum').percent).toBe(0);
  });

  test('rows are all causes in the order of their table, or by a column', () => {
    expect(rowsAt(at(4)).map(row => row.cause)).toEqual([...CAUSE_NAMES, 'sum']);
    const byShare = rowsAt(at(4), undefined, undefined, 'share').map(row => row.cause);
    expect(byShare.slice(0, 3)).toEqual(['guestUser', 'syscall', 'trueFault']);
    expect(byShare.at(-1)).toBe('sum');
    expect(rowsAt(at(4), undefined, undefined, 'events')[0]!.cause).toBe('trueFault');
  });

  test('two VMs are compared by the time that each has run', () => {
    // 1000 cycles a second each, though one has run for a quarter of the time.
    const [long, late] = [at(4), at(1, { gid: 18, name: 'late', poweredOnAtCycles: 3 * HZ })];
    const now = sample(4 * HZ, [long, late]);
    const subjects = [long, late].map(one => exitsSubject(one, now, undefined, undefined));
    const differences = causeDifferences(subjects, causeRows(subjects, 'cause'));
    expect(differences.map(({ perSecond }) => perSecond)).toEqual(differences.map(() => 0));
    expect(whyLine(subjects, 100)).toMatch(/^late takes 0\.0% more cycles\/s than db-bt *$/);
  });

  test('every counter belongs to one cause at most, and is none that falls', () => {
    const used = CAUSE_NAMES.flatMap(cause => CAUSES[cause].counters as readonly (keyof typeof COUNTERS)[]);
    expect(new Set(used).size).toBe(used.length);
    for (const name of used) expect(COUNTERS[name]).not.toHaveProperty('gauge');
  });
});

/** Second 3 of the fixtures' host, with another second of `at` between the last two samples. */
function session(): FakeSession {
  const fake = new FakeSession();
  const figuresAt = (n: number) => {
    const { counters: counted, causes: spent, chargedCycles } = at(n);
    fake.change('db-bt', { counters: counted, causes: spent, chargedCycles });
  };
  figuresAt(2);
  fake.tick();
  figuresAt(4);
  return fake;
}

describe('the screen', () => {
  test('80x24', async () => {
    const { press } = consoleOn(80, 24, session());
    expect(`\n${shape(await press('2x'))}\n`).toBe(`
 0:00:03 up 3.000 s, 15 worlds; CPU load average: 0.21, 0.17, 0.20; speed 0.83x
EXITS : db-bt (BT, getppid); 36 exits (18/s) in 3.00 s since power-on

 CAUSE                    EVENTS    EVT/s         CYCLES  CYC/EVT  %TIME   %NOW
 guest user                    -        -           1600        -  40.00  40.00
 guest kernel                  -        -              0        -   0.00   0.00
 syscall forwarding           12      6.0           1200    100.0  30.00  30.00
 callouts                      0      0.0              0        -   0.00   0.00
 true faults                  24     12.0           1200     50.0  30.00  30.00
 hidden faults                 0      0.0              0        -   0.00   0.00
 traces                        0      0.0              0        -   0.00   0.00
 MMIO                          0      0.0              0        -   0.00   0.00
 trapped instructions          0      0.0              0        -   0.00   0.00
 hypercalls                    0      0.0              0        -   0.00   0.00
 translation                   0      0.0              0        -   0.00   0.00
 injection                     0      0.0              0        -   0.00   0.00
 host interrupts               0      0.0              0        -   0.00   0.00
 scheduling                    0      0.0              0        -   0.00   0.00
 sum                           -        -           4000        - 100.00 100.00


db-bt: 18 exits/s; booted in 250.0 ms | guest user 40%, syscall forwarding 30%
cmitxba:screens  v:toggle VMI  p:power  r:run  A:attach  s:delay  h:help  q:quit
`);
  });

  test('+ puts another VM beside it, - takes it away, and arrows change the selected one', async () => {
    const { press } = consoleOn(80, 24, session());
    expect(await press('2x+')).toContain('>1  web-vmi');
    const pair = shape(await press('1')).split('\n');
    expect(pair).toHaveLength(23);
    expect(pair.slice(1, 8)).toEqual([
      'LEFT  : db-bt (BT, getppid); 36 exits (18/s) in 3.00 s since power-on',
      'RIGHT : web-vmi (VMI, idle); 0 exits (0/s) in 3.00 s since power-on',
      '',
      ' CAUSE                 CYC/EVT  %TIME |  CYC/EVT  %TIME |   DIFF/s   %DIFF',
      // 1600 of 4000 cycles in three seconds, and none.
      ' guest user                  -  40.00 |        -   0.00 |     -533   -40.0',
      ' guest kernel                -   0.00 |        -   0.00 |       +0    +0.0',
      ' syscall forwarding      100.0  30.00 |        -   0.00 |     -400   -30.0',
    ]);
    expect(pair.at(-2)).toBe('web-vmi takes 100.0% fewer cycles/s than db-bt: guest user -40.0%');
    const next = await press('\u001b[B');
    expect(next).toContain('LEFT  : boot-bt');
    expect(next).toContain('RIGHT : web-vmi');
    // The same VM twice would say nothing.
    expect(await press('88')).toContain('EXITS : web-vmi');
    expect(await press('2-')).toContain('EXITS : db-bt');
  });

  test('of two VMs is wider where there is room', async () => {
    const { press } = consoleOn(132, 50, session());
    const lines = shape(await press('2x+1')).split('\n');
    expect(lines[4]).toBe(
      ' CAUSE                    EVENTS    EVT/s  CYC/EVT  %TIME |     EVENTS    EVT/s  CYC/EVT  %TIME |   DIFF/s   %DIFF',
    );
    expect(lines.at(-2)).toContain('guest user -40.0%, syscall forwarding -30.0%, true faults -30.0%');
  });

  test('marks a column for both VMs, and explains it', async () => {
    const { press } = consoleOn(80, 24, session());
    const marked = await press('2x+1\u001b[C\u001b[C');
    expect(shape(marked).split('\n').at(-2)).toMatch(/^EVT\/s: events per second/);
    expect(
      shape(await press('\u001b[C\u001b[C'))
        .split('\n')
        .at(-2),
    ).toMatch(/^CYC\/EVT: cycles per event/);
    expect(
      shape(await press('\u001b[D'.repeat(4)))
        .split('\n')
        .at(-2),
    ).toContain('fewer cycles/s');
  });

  test('G draws the causes that take most now, over time', async () => {
    const { press, session: fake } = consoleOn(80, 30, session());
    // The second before was of 1000 cycles as the last one: 40, 30 and 30 percent.
    const chart = await press('2xG');
    expect(chart).toMatch(/%NOW in 5 min, 3 of 14 rows/);
    // A host of three seconds is at the left edge of five minutes.
    expect(chart).toMatch(/^ +0:00:00 +0:05:00$/m);
    expect(chart).toMatch(/│[┊⠀-⣿]/);
    expect(chart).toMatch(/> A guest user, db-bt +40\.00/);
    expect(chart).toMatch(/ B syscall forwarding, db-bt +30\.00/);
    fake.tick();
    fake.change('db-bt', {
      causes: causes({ guestUser: 1600, syscall: 1200, trueFault: 1200, traceFault: 1000 }),
      chargedCycles: 5000,
    });
    const later = await press('\u001b[F');
    expect(later).toMatch(/ traces, db-bt +100\.00/);
    expect(later).toMatch(/A guest user, db-bt +0\.00/);
    // One second back.
    expect(await press('\u001b[D')).toMatch(/A guest user, db-bt +40\.00/);
    expect(await press(',')).toMatch(/EVT\/s in 5 min/);
  });

  test('z counts from now, and again from power-on', async () => {
    const { press } = consoleOn(80, 24, session());
    const zeroed = await press('2xz');
    expect(zeroed).toContain('counts are since now');
    expect(zeroed).toContain('0 exits (18/s) in 0.0 ms since z');
    expect(zeroed).toMatch(/ sum +- +- +0 +- +0\.00 100\.00/);
    expect(await press('z')).toContain('36 exits (18/s) in 3.00 s since power-on');
  });

  test('of a VM that is off says so, and one alone has nobody beside it', async () => {
    const alone = new FakeSession();
    alone.only('spare');
    const { press } = consoleOn(80, 24, alone);
    expect(await press('x')).toContain('EXITS : spare ((VMI), off); 0 exits in its last run');
    expect(await press('+')).toContain('there is no other VM on this host');
  });

  test('help names its keys, columns and causes with what is counted', async () => {
    const { press } = consoleOn(100, 110);
    const help = await press('xh');
    for (const text of ['show another VM beside', 'E:EVENTS', 'CYC/EVT', CAUSES.trap.help, COUNTERS.tcExits.help])
      expect(help).toContain(text);
    await press('q');
    expect(await press('ch')).not.toContain('show another VM beside');
  });
});

test('P holds any screen still, and lets it go on', async () => {
  const { press, session: fake, screen } = consoleOn(80, 24, session());
  expect(await press('P')).toContain('paused; P goes on');
  fake.tick();
  expect(await press('2')).toContain(' 0:00:03 up 3.000 s');
  // What is done is done to the VM as it is now.
  fake.change('db-bt', { vmiConfigured: true });
  await press('v');
  expect(fake.commands).toEqual([{ kind: 'setVmi', vm: 'db-bt', enabled: false }]);
  expect(await press('P')).toContain(' 0:00:04 up 4.000 s');
  expect(screen()).not.toContain('paused');
});
