/*
 * A kernel that does nothing but check a VMI ROM: discovery, header, Init, relocations, then each call and each pitfall of
 * unmodified Linux kernels (ABI 8.3). One line a check, the verdict last. It ends by Shutdown, or with `end=reset` on its command line
 * by Reboot. With `pae` it runs on PAE tables, and checks these calls and those that have nothing to do with tables.
 */
#include "guest.h"

u32 boot_cr3, boot_cr4;

static int option(const char *text, const char *name)
{
	for (; *text; text++) {
		u32 length = 0;

		while (name[length] && text[length] == name[length])
			length++;
		if (!name[length] && (text[length] == ' ' || !text[length]))
			return 1;
	}
	return 0;
}

/* Calls that this ROM leaves to the native form, each with what makes it the right answer. */
static void check_not_offered(void)
{
	u32 features, eax = 1, ebx, ecx = 0;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(features));
	if (!offered(SetPxELong))
		check(SetPxELong, "is not offered: the processor has no PAE", 0, features & 0x40);
	if (!offered(UpdatePxELong))
		check(UpdatePxELong, "is not offered: the processor has no PAE", 0, features & 0x40);
	if (!offered(SetCallbacks))
		check(SetCallbacks, "is not offered: only its name is published", NONE, relocation_of(rom_base, SetCallbacks).type);
}

void guest_main(const u32 *information)
{
	const char *command_line = (information[0] & 4) ? (const char *)(information[4] + KERNEL) : "";
	int pae = option(command_line, "pae");

	console_init();
	traps_init();
	user_init();
	say("vmi-conformance\n");
	boot_cr3 = pae ? enter_pae() : physical(boot_directory);
	boot_cr4 = CR4_PSE | CR4_PGE | (pae ? CR4_PAE : 0);
	if (!find_rom()) {
		say("no VMI ROM between 0xc0000 and 0xe0000: this kernel stays native\n");
		power_off();
	}
	check_rom();
	check_init();
	patch_sites();
	/* The second place of the ROM is in the tables that PAE leaves behind. */
	if (!pae)
		check_relocations_again();
	check_not_offered();
	check_processor();
	check_interrupts();
	if (pae) {
		check_pae();
	} else {
		check_descriptors();
		check_memory();
		check_user();
	}
	check_ports();
	check_time();
	check_apic();
	check_registers_kept();
	check_true(Shutdown, "is offered, and ends this run", offered(Shutdown));
	check_true(Reboot, "is offered", offered(Reboot));
	conclude();
	if (option(command_line, "end=reset"))
		VMI(Reboot, 0);
	VMI(Shutdown);
	power_off();
}
