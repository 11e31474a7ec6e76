/* Boot: command-line options, and what the parts start with. */
#ifndef LINUX_INIT_H
#define LINUX_INIT_H

#include <linux/types.h>

#define KERNEL_NAME "Vmilinux"
#define KERNEL_RELEASE "2.6.21-vmitop"
#define COMMAND_LINE_BYTES 512

extern char saved_command_line[COMMAND_LINE_BYTES];
extern u32 boot_multiboot_info;
extern int panic_poweroff;
/* What the kernel did not know: KEY=VALUE strings for init's environment. */
extern const char *init_environment[16];

void setup_arch(void);
void parse_options(void);
/* Frame number behind the kernel image, its archive and early allocations. */
void *early_alloc(u32 bytes);

void serial_init(void);
void serial_enable_interrupt(void);
void serial_putc(char c);
void vga_init(void);
void vga_puts_line(u32 row, const char *text);
void tty_receive(char c);
void vmmlog_init(void);
void init_IRQ(void);

typedef void (*irq_handler)(void);
void request_irq(u32 irq, irq_handler handler);

#endif
