/** Whole frames at two sizes, and what keys do to them, without a terminal. */
import { afterEach, describe, expect, test } from 'vitest';
import { COLOUR_THEME, PLAIN_THEME, REVERSE_THEME, themeFor } from '../../src/tui/theme.js';
import { closeConsoles, consoleOn, shape } from './console-on.js';
import { FakeSession } from './fake-session.js';

afterEach(closeConsoles);

describe('CPU screen', () => {
  test('80x24', () => {
    expect(`\n${shape(consoleOn().screen())}\n`).toBe(`
 0:00:02 up 2.000 s, 15 worlds; CPU load average: 0.21, 0.17, 0.20; speed 0.83x
PCPU(%):  50.00,   0.00 ;   used total:  25.00

  GID NAME     NWLD  %USED   %RUN   %SYS  %WAIT   %RDY  %IDLE MODE  GUEST
>  16 web-vmi     3   2.00   2.00   0.20 298.00   0.00 198.00 VMI   idle
   17 db-bt       3  60.00  60.00   6.00 225.00  15.00 125.00 BT    getppid
   18 boot-bt     3  30.00  30.00   3.00 268.00   2.00 168.00 BT*   booting
   19 spare       0   0.00   0.00   0.00   0.00   0.00   0.00 (VMI) off
   20 broken      0   0.00   0.00   0.00   0.00   0.00   0.00 (BT)  crashed
${'\n'.repeat(11)}
web-vmi: 0 exits/s; booted in 250.0 ms
cmitxba:screens  v:toggle VMI  p:power  r:run  A:attach  s:delay  h:help  q:quit
`);
  });

  test('132x50 shows every column', () => {
    const lines = shape(consoleOn(132, 50).screen()).split('\n');
    expect(lines).toHaveLength(49);
    expect(lines.slice(3, 6)).toEqual([
      '    ID  GID NAME             NWLD  %USED   %RUN   %SYS  %WAIT   %RDY  %IDLE %OVRLP  %CSTP %MLMTD MODE     GUEST',
      '>   16   16 web-vmi             3   2.00   2.00   0.20 298.00   0.00 198.00   0.00   0.00   0.00 VMI      idle',
      '    17   17 db-bt               3  60.00  60.00   6.00 225.00  15.00 125.00   0.00   0.00   0.00 BT       getppid',
    ]);
    expect(lines.at(-1)).toBe(
      'c:CPU  m:memory  i:interrupt  t:timer  x:exits  b:code  a:activity  v:toggle VMI  p:power  r:run  A:attach  s:delay  h:help  q:quit',
    );
  });

  test('e expands the selected VM into its worlds and rolls it up again', async () => {
    const { press } = consoleOn();
    await press('2');
    const expanded = shape(await press('e')).split('\n');
    expect(expanded.slice(5, 9)).toEqual([
      '>  17 db-bt       3  60.00  60.00   6.00 225.00  15.00 125.00 BT    getppid',
      '   17  vmm0       1  60.00  60.00   6.00  25.00  15.00  25.00       run cpu2',
      '   17  vcpu0      1   0.00   0.00   0.00 100.00   0.00 100.00       wait',
      '   17  vmx        1   0.00   0.00   0.00 100.00   0.00   0.00       wait',
    ]);
    expect(await press('e')).not.toContain('vmm0');
    // The worlds of a VM that is off are gone.
    expect(await press('22e')).not.toContain('vmm0');
  });
});

test('memory screen 80x24', async () => {
  const lines = shape(await consoleOn().press('m')).split('\n');
  expect(lines).toHaveLength(23);
  expect(lines.slice(1, 7)).toEqual([
    'PMEM  /MB:  5120   total:   256     vmk,   100 other,  4764  free',
    'VMKMEM/MB:  4864 managed:   307 minfree,   200  rsvd,  4664 ursvd,  high state',
    'OVHD  /MB:    30    curr:   160     max,     3 shadow,     5    tc',
    '',
    '  GID NAME           MEMSZ    GRANT     TCHD     OVHD  OVHDMAX   SHADOW       TC',
    '>  16 web-vmi       256.00    20.00    12.80     6.00    32.00     0.50     1.00',
  ]);
});

