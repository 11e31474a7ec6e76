/*
 * Discovery, header, Init and GetRelocationInfo (ABI 1 and 2.4), and the call sites. Nothing is taken for granted here that a
 * kernel could not look up: what the ROM offers is what GetRelocationInfo says.
 */
#include "guest.h"

#define WINDOW 0xc0000
#define WINDOW_END 0xe0000
#define STRIDE 2048

struct rom_header {
	u16 rom_signature;
	u8 rom_length, rom_entry[4], rom_pad0;
	u32 vrom_signature;
	u8 api_version_min, api_version_maj, jump_slots, reserved1;
	u32 virtual_top;
	u16 reserved2, license_offs, pci_header_offs, pnp_header_offs;
	u32 rom_pad3;
	u8 reserved[96];
	u8 vmi_init[8], get_reloc[8];
} __attribute__((packed));
_Static_assert(sizeof(struct rom_header) == 0x90, "fixed part of the header");

struct pci_header {
	u32 signature;
	u16 vendor, device, vpd, length;
	u8 revision, interface, subclass, class;
	u16 image_length;
	u8 version_min, version_maj, code_type, last_image;
	u16 reserved;
} __attribute__((packed));

struct pnp_header {
	u32 signature;
	u8 revision, length;
	u16 next;
	u8 reserved, checksum;
	u32 device;
	u16 manufacturer, product;
} __attribute__((packed));

u32 rom_base, kernel_rpl;
static const struct rom_header *rom;
/* Answers at activation: they must hold for ever (ABI 2.4). */
static struct relocation_info relocations[CALLS];

static u32 sum_of(const void *from, u32 bytes)
{
	u32 sum = 0;

	for (u32 i = 0; i < bytes; i++)
		sum += ((const u8 *)from)[i];
	return sum & 0xff;
}

static int equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

int find_rom(void)
{
	for (u32 at = KERNEL + WINDOW; at < KERNEL + WINDOW_END; at += STRIDE) {
		rom = (const struct rom_header *)at;
		if (rom->rom_signature != 0xaa55 || rom->vrom_signature != 0x696d5663)
			continue;
		rom_base = at;
		return 1;
	}
	return 0;
}

void check_rom(void)
{
	const struct pci_header *pci = (const void *)(rom_base + rom->pci_header_offs);
	const struct pnp_header *pnp = (const void *)(rom_base + rom->pnp_header_offs);
	const char *license = (const char *)rom_base + rom->license_offs;
	volatile u8 *byte = (volatile u8 *)(rom_base + 0x90);
	u8 before = *byte;

	check(ROM, "API major version", 3, rom->api_version_maj);
	check(ROM, "API minor version", 0, rom->api_version_min);
	check_true(ROM, "has a length", rom->rom_length != 0);
	check(ROM, "bytes sum to 0", 0, sum_of(rom, rom->rom_length * 512u));
	check(ROM, "reserved byte", 0, rom->reserved1);
	check(ROM, "reserved word", 0, rom->reserved2);
	check_true(ROM, "has a license that Linux accepts (pitfall 23)",
		   rom->license_offs && (equal(license, "GPL") || equal(license, "GPL v2")));
	check_true(ROM, "has a PCI header", rom->pci_header_offs != 0);
	check(ROM, "PCI signature", 0x52494350, pci->signature);
	check(ROM, "PCI vendor", 0x15ad, pci->vendor);
	check(ROM, "PCI device", 0x0801, pci->device);
	check(ROM, "PCI structure length", 0x18, pci->length);
	check(ROM, "PCI image length", rom->rom_length, pci->image_length);
	check(ROM, "PCI class: memory controller", 0x05, pci->class);
	check(ROM, "PCI last image", 0x80, pci->last_image & 0x80);
	if (rom->pnp_header_offs) {
		check(ROM, "PnP signature", 0x506e5024, pnp->signature);
		check(ROM, "PnP header sums to 0", 0, sum_of(pnp, 16u * pnp->length));
		check_true(ROM, "PnP manufacturer has a name", pnp->manufacturer && ((const char *)rom_base)[pnp->manufacturer]);
		check_true(ROM, "PnP product has a name", pnp->product && ((const char *)rom_base)[pnp->product]);
	}
	check(ROM, "top of linear space is aligned to 4 MiB (pitfall 24)", 0, rom->virtual_top & 0x3fffff);
	*byte = (u8)~before;
	check(ROM, "is not written by stores (pitfall 26)", before, *byte);
}

struct relocation_info relocation_of(u32 base, u32 call)
{
	u32 eip, type;
	u32 entry = base + __builtin_offsetof(struct rom_header, get_reloc);

