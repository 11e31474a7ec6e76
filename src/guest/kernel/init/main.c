/* Boot, from the first C function to the first program. */
#include <asm/desc.h>
#include <asm/irqflags.h>
#include <asm/processor.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/time.h>

/* The first process: opens the console and becomes /sbin/init. */
static void kernel_init(void)
{
	static const char *const argv[] = { "/sbin/init", NULL };
	struct pt_regs *regs = (struct pt_regs *)(current->thread.esp0 - sizeof(struct pt_regs));
	int i;

	for (i = 0; i < 3; i++)
		if (open_path("/dev/console", O_RDWR) != i)
			panic("Unable to open an initial console.");
	printk("VFS: Mounted root (ramfs filesystem) readonly.\n");
	if (do_execve("/sbin/init", argv, init_environment, 0, regs))
		panic("No init found.");
}

void __used start_kernel(void);

void start_kernel(void)
{
	serial_init();
	sched_init();
	setup_arch();
	timers_init();
	init_IRQ();
	vga_puts_line(0, KERNEL_NAME " " KERNEL_RELEASE);
	time_init();
	printk("Booting paravirtualized kernel on %s\n", pv_info.name);
	printk("Calibrating delay using timer specific routine.. %u.%02u BogoMIPS (lpj=%u)\n", tsc_khz / 500, tsc_khz / 5 % 100,
	       tsc_khz / hz * 1000);
	printk("HZ=%u, time slice %u ms\n", hz, TIME_SLICE_MS);
	local_irq_enable();
	serial_enable_interrupt();
	printk("Serial: 8250/16550 driver, ttyS0 at I/O 0x3f8 (irq = 4) is a 16550A\n");
	vmmlog_init();
	printk("ramfs: %u entries in the image\n", ramfs_entry_count);
	kernel_task(kernel_init, "init");
	cpu_idle();
}
