/** Who gets which frame, and when. */
import { beforeEach, expect, test } from 'vitest';
import { VirtualSwitch } from '../../src/hypervisor/vmkernel/virtual-switch.js';

const HZ = 1_000_000;
const COSTS = { frameForward: 100, frameCopyLine: 10 };
const ALL = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const host = (n: number) => [0, 0x0c, 0x29, 0, 0, n];
const frame = (to: readonly number[], from: readonly number[], length = 60) => {
  const bytes = new Uint8Array(length);
  bytes.set([...to, ...from]);
  return bytes;
};

let network: VirtualSwitch;
let got: [port: number, atCycles: number][];
let dropped: number[];
let ports: number[];

const connect = (): number => {
  const port: number = network.connect({
    deliver: (_frame, atCycles) => void got.push([port, atCycles]),
    overrun: () => void dropped.push(port),
  });
  return port;
};
/** Ports that got what was sent since the last look. */
const receivers = () => got.splice(0).map(([port]) => port);

beforeEach(() => {
  network = new VirtualSwitch(COSTS, HZ);
  got = [];
  dropped = [];
  ports = [connect(), connect(), connect()];
});

test('floods what it does not know, and never sends back', () => {
  const [a, b, c] = ports as [number, number, number];
  network.send(a, frame(host(2), host(1)), 0);
  expect(receivers()).toEqual([b, c]);
  // It has learned where host 1 is, and learns of host 2.
  network.send(b, frame(host(1), host(2)), 10);
  expect(receivers()).toEqual([a]);
  network.send(a, frame(host(2), host(1)), 20);
  expect(receivers()).toEqual([b]);
  network.send(c, frame(ALL, host(3)), 30);
  expect(receivers()).toEqual([a, b]);
  network.send(a, frame([0x33, 0x33, 0, 0, 0, 1], host(1)), 40);
  expect(receivers()).toEqual([b, c]);
  // To itself.
  network.send(a, frame(host(1), host(1)), 50);
  expect(receivers()).toEqual([]);
});

test('a host that moves is found at its new port, one that is gone nowhere', () => {
  const [a, b, c] = ports as [number, number, number];
  network.send(b, frame(ALL, host(2)), 0);
  network.send(c, frame(ALL, host(2)), 1);
  receivers();
  network.send(a, frame(host(2), host(1)), 2);
  expect(receivers()).toEqual([c]);
  network.disconnect(c);
  network.send(a, frame(host(2), host(1)), 3);
  expect(receivers()).toEqual([b]);
  // The number is given away again.
  expect(connect()).toBe(c);
});

test('an address is forgotten after 300 seconds, and a group is none', () => {
  const [a, b, c] = ports as [number, number, number];
  network.send(b, frame(ALL, host(2)), 0);
  receivers();
  network.send(a, frame(host(2), host(1)), 300 * HZ);
  expect(receivers()).toEqual([b]);
  network.send(a, frame(host(2), host(1)), 300 * HZ + 1);
  expect(receivers()).toEqual([b, c]);
  network.send(b, frame(ALL, [0x01, 0, 0, 0, 0, 9]), 0);
  receivers();
  network.send(a, frame([0x01, 0, 0, 0, 0, 9], host(1)), 1);
  expect(receivers()).toEqual([b, c]);
});

test('invented addresses push out the oldest ones', () => {
  const [a, b, c] = ports as [number, number, number];
  network.send(b, frame(ALL, host(2)), 0);
  for (let i = 0; i < 1024; i++) network.send(c, frame(ALL, [2, 0, 0, 0, i >>> 8, i & 0xff]), i * 1000);
  got.splice(0);
  network.send(a, frame(host(2), host(1)), 1024 * 1000);
  expect(receivers()).toEqual([b, c]);
});

test('takes so long for each frame and each line of it, one after the other for each port', () => {
  const [a, b, c] = ports as [number, number, number];
  network.send(a, frame(ALL, host(1), 60), 1000);
  network.send(a, frame(ALL, host(1), 65), 1000);
  expect(got.splice(0)).toEqual([
    [b, 1110],
    [c, 1110],
    [b, 1230],
    [c, 1230],
  ]);
  network.send(c, frame(host(1), host(3), 64), 5000);
  expect(got).toEqual([[a, 5110]]);
});

test('drops what would wait behind 256 frames', () => {
  const [a, b] = ports as [number, number];
  for (let i = 0; i < 258; i++) network.send(a, frame(ALL, host(1)), 0);
  expect(dropped.filter(port => port === b)).toHaveLength(2);
  // Two are through.
  network.send(a, frame(ALL, host(1)), 220);
  network.send(a, frame(ALL, host(1)), 220);
  network.send(a, frame(ALL, host(1)), 220);
  expect(dropped.filter(port => port === b)).toHaveLength(3);
});
