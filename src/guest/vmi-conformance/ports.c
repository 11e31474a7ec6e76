/* Port calls: 49..60. The scratch register of COM1 keeps a byte; a port of nobody reads ones. */
#include "guest.h"

#define SCRATCH 0x3ff
#define NOBODY 0x1230
#define BACKDOOR 0x5658
#define BACKDOOR_MAGIC 0x564d5868u
#define BACKDOOR_GET_MHZ 1

static u8 bytes[16];

static void fill(void)
{
	for (u32 i = 0; i < sizeof bytes; i++)
		bytes[i] = (u8)(0xa0 + i);
}

static void check_single(void)
{
	VMI(OUTB, 0x5a, SCRATCH);
	check(INB, "reads what OUTB wrote, and keeps the rest of EAX", 0x1234565a, VMI(INB, 0x123456ff, SCRATCH));
	check(OUTB, "writes what the instruction reads", 0x5a, in8(SCRATCH));
	VMI(OUTW, 0x1111, NOBODY);
	VMI(OUTL, 0x22222222, NOBODY);
	check(INW, "keeps the high word of EAX", 0x1234ffff, VMI(INW, 0x12340000, NOBODY));
	check(INL, "reads a double word", 0xffffffff, VMI(INL, 0, NOBODY));
	VMI(INL, BACKDOOR_MAGIC, BACKDOOR, BACKDOOR_GET_MHZ);
	u32 mhz = io.eax;
	VMI(GetCycleFrequency);
	u64 hertz = long_result();
	check_true(INL, "reads a double word of a device", hertz >= (u64)mhz * 1000000 - 1000000 && hertz <= (u64)mhz * 1000000 + 1000000);
}

static void check_in(u32 call, u32 width, u32 port)
{
	fill();
	VMI(call, 0, port, 3, (u32)bytes);
	check(call, "moves EDI by its elements", (u32)bytes + 3 * width, io.edi);
	check(call, "counts ECX down to 0", 0, io.ecx);
	check(call, "fills the last element", port == NOBODY ? 0xff : 0x6b, bytes[3 * width - 1]);
	check(call, "writes no more than its elements", 0xa0 + 3 * width, bytes[3 * width]);
}

static void check_out(u32 call, u32 width, u32 port)
{
	fill();
	VMI(call, 0, port, 3, (u32)bytes);
	check(call, "moves ESI by its elements", (u32)bytes + 3 * width, io.esi);
	check(call, "counts ECX down to 0", 0, io.ecx);
}

void check_ports(void)
{
	check_single();
	out8(SCRATCH, 0x6b);
	check_in(INSB, 1, SCRATCH);
	check_in(INSW, 2, NOBODY);
	check_in(INSL, 4, NOBODY);
	check_out(OUTSB, 1, SCRATCH);
	check(OUTSB, "writes its elements in order", 0xa2, in8(SCRATCH));
	check_out(OUTSW, 2, NOBODY);
	check_out(OUTSL, 4, NOBODY);
	fill();
	VMI(OUTSB, 0, SCRATCH, 0, (u32)bytes);
	check(OUTSB, "of nothing moves nothing", (u32)bytes, io.esi);
}
