/** The disk and network screens, over VMs with virtual disks and network cards made by hand. */
import { afterEach, describe, expect, test } from 'vitest';
import { diskRows, portRows } from '../../src/tui/io-rows.js';
import { closeConsoles, consoleOn, shape } from './console-on.js';
import { FakeSession } from './fake-session.js';
import { disk, HZ, nic, sample, vm } from './fixtures.js';

afterEach(closeConsoles);

/** db-bt has two disks and a card, web-vmi one of each. */
function withDevices(): FakeSession {
  const session = new FakeSession();
  session.change('web-vmi', { disks: [disk('scsi0:0', { reads: 20 })], nics: [nic(1, { receivedDropped: 50 })] });
  session.change('db-bt', {
    disks: [disk('scsi0:0'), disk('scsi0:1', { reads: 0, writes: 0, flushes: 0, outstanding: 0 })],
    nics: [nic(2, { sentBytes: 0, sentPackets: 0, sentDropped: 0 })],
  });
  return session;
}

const table = (frame: string, count: number) =>
  shape(frame)
    .split('\n')
    .slice(1, 1 + count);

test('u: a row for each virtual disk', async () => {
  const { press } = consoleOn(132, 60, withDevices());
  expect(table(await press('u'), 6)).toEqual([
    'DISK  /s:     84.00 commands,    12.00 MB read,     3.00 MB written;  6 active',
    '',
    ' DEVICE                       ACTV   CMDS/s  READS/s WRITES/s MBREAD/s MBWRTN/s DAVG/cmd QAVG/cmd GAVG/cmd',
    '>web-vmi scsi0:0                 3    32.00    20.00    10.00     4.00     1.00     3.25     1.63     4.88',
    ' db-bt scsi0:0                   3    52.00    40.00    10.00     4.00     1.00     2.00     1.00     3.00',
    ' db-bt scsi0:1                   0     0.00     0.00     0.00     4.00     1.00     0.00     0.00     0.00',
  ]);
  // As in esxtop r sorts here, and starts no program.
  const sorted = table(await press('r'), 6);
  expect(sorted[3]).toMatch(/^ db-bt scsi0:0 /);
  expect(await press('h')).toMatch(/Sort by: +r:READS\/s +w:WRITES\/s/);
  expect(await press('qcr')).toContain('Run a program in web-vmi');
});

test('d: a row for each virtual adapter, with the sums over its disks', async () => {
  const { press } = consoleOn(132, 24, withDevices());
  const lines = table(await press('d'), 5).slice(2);
  expect(lines[0]).toMatch(
    /^ ADAPTR +NPTH +CMDS\/s +READS\/s WRITES\/s MBREAD\/s MBWRTN\/s DAVG\/cmd QAVG\/cmd GAVG\/cmd$/,
  );
  expect(lines[1]).toMatch(/^>web-vmi scsi0 +1 +32\.00 +20\.00 +10\.00 +4\.00 +1\.00 /);
  expect(lines[2]).toMatch(/^ db-bt scsi0 +2 +52\.00 +40\.00 +10\.00 +8\.00 +2\.00 /);
  expect(await press('G')).toMatch(/> A web-vmi scsi0 +32\.00/);
});

test('D: a row for each VM with disks, and its disks when it is expanded', async () => {
  const { press } = consoleOn(132, 24, withDevices());
  expect(table(await press('De'), 6)).toEqual([
    'DISK  /s:     84.00 commands,    12.00 MB read,     3.00 MB written;  6 active',
    '',
    '  GID VMNAME           VDEVNAME  NVDISK   CMDS/s  READS/s WRITES/s MBREAD/s MBWRTN/s LAT/rd LAT/wr',
    '>  16 web-vmi          -              1    32.00    20.00    10.00     4.00     1.00   6.00   3.00',
    '   16 web-vmi          scsi0:0        1    32.00    20.00    10.00     4.00     1.00   6.00   3.00',
    '   17 db-bt            -              2    52.00    40.00    10.00     8.00     2.00   6.00   6.00',
  ]);
  expect(await press('4')).not.toContain('scsi0:0');
});

test('n: a row for each port of the switch', async () => {
  const { press } = consoleOn(132, 24, withDevices());
  const lines = table(await press('n'), 5);
  expect(lines).toEqual([
    'NET   /s:     99.00 PKTTX,   100.00 PKTRX,     1.00 MbTX,     4.00 MbRX',
    '',
    '  PORT-ID USED-BY                 DNAME       PKTTX/s   MbTX/s   PKTRX/s   MbRX/s  %DRPTX  %DRPRX',
    '>       1 160:web-vmi             vSwitch0      99.00     1.00     50.00     2.00    1.00   50.00',
    '        2 170:db-bt               vSwitch0       0.00     0.00     50.00     2.00    0.00    0.00',
  ]);
  expect(shape(await press('fm '))).toMatch(/NIC +MAC\n.* ethernet0 +00:0c:29:00:00:01/);
  expect(await press('2')).toContain('db-bt: 12.3k exits/s');
  // t sorts here, and is the timer screen elsewhere.
  expect(await press('t')).toContain('PORT-ID');
  expect(await press('ct')).toContain('SOURCES');
});

describe('without devices', () => {
  test('their keys say so, and neither footer nor help names the screens', async () => {
    const { press } = consoleOn(160, 60);
    expect(await press('u')).toContain('no VM of this host has a disk');
    expect(await press('D')).toContain('no VM of this host has a disk');
    expect(await press('n')).toContain('no VM of this host has a network card');
    expect(await press(' ')).not.toContain('u:disk');
    expect(await press('h')).toContain('u       disk device screen: no VM has such a device');
    expect(consoleOn(180, 60, withDevices()).screen()).toContain('d:adapter  u:disk  D:disk VM  n:network');
  });
});

describe('rates', () => {
  const at = (second: number, some: Parameters<typeof disk>[1], poweredOnAtCycles = 0) =>
    sample(second * HZ, [vm(1, 'a', { disks: [disk('scsi0:0', some)], poweredOnAtCycles })]);

  test('are between two samples, and averages are over what has ended between them', () => {
    const before = at(1, {});
    const now = at(3, { reads: 60, readCycles: 160, queueCycles: 52, deviceCycles: 204, flushes: 2, errors: 4 });
    const { rates } = diskRows(now, before, now.vms[0]!).all;
    expect(rates).toMatchObject({ commands: 10, reads: 10, writes: 0, readMb: 0, errors: 2 });
    expect(rates).toMatchObject({ queueMs: 0, deviceMs: 5, guestMs: 5, readMs: 2, writeMs: 0 });
  });

  test('begin again with a power-on', () => {
    const now = at(3, { reads: 60 }, 2500);
    expect(diskRows(now, at(1, {}), now.vms[0]!).all.rates.reads).toBe(30);
  });

  test('of a port: drops are a share of what should have gone', () => {
    const port = (second: number, some: Parameters<typeof nic>[1]) =>
      sample(second * HZ, [vm(1, 'a', { nics: [nic(1, some)] })]);
    const now = port(2, { sentPackets: 129, sentDropped: 11, sentBytes: 250_000 });
    const [row] = portRows(now, port(1, {}), now.vms[0]!);
    expect(row).toMatchObject({ sentPackets: 30, sentMb: 1, sentDroppedPercent: 25, receivedDroppedPercent: 0 });
  });
});
