/* The VGA text screen at 0xB8000: one line, for whoever looks at the screen instead of the serial console. */
#include <asm/page.h>
#include <linux/init.h>

#define VGA_TEXT 0xb8000
#define COLUMNS 80
#define GREY_ON_BLACK 0x0700

void vga_puts_line(u32 row, const char *text)
{
	volatile u16 *cell = (volatile u16 *)__va(VGA_TEXT) + row * COLUMNS;
	u32 column;

	for (column = 0; column < COLUMNS; column++)
		cell[column] = GREY_ON_BLACK | (u8)(*text ? *text++ : ' ');
}
