/** Frames out of and into a virtio network card. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type NicFigures, VirtioNet, zeroNicFigures } from '../../../src/hypervisor/devices/virtio/net.js';
import { Driver, Port } from './driver.js';

const MAC = Uint8Array.of(0, 0x0c, 0x29, 0, 16, 1);
const [RECEIVE, TRANSMIT] = [0, 1];
const HEADER = new Uint8Array(10);

let sent: Uint8Array[];
let figures: NicFigures;
let card: VirtioNet;
let driver: Driver;

beforeEach(() => {
  sent = [];
  figures = zeroNicFigures();
  driver = new Driver(transport => {
    card = new VirtioNet({ transport, mac: MAC, figures, send: frame => sent.push(frame) });
    return card;
  });
  driver.start();
});

const frame = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 3 + length);

test('says its address, and that the link is up', () => {
  const { port } = driver;
  expect(Array.from(MAC, (_, i) => port.readPort(Port.CONFIG + i, 1))).toEqual([...MAC]);
  expect(port.readPort(Port.CONFIG + 6, 2)).toBe(1);
  expect(port.readPort(Port.FEATURES, 4) & 0xffffff).toBe(0x010020);
});

test('sends frames without their header, in one buffer or several, and asks for one interrupt', () => {
  driver.offer(TRANSMIT, [HEADER, frame(60)]);
  const whole = new Uint8Array(10 + 1514);
  whole.set(frame(1514), 10);
  driver.offer(TRANSMIT, [whole.subarray(0, 7), whole.subarray(7)], { indirect: true });
  driver.notify(TRANSMIT);
  expect(sent).toEqual([frame(60), frame(1514)]);
  expect(driver.used(TRANSMIT).map(({ written }) => written)).toEqual([0, 0]);
  expect(driver.level).toBe(true);
  expect(figures).toMatchObject({ sentPackets: 2, sentBytes: 1574, sentDropped: 0 });
});

test.each([13, 1519])('does not send a frame of %i bytes, and gives its buffers back', length => {
  driver.offer(TRANSMIT, [HEADER, frame(length)]);
  driver.notify(TRANSMIT);
  expect([sent.length, figures.sentDropped, driver.used(TRANSMIT).length]).toEqual([0, 1, 1]);
});

test('stops at a frame without header', () => {
  driver.offer(TRANSMIT, [new Uint8Array(9)]);
  driver.notify(TRANSMIT);
  expect(driver.log).toEqual(['card: a frame without its header: stopped until the guest resets it']);
});

describe('what comes in', () => {
  test('is put behind an empty header, into one buffer or several', () => {
    driver.offer(RECEIVE, [10, 1514]);
    driver.offer(RECEIVE, [5, 70]);
    driver.notify(RECEIVE);
    expect(driver.level).toBe(false);
    card.receive(frame(100));
    card.receive(frame(60));
    const [first, second] = driver.used(RECEIVE);
    expect([first!.written, second!.written]).toEqual([110, 70]);
    expect([...first!.bytes.subarray(0, 110)]).toEqual([...HEADER, ...frame(100)]);
    expect([...second!.bytes.subarray(0, 70)]).toEqual([...HEADER, ...frame(60)]);
    expect(driver.level).toBe(true);
    expect(figures).toMatchObject({ receivedPackets: 2, receivedBytes: 160, receivedDropped: 0 });
  });

  test('is dropped without a buffer, and without one that is large enough, which is kept', () => {
    card.receive(frame(60));
    driver.offer(RECEIVE, [10 + 59]);
    card.receive(frame(60));
    expect([figures.receivedDropped, driver.used(RECEIVE).length, driver.level]).toEqual([2, 0, false]);
    card.receive(frame(59));
    expect(driver.used(RECEIVE).map(({ written }) => written)).toEqual([69]);
  });

  test('is dropped after a reset', () => {
    driver.offer(RECEIVE, [1600]);
    driver.port.writePort(Port.STATUS, 1, 0);
    card.receive(frame(60));
    expect([figures.receivedDropped, driver.log]).toEqual([1, []]);
  });
});
