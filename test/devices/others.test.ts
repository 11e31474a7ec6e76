import { describe, expect, test } from 'vitest';
import { EPOCH_SECONDS } from '../../src/hypervisor/base/epoch.js';
import { Backdoor } from '../../src/hypervisor/devices/backdoor.js';
import { MmioBus, PortBus } from '../../src/hypervisor/devices/bus.js';
import { civilTime, Rtc } from '../../src/hypervisor/devices/rtc.js';
import {
  DebugExit,
  PowerPort,
  type PowerRequest,
  SystemControlB,
} from '../../src/hypervisor/devices/system-control.js';
import { VGA_TEXT_BASE, VGA_TEXT_BYTES, VgaText } from '../../src/hypervisor/devices/vga-text.js';
import { ManualClock } from './fixtures.js';

describe('port bus', () => {
  const log: string[] = [];
  const device = (name: string, value: number) => ({
    readPort: (offset: number, width: number) => {
      log.push(`${name} r${offset}/${width}`);
      return value;
    },
    writePort: (offset: number, width: number, written: number) => {
      log.push(`${name} w${offset}/${width}=${written.toString(16)}`);
    },
  });

  test('unclaimed ports read all ones and swallow writes', () => {
    const bus = new PortBus();
    bus.write(0xcf8, 4, 0x80000000);
    expect([bus.read(0xcfc, 1), bus.read(0xcfc, 2), bus.read(0xcfc, 4)]).toEqual([0xff, 0xffff, 0xffffffff]);
  });

  test('wide accesses to narrow devices are cut up, low byte first', () => {
    const bus = new PortBus();
    bus.claim(0x70, 2, device('a', 0x12));
    log.length = 0;
    bus.write(0x70, 2, 0xbeef);
    expect(bus.read(0x71, 2)).toBe(0xff12);
    expect(log).toEqual(['a w0/1=ef', 'a w1/1=be', 'a r1/1']);
    expect(bus.read(0x70, 4)).toBe(0xffff1212);
  });

  test('a port has one owner', () => {
    const bus = new PortBus();
    bus.claim(0x20, 2, device('a', 0));
    expect(() => bus.claim(0x21, 1, device('b', 0))).toThrow(/claimed twice/);
  });
});

test('device memory is routed by address, and pages know whether they hold any', () => {
  const bus = new MmioBus();
  const vga = new VgaText();
  bus.claim(VGA_TEXT_BASE, VGA_TEXT_BYTES, vga);
  for (const [i, character] of [...'Hello'].entries()) {
    bus.write(VGA_TEXT_BASE + 160 + i * 2, 2, 0x0700 | character.charCodeAt(0));
  }
  expect(vga.text()[1]).toBe('Hello');
  expect(bus.read(VGA_TEXT_BASE + 160, 4)).toBe(0x07650748);
  expect([bus.claims(0xb7), bus.claims(0xb8), bus.claims(0xbf), bus.claims(0xc0)]).toEqual([false, true, true, false]);
  expect(bus.read(0xa0000, 4)).toBe(0xffffffff);
});

describe('real-time clock', () => {
  test('civil dates', () => {
    const date = (seconds: number) => Object.values(civilTime(seconds)).join(' ');
    // Year, month, day, hour, minute, second, weekday (1 is Sunday).
    expect(date(0)).toBe('1970 1 1 0 0 0 5');
    expect(date(951_782_399)).toBe('2000 2 28 23 59 59 2');
    expect(date(951_782_400)).toBe('2000 2 29 0 0 0 3');
    expect(date(4_107_542_400)).toBe('2100 3 1 0 0 0 2');
    expect(date(EPOCH_SECONDS)).toBe('2008 4 1 9 0 0 3');
  });

  test('shows the epoch plus virtual time in BCD, or binary on request', () => {
    const time = new ManualClock();
    const rtc = new Rtc(time.clock, 64 * 1024 * 1024);
    const read = (index: number) => {
      rtc.writePort(0, 1, 0x80 | index);
      return rtc.readPort(1, 1);
    };
    time.advance(3e9 * (59 * 60 + 58.5));
    expect([read(4), read(2), read(0)]).toEqual([0x09, 0x59, 0x58]);
    expect([read(0x32), read(9), read(8), read(7)]).toEqual([0x20, 0x08, 0x04, 0x01]);
    rtc.writePort(0, 1, 0x0b);
    rtc.writePort(1, 1, 0x06);
    expect([read(4), read(2), read(0)]).toEqual([9, 59, 58]);
    expect(read(0x0d)).toBe(0x80);
    expect(read(0x0a) & 0x80).toBe(0);
    time.advance(3e9 * 0.4999);
    expect(read(0x0a) & 0x80).toBe(0x80);
  });

  test('memory size bytes', () => {
    const rtc = new Rtc(new ManualClock().clock, 64 * 1024 * 1024);
    const read16 = (index: number) =>
      [index, index + 1]
        .map(at => {
          rtc.writePort(0, 1, at);
          return rtc.readPort(1, 1);
        })
        .reduce((low, high) => low | (high << 8));
    expect(read16(0x15)).toBe(640);
    expect(read16(0x17)).toBe(63 * 1024);
    expect(read16(0x34)).toBe((48 * 1024 * 1024) / 65536);
  });
});