test('interrupt screen 80x24: a row for each line of each VM', async () => {
  const { press } = consoleOn();
  const lines = shape(await press('i')).split('\n');
  expect(lines).toHaveLength(23);
  expect(lines.slice(1, 10)).toEqual([
    'INT   /s:    280 delivered on 3 lines;  host:      0 timers',
    '',
    '  GID NAME             IRQ VECTOR   COUNT/s      COUNT DEVICES',
    '>  16 web-vmi            0   0x20     30.00         60 pit, vmi-alarm',
    '   16 web-vmi            1   0x21      0.00          0 keyboard',
    '   16 web-vmi            4   0x24      0.00          4 com1',
    '   17 db-bt              0   0x20    240.00        480 pit',
    '   17 db-bt              1   0x21      0.00          0 keyboard',
    '   17 db-bt              4   0x24     10.00         20 com1',
  ]);
  // Sorted by rate; the detail line and the other screens are about the VM of the row.
  const sorted = shape(await press('R')).split('\n');
  expect(sorted[4]).toContain('db-bt              0');
  expect(sorted[4]).toMatch(/^ /);
  expect(await press('8')).toContain('db-bt: 12.3k exits/s');
  expect(await press('c')).toMatch(/^> +17 db-bt/m);
  expect(await press('i')).toMatch(/^> +17 db-bt +0 /m);
  expect(await press('24')).not.toMatch(/web-vmi +0 /);
});

test('timer screen 80x24', async () => {
  const lines = shape(await consoleOn().press('t')).split('\n');
  expect(lines).toHaveLength(23);
  expect(lines.slice(1, 7)).toEqual([
    'TIMER /s:    600 requested:   270 dlvd,    30 wake-ups;  backlog: 3',
    'SOURCES : 1 vmi-alarm, 2 pit',
    '',
    '  GID NAME       MODE  SOURCE      REQ/s  DLVD/s BACKLOG  LAG(ms)  %STLN  WAKE/s',
    '>  16 web-vmi    VMI   vmi-alarm   100.0    30.0       0     0.00   0.00    30.0',
    '   17 db-bt      BT    pit         250.0   240.0       3    12.00  15.00     0.0',
  ]);
});

test('every frame has one line less than the terminal, and none is too wide', async () => {
  for (const [columns, rows] of [
    [80, 24],
    [100, 30],
    [132, 50],
    [79, 24],
    [40, 10],
    [8, 3],
  ] as const) {
    const { press } = consoleOn(columns, rows);
    for (const keys of [
      '',
      'm',
      't',
      'c',
      'e',
      'h',
      ' ',
      'x',
      'p',
      '\u001b',
      'r',
      '\u001b',
      's',
      '\r',
      'A',
      '\u001d',
    ]) {
      const lines = (await press(keys)).split('\n');
      expect(lines, `${columns}x${rows} after ${JSON.stringify(keys)}`).toHaveLength(rows - 1);
      expect(Math.max(...lines.map(line => line.length))).toBeLessThanOrEqual(columns);
    }
  }
});

test('a terminal that is too small says so', () => {
  expect(consoleOn(70, 20).screen()).toContain('vmitop needs 80x24 cells,\nthis terminal has 70x20.');
});

describe('selection', () => {
  test('moves with arrows and 2/8, stays on its VM when the order changes, and drives the detail line', async () => {
    const { press } = consoleOn();
    expect(await press('2')).toContain('db-bt: 12.3k exits/s');
    expect(await press('\u001b[B')).toContain('boot-bt: 0 exits/s');
    expect(await press('8')).toContain('db-bt: 12.3k exits/s');
    expect(await press('U')).toContain('db-bt: 12.3k exits/s');
    expect(await press('8')).toContain('db-bt: 12.3k exits/s'); // the first row by %USED
    expect(await press('\u001b[F')).toContain('broken crashed: triple fault');
  });

  test('scrolls a long list', async () => {
    const { press } = consoleOn();
    for (const _ of [1, 2, 3, 4, 5]) await press('e2222');
    const frame = await press('\u001b[6~');
    expect(frame).toContain('broken crashed');
    expect(frame).toContain('crashed\n');
    expect(await press('\u001b[5~')).toContain('web-vmi  ');
  });
});

