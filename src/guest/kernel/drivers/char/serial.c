/* COM1, a 16550: transmission is polled, reception comes by IRQ 4 (PC16550D data sheet). */
#include <asm/io.h>
#include <linux/init.h>

#define COM1 0x3f8
#define DATA (COM1 + 0)
#define INTERRUPT_ENABLE (COM1 + 1)
#define FIFO_CONTROL (COM1 + 2)
#define LINE_CONTROL (COM1 + 3)
#define MODEM_CONTROL (COM1 + 4)
#define LINE_STATUS (COM1 + 5)
#define LSR_DATA_READY 0x01
#define LSR_TRANSMITTER_EMPTY 0x20
#define IRQ_COM1 4

void serial_init(void)
{
	outb(0, INTERRUPT_ENABLE);
	outb(0x80, LINE_CONTROL); /* divisor latch */
	outb(1, DATA);            /* 115200 baud */
	outb(0, INTERRUPT_ENABLE);
	outb(0x03, LINE_CONTROL); /* 8 bits, no parity, 1 stop bit */
	outb(0x07, FIFO_CONTROL); /* on, both cleared, interrupt at one byte */
	outb(0x0b, MODEM_CONTROL); /* DTR, RTS, OUT2: lets the interrupt out */
}

void serial_putc(char c)
{
	while (!(inb(LINE_STATUS) & LSR_TRANSMITTER_EMPTY))
		;
	outb((u8)c, DATA);
}

static void serial_interrupt(void)
{
	while (inb(LINE_STATUS) & LSR_DATA_READY)
		tty_receive((char)inb(DATA));
}

void serial_enable_interrupt(void)
{
	request_irq(IRQ_COM1, serial_interrupt);
	outb(0x01, INTERRUPT_ENABLE); /* received data */
}
