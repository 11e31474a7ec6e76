/* Output goes to COM1 and, for emulators that delay a serial line by its baud rate, to the debug port 0xE9 as well. */
#include "guest.h"

#define COM1 0x3f8
#define DEBUG_PORT 0xe9
#define LSR_EMPTY 0x20

void console_init(void)
{
	out8(COM1 + 1, 0);
	out8(COM1 + 3, 0x80);
	out8(COM1 + 0, 1);
	out8(COM1 + 1, 0);
	out8(COM1 + 3, 3);
	out8(COM1 + 2, 0);
	out8(COM1 + 4, 3);
}

void put_byte(u8 byte)
{
	for (u32 i = 0; i < 100000 && !(in8(COM1 + 5) & LSR_EMPTY); i++)
		;
	out8(COM1, byte);
	out8(DEBUG_PORT, byte);
}

void put_text(const char *text)
{
	while (*text)
		put_byte(*text++);
}

void put_decimal(u32 value)
{
	char digits[10];
	int n = 0;
	do
		digits[n++] = '0' + value % 10;
	while (value /= 10);
	while (n)
		put_byte(digits[--n]);
}

void put_hex(u32 value)
{
	for (int shift = 28; shift >= 0; shift -= 4)
		put_byte("0123456789abcdef"[(value >> shift) & 15]);
}