describe('v toggles VMI', () => {
  test('at once on a VM that is off', async () => {
    const { press, session } = consoleOn();
    const frame = await press('222v');
    expect(session.commands).toEqual([{ kind: 'setVmi', vm: 'spare', enabled: false }]);
    expect(frame).toContain('spare: VMI: off');
    expect(frame).toMatch(/spare .*\(BT\) +off/);
  });

  test('on a running VM at the next power-on, with an offer to restart', async () => {
    const { press, session } = consoleOn();
    const asked = await press('2v');
    expect(asked).toContain('VMI: on at next power-on. Restart it now, losing its state? (y/n)');
    expect(asked).toMatch(/db-bt .* BT\* /);
    expect(await press('n')).toContain('db-bt: VMI: on at next power-on');
    expect(session.commands).toEqual([{ kind: 'setVmi', vm: 'db-bt', enabled: true }]);
  });

  test('y restarts: off, then on', async () => {
    const { press, session } = consoleOn();
    await press('2v');
    const frame = await press('y');
    expect(session.commands.map(command => command.kind)).toEqual(['setVmi', 'powerOff', 'powerOn']);
    expect(frame).toContain('db-bt restarted with VMI on');
    expect(frame).toMatch(/db-bt .* booting/);
  });

  test('taking the change back needs no restart', async () => {
    const { press, session } = consoleOn();
    const frame = await press('22v');
    expect(session.commands).toEqual([{ kind: 'setVmi', vm: 'boot-bt', enabled: false }]);
    expect(frame).toContain('boot-bt: VMI stays off at next power-on');
    expect(frame).not.toContain('y/n');
  });

  test('a refusal is shown as it came', async () => {
    const { press, session } = consoleOn();
    session.refuse = 'db-bt runs natively: there is no monitor to offer VMI';
    const frame = await press('2v');
    expect(frame).toContain('db-bt runs natively: there is no monitor to offer VMI');
    expect(frame).not.toContain('y/n');
  });
});

describe('p opens the power menu', () => {
  test('which offers what the state allows', async () => {
    const { press } = consoleOn();
    const on = await press('p');
    for (const entry of ['power off', 'reset']) expect(on).toContain(entry);
    expect(on).not.toContain('power on ');
    await press('\u001b');
    const off = await press('222p');
    expect(off).toContain('1  power on');
    expect(off).not.toContain('power off');
    await press('\u001b');
    const crashed = await press('2p');
    expect(crashed).toContain('Power of broken (crashed)');
    expect(crashed).toContain('1  power on');
    expect(crashed).not.toContain('reset');
  });

  test('and asks before a guest’s state is lost', async () => {
    const { press, session } = consoleOn();
    expect(await press('p1')).toContain('power off web-vmi: its guest’s state is lost. Sure? (y/n)');
    await press('x');
    expect(session.commands).toEqual([]);
    await press('p');
    await press('\u001b[B\r');
    expect(await press('y')).toContain('web-vmi was reset');
    expect(session.commands).toEqual([{ kind: 'reset', vm: 'web-vmi' }]);
  });

  test('and offers the other monitor for the next power-on', async () => {
    const { press, session } = consoleOn();
    expect(await press('2p')).toContain('4  hardware assist');
    const frame = await press('4');
    expect(session.commands).toEqual([{ kind: 'setMonitor', vm: 'db-bt', monitor: 'hv' }]);
    expect(frame).toContain('db-bt: hardware assist at next power-on');
    expect(frame).toMatch(/db-bt .* BT\* /);
    const back = await press('p4');
    expect(session.commands.at(-1)).toEqual({ kind: 'setMonitor', vm: 'db-bt', monitor: 'bt' });
    expect(back).toContain('db-bt: binary translation at next power-on');
    expect(back).toMatch(/db-bt .* BT +/);
  });

  test('which a VM with VMI does not use, and a native one has not', async () => {
    const { press, session } = consoleOn();
    expect(await press('222p2')).toContain('spare: hardware assist, once VMI is off');
    session.change('broken', { monitor: 'native', mode: 'native' });
    const menu = await press('2p');
    expect(menu).toContain('Power of broken');
    expect(menu).not.toMatch(/hardware assist|binary translation/);
  });

  test('and changes CPU resources, which the host has the last word on', async () => {
    const { press, session } = consoleOn();
    const menu = await press('p\u001b[B\u001b[B\u001b[B\u001b[B\r');
    expect(menu).toContain('CPU resources of web-vmi');
    expect(menu).toMatch(/shares +1000 /);
    expect(menu).toMatch(/limit +none /);
    expect(await press('3')).toContain('CPU limit (MHz) of web-vmi:');
    expect(await press('1500\r')).toContain('web-vmi: CPU limit (MHz) 1500');
    expect(await press('p\u001b[B\u001b[B\u001b[B\u001b[B\r1high\r')).toContain('web-vmi: CPU shares 2000');
    expect(await press('p\u001b[B\u001b[B\u001b[B\u001b[B\r3none\r')).toContain('web-vmi: CPU limit (MHz) none');
    expect(await press('p\u001b[B\u001b[B\u001b[B\u001b[B\r2much\r')).toContain(
      'CPU reservation (MHz) cannot be "much"',
    );
    expect(session.commands).toEqual([
      { kind: 'setCpu', vm: 'web-vmi', limitMhz: 1500 },
      { kind: 'setCpu', vm: 'web-vmi', shares: 2000 },
      { kind: 'setCpu', vm: 'web-vmi', limitMhz: null },
    ]);
    session.refuse = 'web-vmi reserves 9 MHz, and 5 MHz of the host are unreserved';
    expect(await press('p\u001b[B\u001b[B\u001b[B\u001b[B\r29\r')).toContain('and 5 MHz of the host are unreserved');
  });

  test('and puts a VM away and has it go on, or forgets it after a question', async () => {
    const { press, session } = consoleOn();
    expect(await press('p3')).toContain('web-vmi is suspended');
    session.change('web-vmi', { power: 'suspended', guestState: 'suspended' });
    const menu = await press('p');
    expect(menu).toContain('Power of web-vmi (suspended)');
    expect(menu).not.toMatch(/power on|reset|hardware assist/);
    expect(await press('1')).toContain('web-vmi goes on');
    session.change('web-vmi', { power: 'suspended', guestState: 'suspended' });
    expect(await press('p2')).toContain('discard web-vmi: its guest’s state is lost. Sure? (y/n)');
    await press('y');
    expect(session.commands.map(({ kind }) => kind)).toEqual(['suspend', 'resume', 'powerOff']);
  });

  test('but not before switching on', async () => {
    const { press, session } = consoleOn();
    expect(await press('222p1')).toMatch(/spare .* booting/);
    expect(session.commands).toEqual([{ kind: 'powerOn', vm: 'spare' }]);
  });
});

