import { beforeEach, describe, expect, test } from 'vitest';
import { Uart } from '../../src/hypervisor/devices/uart.js';
import { RecordingLine } from './fixtures.js';

describe('16550', () => {
  let line: RecordingLine;
  let uart: Uart;
  let sent: string;
  const write = (offset: number, value: number) => uart.writePort(offset, 1, value);
  const read = (offset: number) => uart.readPort(offset, 1);
  beforeEach(() => {
    line = new RecordingLine();
    uart = new Uart(line);
    sent = '';
    uart.onTransmit = byte => {
      sent += String.fromCharCode(byte);
    };
  });

  test('transmits at once and is empty again', () => {
    for (const character of 'ok\n') write(0, character.charCodeAt(0));
    expect(sent).toBe('ok\n');
    expect(read(5)).toBe(0x60);
  });

  test('the divisor latch hides the data register', () => {
    write(3, 0x83);
    write(0, 0x01);
    write(1, 0x00);
    expect(read(0)).toBe(0x01);
    write(3, 0x03);
    expect(sent).toBe('');
  });

  test('received bytes come through the FIFO with IRQ 4, and lower it when all are read', () => {
    write(2, 0xc7);
    write(4, 0x0b);
    write(1, 0x01);
    const text = 'a line that is longer than the sixteen bytes of the FIFO';
    uart.receive([...text].map(character => character.charCodeAt(0)));
    expect(line.level).toBe(true);
    expect(read(2)).toBe(0xc4);
    let got = '';
    while ((read(5) & 1) !== 0) got += String.fromCharCode(read(0));
    expect(got).toBe(text);
    expect(line.level).toBe(false);
    expect(read(2)).toBe(0xc1);
  });

  test('fewer bytes than the trigger level are a timeout', () => {
    write(2, 0xc7);
    write(4, 0x0b);
    write(1, 0x01);
    uart.receive([65]);
    expect(read(2)).toBe(0xcc);
  });

  test('OUT2 gates the interrupt line', () => {
    write(1, 0x01);
    uart.receive([65]);
    expect(line.level).toBe(false);
    write(4, 0x08);
    expect(line.level).toBe(true);
  });

  test('the empty interrupt is raised when enabled, and cleared by reading IIR', () => {
    write(4, 0x08);
    write(1, 0x02);
    expect(line.level).toBe(true);
    expect(read(2) & 0x0f).toBe(0x02);
    expect(line.level).toBe(false);
    write(0, 65);
    expect(line.level).toBe(true);
  });

  test('loopback returns what is sent and wires the modem outputs to the inputs', () => {
    write(4, 0x10 | 0x02);
    write(0, 0x5a);
    expect(sent).toBe('');
    expect(read(0)).toBe(0x5a);
    expect(read(6) & 0xf0).toBe(0x10);
    write(4, 0x0b);
    expect(read(6) & 0xf0).toBe(0xb0);
  });

  test('the scratch register holds what is written', () => {
    write(7, 0xa5);
    expect(read(7)).toBe(0xa5);
  });
});
