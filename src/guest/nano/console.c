/* Text on COM1, and the way to switch the machine off. */
#include "nano.h"

#define COM1 0x3f8
#define LSR_EMPTY 0x20
#define POWER_PORT 0x604
#define POWER_OFF 0x2000

void console_init(void)
{
	out8(COM1 + 1, 0);
	out8(COM1 + 3, 0x80);
	out8(COM1 + 0, 1);
	out8(COM1 + 1, 0);
	out8(COM1 + 3, 3);
}

static void put_byte(u8 byte)
{
	while (!(in8(COM1 + 5) & LSR_EMPTY))
		;
	out8(COM1, byte);
}

void put_text(const char *text)
{
	while (*text)
		put_byte(*text++);
}

/* A number of hundredths below 2^32 as a decimal fraction. */
void put_hundredths(u64 hundredths)
{
	char digits[12];
	u32 value = (u32)hundredths;
	int n = 0;
	do {
		if (n == 2)
			digits[n++] = '.';
		digits[n++] = '0' + value % 10;
		value /= 10;
	} while (value || n < 4);
	while (n)
		put_byte(digits[--n]);
}

void power_off(void)
{
	__asm__ volatile("outw %0, %1" : : "a"((u16)POWER_OFF), "Nd"((u16)POWER_PORT));
	for (;;)
		__asm__ volatile("cli; hlt");
}