describe('r runs a program', () => {
  test('by typing its name at an idle guest’s shell', async () => {
    const { press, session } = consoleOn();
    const menu = await press('r');
    expect(menu).toContain(' Run a program in web-vmi');
    expect(menu).toContain(' >1  getppid  system calls');
    expect(await press('\u001b[B')).toContain(' >2  spin     user mode only');
    expect(await press('\r')).toContain('spin typed at the shell of web-vmi');
    expect(session.commands).toEqual([{ kind: 'type', vm: 'web-vmi', text: 'spin\n' }]);
  });

  test.each([
    ['2r', 'db-bt is running getppid'],
    ['22r', 'boot-bt is still booting'],
    ['222r', 'spare is off'],
    ['2222r', 'broken is crashed'],
  ])('and %s says why not', async (keys, reason) => {
    const { press, session } = consoleOn();
    expect(await press(keys)).toContain(reason);
    expect(session.commands).toEqual([]);
  });

  test('from a list longer than the screen', async () => {
    const many = Array.from({ length: 30 }, (_, index) => ({ name: `program-${index}`, help: 'x'.repeat(100) }));
    const { press, session } = consoleOn(80, 24, new FakeSession(), many);
    const frame = await press(`r${'\u001b[B'.repeat(29)}`);
    expect(frame).toContain('>   program-29');
    expect(frame.split('\n')).toHaveLength(23);
    await press('\r');
    expect(session.commands).toEqual([{ kind: 'type', vm: 'web-vmi', text: 'program-29\n' }]);
  });
});

