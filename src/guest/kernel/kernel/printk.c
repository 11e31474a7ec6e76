/* Kernel messages with their time, straight to the console. */
#include <asm/irqflags.h>
#include <asm/processor.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/time.h>

static char line[256];

static void put_string(const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			serial_putc('\r');
		serial_putc(*s);
	}
}

/* One line per call, except that a call without newline at its end is continued by the next one. */
void printk(const char *format, ...)
{
	static int continued;
	u32 flags = local_irq_save(), rest, n;
	va_list args;

	if (!continued) {
		u32 seconds = (u32)div_u64(sched_clock(), NSEC_PER_SEC, &rest);

		snprintf(line, sizeof(line), "[%5u.%06u] ", seconds, rest / 1000);
		put_string(line);
	}
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	put_string(line);
	n = strlen(line);
	continued = n && line[n - 1] != '\n';
	local_irq_restore(flags);
}

void panic(const char *format, ...)
{
	static char text[160];
	va_list args;

	local_irq_disable();
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printk("Kernel panic - not syncing: %s\n", text);
	if (panic_poweroff)
		machine_power_off();
	for (;;)
		pv_irq_ops.halt();
}