	__asm__ volatile("call *%2" : "=a"(eip), "=d"(type) : "r"(entry), "0"(call) : "ecx", "cc");
	return (struct relocation_info){ .eip = eip, .type = (u8)type, .reserved = { type >> 8, type >> 16, type >> 24 } };
}

int offered(u32 call) { return relocations[call].type == CALL_REL || relocations[call].type == JUMP_REL; }

static u32 init(void)
{
	u32 result, entry = rom_base + __builtin_offsetof(struct rom_header, vmi_init);

	__asm__ volatile("call *%1" : "=a"(result) : "r"(entry) : "ecx", "edx", "cc", "memory");
	return result;
}

static u32 code_selector(void)
{
	u32 value;

	__asm__ volatile("movl %%cs, %0" : "=r"(value));
	return value & 0xffff;
}

/* An interrupt table that would reach into the hole: the ROM cannot take such a machine over. */
static void check_refusal(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) right = { sizeof idt - 1, (u32)idt }, wrong = { 0xffff, rom->virtual_top - 0x1000 };
	u16 stored[3];

	__asm__ volatile("lidt %0" : : "m"(wrong));
	check_true(Init, "fails where the interrupt table lies in the hole", init() != 0);
	check(Init, "leaves the privilege level alone where it fails", KERNEL_CS, code_selector());
	__asm__ volatile("sidt %0" : "=m"(stored));
	check(Init, "leaves the interrupt table alone where it fails (pitfall 25)", 0xffff, stored[0]);
	__asm__ volatile("lidt %0" : : "m"(right));
}

void check_init(void)
{
	u32 eflags;

	if (rom->virtual_top)
		check_refusal();
	check(Init, "succeeds", 0, init());
	kernel_rpl = code_selector() & 3;
	check(Init, "keeps the code segment but for its RPL", KERNEL_CS | kernel_rpl, code_selector());
	check_true(Init, "leaves the kernel outside ring 3", kernel_rpl < 3);
	__asm__ volatile("pushfl; popl %0" : "=r"(eflags));
	check(Init, "keeps the direction flag", 0, eflags & 0x400);
}

static void check_relocation(u32 call)
{
	struct relocation_info info = relocations[call];

	check_true(call, "relocation type is one of four", info.type <= NOP);
	check(call, "relocation has no bits that are not defined", 0, info.reserved[0] | info.reserved[1] | info.reserved[2]);
	if (call == IRET || call == SYSEXIT)
		check_true(call, "has code (pitfall 1)", info.type == CALL_REL || info.type == JUMP_REL);
	else
		check_true(call, "is no jump (pitfall 2)", info.type != JUMP_REL);
}

/* ABI 3.1, "patch": five bytes become a call, a jump or nothing. A call that is not offered keeps its native form. */
void patch_sites(void)
{
	for (u32 call = 0; call < CALLS; call++) {
		u8 *site = sites + SITE_BYTES * call;
		u32 distance;

		relocations[call] = relocation_of(rom_base, call);
		check_relocation(call);
		distance = relocations[call].eip - ((u32)site + 5);
		switch (relocations[call].type) {
		case CALL_REL:
		case JUMP_REL:
			site[0] = relocations[call].type == CALL_REL ? 0xe8 : 0xe9;
			for (u32 i = 0; i < 4; i++)
				site[1 + i] = (u8)(distance >> (8 * i));
			break;
		case NOP:
			for (u32 i = 0; i < 5; i++)
				site[i] = 0x90;
			break;
		default:
			break;
		}
	}
	check(GetRelocationInfo, "knows no call 74", NONE, relocation_of(rom_base, CALLS).type);
	check(GetRelocationInfo, "knows no call -1", NONE, relocation_of(rom_base, ~0u).type);
}

/* The code again after activation, as a module loader asks, and where the ROM is mapped a second time. */
void check_relocations_again(void)
{
	u32 different = 0, displaced = 0;

	for (u32 call = 0; call < CALLS; call++) {
		struct relocation_info again = relocation_of(rom_base, call), there = relocation_of(USER_ROM, call);

		different += again.eip != relocations[call].eip || again.type != relocations[call].type;
		displaced += offered(call) && there.eip - USER_ROM != relocations[call].eip - rom_base;
	}
	check(GetRelocationInfo, "answers the same at any time (pitfall 4)", 0, different);
	check(GetRelocationInfo, "answers for the address at which it runs (pitfall 5)", 0, displaced);
	check_true(Init, "fails a second time", init() != 0);
	check(Init, "leaves the privilege level alone the second time", KERNEL_CS | kernel_rpl, code_selector());
}