describe('a attaches to the guest’s console', () => {
  test('all keys but two scroll keys and Ctrl-] go to the guest', async () => {
    const { press, session, calls } = consoleOn();
    const frame = await press('A');
    expect(frame).toContain(' Console of web-vmi (VMI, idle)');
    expect(frame).toContain('VMI: Found VMware ROM');
    await press('q\u0003h\r');
    await press('\u001b[A');
    expect(session.commands).toEqual([
      { kind: 'type', vm: 'web-vmi', text: 'q\u0003h\r' },
      { kind: 'type', vm: 'web-vmi', text: '\u001b[A' },
    ]);
    expect(calls).toEqual([]);
    expect(await press('x\u001dm')).toContain('PMEM');
    expect(session.commands.at(-1)).toEqual({ kind: 'type', vm: 'web-vmi', text: 'x' });
  });

  test('Ctrl-T shows its text screen, with the cursor, and the serial line again', async () => {
    const { press, session } = consoleOn();
    session.textScreen = vm => ({
      ok: true,
      lines: [`VGA of ${vm}`, '', 'third line'],
      cursor: { row: 2, column: 10 },
    });
    await press('A');
    await press('\u0014');
    const screen = await press('x');
    expect(screen).toContain(' Text screen of web-vmi (VMI, idle)');
    expect(screen).toContain('VGA of web-vmi');
    expect(screen).toContain('third line');
    expect(screen).not.toContain('VMI: Found VMware ROM');
    // Other keys still go to the guest.
    expect(session.commands).toEqual([{ kind: 'type', vm: 'web-vmi', text: 'x' }]);
    expect(await press('\u0014')).toContain('VMI: Found VMware ROM');
    expect(await press('\u001d')).toContain('PCPU');
  });

  test('a text screen that cannot be had says why', async () => {
    const { press } = consoleOn();
    await press('A');
    await press('\u0014');
    expect(await press('\u001b[6~')).toContain('web-vmi is off');
  });

  test('and scrolls back', async () => {
    const { press, session } = consoleOn();
    session.print('web-vmi', Array.from({ length: 100 }, (_, index) => `line ${index}\n`).join(''));
    expect(await press('A')).toContain('line 99');
    const back = await press('\u001b[5~');
    expect(back).toContain('10 lines back');
    expect(back).not.toContain('line 99');
    expect(await press(`${'\u001b[5~'.repeat(30)}`)).toContain('Vmilinux version');
    expect(await press(`${'\u001b[6~'.repeat(30)}`)).toContain('line 99');
  });
});

describe('general keys', () => {
  test('s asks for a delay, and checks it', async () => {
    const { press, session } = consoleOn();
    expect(await press('s')).toContain('Change delay from 1 to:');
    expect(await press('0.25\r')).toContain('delay 0.25 s');
    expect(session.commands).toEqual([{ kind: 'setSampleInterval', ms: 250 }]);
    expect(await press('s0.01\r')).toContain('the delay can be 0.1 to 3600 seconds');
    expect(await press('s5\u001b')).not.toContain('Change delay');
    expect(session.commands).toHaveLength(1);
  });

  test('space updates, ^L draws anew, q and ^C quit', async () => {
    const { press, session, calls } = consoleOn();
    await press(' ');
    expect(session.refreshes).toBe(1);
    await press('\u000cq\u0003');
    expect(calls).toEqual(['redraw', 'quit', 'quit']);
  });

  test('f chooses the fields of the screen, under esxtop’s letters', async () => {
    const { press } = consoleOn(132, 30);
    const dialog = await press('f');
    expect(dialog).toContain('Current Field order: ABCDEfghIJ');
    expect(dialog).toMatch(/\* E: +%STATE TIMES +CPU State Times +%USED %RUN %SYS /);
    expect(dialog).toMatch(/ {3}F: +EVENT COUNTS\/s +CPU Event Counts +SWTCH\/s /);
    expect(dialog).toContain('Toggle fields with a-j, any other key to return:');
    const toggled = await press('fE');
    expect(toggled).toContain('Current Field order: ABCDeFghIJ');
    expect(toggled).toMatch(/ {3}E: +%STATE TIMES +CPU State Times /);
    const table = await press('\r');
    expect(table).toContain(' SWTCH/s ');
    expect(table).not.toMatch(/%USED|%RUN/);
    // Each screen has its own.
    expect(await press('xfa ')).not.toContain('EVENTS');
    expect(await press('fa ')).toContain('EVENTS');
    expect(await press('c')).not.toContain('%USED');
    expect(await press('bf')).toContain('the columns of this screen are not to be chosen');
  });

  test('a field of esxtop’s that the host has nothing for is named and stays off', async () => {
    const { press } = consoleOn();
    expect(await press('mf')).toMatch(/ {3}J: +SWAP STATS +Swap Statistics +\(not on this host\)/);
    expect(await press('j')).toContain('Current Field order: aBCdefGHijklMN');
  });

  test('the last field stays', async () => {
    const { press } = consoleOn();
    expect(await press('mfbcghmnn')).toContain('Current Field order: abcdefghijklmN');
    expect(await press(' ')).toMatch(/\n +SHADOW +TC\n/);
  });

  test('o moves a field: upper case left, lower case right, and not over the edge', async () => {
    const { press } = consoleOn();
    expect(await press('o')).toContain('Current Field order: ABCDEfghIJ');
    const moved = await press('JJJJ');
    expect(moved).toContain('Current Field order: ABCDEJfghI');
    expect(moved).toMatch(/E: +%STATE TIMES.*\n +\* J: +GUEST /);
    expect(await press('JaA')).toContain('Current Field order: ABCDJEfghI');
    expect(await press('A')).toContain('Current Field order: ABCDJEfghI');
    expect(await press(' ')).toMatch(/NWLD GUEST +%USED/);
  });

  test('h shows every key and column of the screen', async () => {
    const { press } = consoleOn(80, 90);
    const help = await press('h');
    for (const text of ['turn VMI of the VM on or off', 'U:%USED', 'R:%RDY', 'm:memory', '%MLMTD', 'GUEST']) {
      expect(help).toContain(text);
    }
    expect(await press('q')).toContain('PCPU(%)');
  });

  test('help longer than the screen scrolls, and not beyond its end', async () => {
    const { press } = consoleOn();
    expect(await press('h')).not.toContain('GUEST ');
    expect(await press('          ')).toContain('GUEST ');
  });

  test('an unknown key and B say something', async () => {
    const { press } = consoleOn();
    expect(await press('z')).toContain('no command on key z');
    expect(await press('mB')).toContain('MCTLSZ: no guest has a balloon driver yet');
  });
});