describe('backdoor', () => {
  const setup = () => {
    const lines: string[] = [];
    const registers = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    const backdoor = new Backdoor(registers, 3000, text => lines.push(text));
    const call = (ecx: number, ebx: number, channel = 0) => {
      Object.assign(registers, { eax: 0x564d5868, ebx, ecx, edx: ((channel << 16) | 0x5658) >>> 0 });
      registers.eax = backdoor.readPort(0, 4);
      return registers;
    };
    return { lines, registers, backdoor, call };
  };

  test('without the magic number nobody answers', () => {
    const { backdoor, registers } = setup();
    registers.ecx = 10;
    expect(backdoor.readPort(0, 4)).toBe(0xffffffff);
    expect(registers.ebx).toBe(0);
  });

  test('version', () => {
    const { call } = setup();
    expect(call(10, 0xffffffff)).toMatchObject({ eax: 6, ebx: 0x564d5868, ecx: 2 });
  });

  test('a log request arrives whole, is answered, and the channel can be used again', () => {
    const { call, lines } = setup();
    const send = (text: string) => {
      const opened = call(30, 0x49435052);
      expect(opened.ecx >>> 16).toBe(1);
      const channel = opened.edx >>> 16;
      expect(call(30 | (1 << 16), text.length, channel).ecx >>> 16).toBe(1);
      for (let at = 0; at < text.length; at += 4) {
        let word = 0;
        for (let i = 0; i < 4; i++) word |= (at + i < text.length ? text.charCodeAt(at + i) : 0) << (8 * i);
        expect(call(30 | (2 << 16), word >>> 0, channel).ecx >>> 16).toBe(1);
      }
      const size = call(30 | (3 << 16), 0, channel);
      expect(size.ecx >>> 16).toBe(3);
      let reply = '';
      for (let left = size.ebx; left > 0; left -= 4) {
        const word = call(30 | (4 << 16), 0, channel).ebx;
        for (let i = 0; i < Math.min(4, left); i++) reply += String.fromCharCode((word >>> (8 * i)) & 0xff);
      }
      call(30 | (5 << 16), 1, channel);
      expect(call(30 | (6 << 16), 0, channel).ecx >>> 16).toBe(1);
      return reply;
    };
    expect(send('log vmitop: boot done\n')).toBe('1 ');
    expect(send('log a')).toBe('1 ');
    expect(send('info-get x')).toBe('0 Unknown command');
    expect(lines).toEqual(['vmitop: boot done', 'a']);
  });

  test('bad channels, protocols and overlong payloads are refused', () => {
    const { call } = setup();
    expect(call(30, 0x12345678).ecx >>> 16).toBe(0);
    expect(call(30 | (1 << 16), 4, 5).ecx >>> 16).toBe(0);
    const channel = call(30, 0x49435052).edx >>> 16;
    expect(call(30 | (1 << 16), 1 << 20, channel).ecx >>> 16).toBe(0);
    call(30 | (1 << 16), 4, channel);
    call(30 | (2 << 16), 0, channel);
    expect(call(30 | (2 << 16), 0, channel).ecx >>> 16).toBe(0);
    expect(call(0x7777, 0).eax).toBe(0xffffffff);
  });
});

describe('system board', () => {
  test('power, reset and debug exit', () => {
    const requests: PowerRequest[] = [];
    const signal = (request: PowerRequest) => requests.push(request);
    const power = new PowerPort(signal);
    power.writePort(0, 1, 0x00);
    power.writePort(0, 2, 0x0001);
    expect(requests).toEqual([]);
    power.writePort(0, 2, 0x2000);
    new DebugExit(signal).writePort(0, 1, 7);
    expect(requests).toEqual([{ kind: 'powerOff' }, { kind: 'debugExit', value: 7 }]);
  });

  test('port 0x61 gates the speaker timer and shows its output', () => {
    let gate: boolean | undefined;
    const timer = { setGate2: (level: boolean) => (gate = level), output2: true };
    const port = new SystemControlB(timer, new ManualClock().clock);
    port.writePort(0, 1, 0x01);
    expect(gate).toBe(true);
    expect(port.readPort(0, 1) & 0x2f).toBe(0x21);
  });
});
