/* The two 8259 interrupt controllers (Intel 8259A data sheet) and the dispatch of hardware interrupts. */
#include <asm/io.h>
#include <asm/irqflags.h>
#include <asm/ptrace.h>
#include <linux/init.h>
#include <linux/kernel.h>

#define MASTER_COMMAND 0x20
#define MASTER_DATA 0x21
#define SLAVE_COMMAND 0xa0
#define SLAVE_DATA 0xa1
#define CASCADE_IRQ 2
#define IRQ_VECTOR_BASE 0x20
#define EOI_SPECIFIC 0x60

static irq_handler handlers[16];
static u16 irq_mask = 0xffff & ~(1 << CASCADE_IRQ);

static void write_mask(u32 irq)
{
	if (irq < 8)
		outb(irq_mask & 0xff, MASTER_DATA);
	else
		outb(irq_mask >> 8, SLAVE_DATA);
}

void init_IRQ(void)
{
	outb(0xff, MASTER_DATA);
	outb(0xff, SLAVE_DATA);
	outb(0x11, MASTER_COMMAND); /* ICW1: edge triggered, cascade, ICW4 follows */
	outb(IRQ_VECTOR_BASE, MASTER_DATA);
	outb(1 << CASCADE_IRQ, MASTER_DATA);
	outb(0x01, MASTER_DATA); /* ICW4: 8086 mode, explicit EOI */
	outb(0x11, SLAVE_COMMAND);
	outb(IRQ_VECTOR_BASE + 8, SLAVE_DATA);
	outb(CASCADE_IRQ, SLAVE_DATA);
	outb(0x01, SLAVE_DATA);
	outb(irq_mask & 0xff, MASTER_DATA);
	outb(irq_mask >> 8, SLAVE_DATA);
}

void request_irq(u32 irq, irq_handler handler)
{
	u32 flags = local_irq_save();

	handlers[irq] = handler;
	irq_mask &= ~(1 << irq);
	write_mask(irq);
	local_irq_restore(flags);
}

/* Mask and acknowledge before the handler, unmask after it, as for any line that could be level triggered. */
static void mask_and_ack(u32 irq)
{
	irq_mask |= 1 << irq;
	if (irq < 8) {
		inb(MASTER_DATA); /* lets slow controllers settle */
		write_mask(irq);
		outb(EOI_SPECIFIC + irq, MASTER_COMMAND);
	} else {
		inb(SLAVE_DATA);
		write_mask(irq);
		outb(EOI_SPECIFIC + (irq & 7), SLAVE_COMMAND);
		outb(EOI_SPECIFIC + CASCADE_IRQ, MASTER_COMMAND);
	}
}

/* A controller whose request went away in between reports its lowest priority (line 7) without setting it in service. */
static int spurious(u32 irq)
{
	u16 command = irq < 8 ? MASTER_COMMAND : SLAVE_COMMAND;

	if ((irq & 7) != 7 || handlers[irq])
		return 0;
	outb(0x0b, command); /* OCW3: read the in-service register */
	return !(inb(command) & 0x80);
}

void do_IRQ(struct pt_regs *regs)
{
	u32 irq = ~regs->orig_eax & 15;

	if (spurious(irq))
		return;
	mask_and_ack(irq);
	if (!handlers[irq])
		return; /* stays masked */
	handlers[irq]();
	irq_mask &= ~(1 << irq);
	write_mask(irq);
}