describe('the host', () => {
  test('reports crashes and audit findings wherever the operator is', async () => {
    const { session, screen } = consoleOn();
    session.event({ kind: 'power', atCycles: 5, vm: 'db-bt', state: 'crashed', reason: 'triple fault at 0x7c00' });
    await new Promise(resolve => setTimeout(resolve, 100));
    expect(screen()).toContain('db-bt crashed: triple fault at 0x7c00');
  });

  test('that reports many times a second draws few frames, and news at once', async () => {
    const { session, controller } = consoleOn();
    let frames = 0;
    controller.subscribe(() => {
      frames += 1;
    });
    const report = async (times: number) => {
      for (let i = 0; i < times; i++) {
        session.tell();
        await new Promise(resolve => setTimeout(resolve, 5));
      }
    };
    session.tick();
    await report(40); // 200 ms: the new sample, and no more than the speed after it
    expect(frames).toBeGreaterThanOrEqual(1);
    expect(frames).toBeLessThanOrEqual(2);
    const before = frames;
    session.tick();
    await report(20);
    expect(frames).toBeGreaterThan(before);
  });

  test('that is gone leaves its reason on the screen, and keys still work', async () => {
    const { session, press, calls } = consoleOn();
    session.failed = 'the host ended: unhandled case';
    expect(await press('m')).toContain('the host ended: unhandled case');
    await press('q');
    expect(calls).toEqual(['quit']);
  });

  test('without a sample yet is waited for, and asked for one', () => {
    const session = new FakeSession();
    (session as { latest: unknown }).latest = () => undefined;
    expect(consoleOn(80, 24, session).screen()).toContain('Waiting for the first sample');
    expect(session.refreshes).toBe(1);
  });

  test('that needs longer for an interval than the clock on the wall is asked for samples', async () => {
    const { session } = consoleOn();
    await new Promise(resolve => setTimeout(resolve, 1200));
    expect(session.refreshes).toBe(1);
    session.tick();
    await new Promise(resolve => setTimeout(resolve, 1000));
    expect(session.refreshes).toBeLessThanOrEqual(2);
  });
});

test('NO_COLOR keeps reverse video and drops colour', () => {
  const LANG = 'C.UTF-8';
  expect(themeFor({ TERM: 'xterm', LANG, NO_COLOR: '1' })).toEqual(REVERSE_THEME);
  expect(themeFor({ TERM: 'xterm', LANG, NO_COLOR: '' })).toEqual(COLOUR_THEME);
  expect(themeFor({ TERM: 'dumb', LANG })).toEqual({ ...PLAIN_THEME, ascii: true });
  expect(themeFor({ TERM: 'xterm' }).ascii).toBe(true);
  expect(themeFor({ TERM: 'xterm', LANG, LC_ALL: 'C' }).ascii).toBe(true);
  expect(themeFor({ TERM: 'linux', LANG }).ascii).toBe(true);
  expect(REVERSE_THEME.alarm('x')).not.toMatch(/\[3\dm/);
});
