/* Page tables as the checks of both formats use them. */
#ifndef PAGES_H
#define PAGES_H

#include "guest.h"

#define PAGE_FAULT 14
/* SetPxE and UpdatePxE; AllocatePage and ReleasePage: the same bits mean other things (pitfall 8). */
#define PT 0x01u
#define PD 0x02u
#define PDP 0x04u
#define CURRENT_AS 0x10u
#define DEFER 0x20u
#define PAE 0x10u
#define CLONE 0x20u
#define ZEROED 0x40u
#define MMU 1
#define CPU 2

#define FIRST 0xf1f1f1f1u
#define SECOND 0x52525252u

extern u8 code_load[];

/* The vector of the fault on reading, or 0. */
static inline u32 fault_at(u32 linear)
{
	expect_trap();
	run_code(code_load, 0, linear, 0, 0);
	return trapped.taken ? trapped.vector : 0;
}

#endif
