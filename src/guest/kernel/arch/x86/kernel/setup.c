/* What the boot loader told, and the architecture's part of the start. */
#include <asm/desc.h>
#include <asm/multiboot.h>
#include <asm/pgtable.h>
#include <asm/processor.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/time.h>

u32 boot_multiboot_info __attribute__((section(".data")));
char saved_command_line[COMMAND_LINE_BYTES];
const char *init_environment[16];
int panic_poweroff;
extern const char *syscall_option;
extern char _end[];
static u32 early_end;
static u32 ram_end = 4 << 20;

void *early_alloc(u32 bytes)
{
	void *at = (void *)early_end;

	early_end = page_align(early_end + bytes);
	if (__pa(early_end) > LOW_ZONE_BYTES)
		panic("the kernel and its tables do not fit below 8 MiB");
	return at;
}

/* By the multiboot convention the first word names the booted file; an option has a '='. */
static void copy_command_line(const struct multiboot_info *info)
{
	const char *from = info->flags & MULTIBOOT_INFO_CMDLINE ? __va(info->cmdline) : "", *word = from;
	u32 n = 0;

	while (*word && *word != ' ' && *word != '=')
		word++;
	if (*word != '=')
		from = word;
	while (*from == ' ')
		from++;
	while (*from && n < COMMAND_LINE_BYTES - 1)
		saved_command_line[n++] = *from++;
	saved_command_line[n] = 0;
}

static void read_memory_map(const struct multiboot_info *info)
{
	if (info->flags & MULTIBOOT_INFO_MMAP) {
		u32 at = info->mmap_addr, end = at + info->mmap_length;

		while (at < end) {
			const struct multiboot_mmap_entry *entry = __va(at);

			printk("BIOS-e820: %016llx - %016llx (%s)\n", entry->base, entry->base + entry->length,
			       entry->type == 1 ? "usable" : "reserved");
			if (entry->type == 1 && entry->base == 0x100000 && entry->length < 0xfff00000ull)
				ram_end = (u32)(entry->base + entry->length);
			at += entry->size + 4;
		}
	} else if (info->flags & MULTIBOOT_INFO_MEMORY) {
		ram_end = 0x100000 + info->mem_upper * 1024;
	}
	if (ram_end > LOWMEM_MAX)
		ram_end = LOWMEM_MAX;
	ram_end = page_floor(ram_end);
	if (ram_end < 12 << 20)
		panic("this kernel needs 12 MB of memory");
}

static int option_value(const char *word, const char *key, const char **value)
{
	size_t n = strlen(key);

	if (strncmp(word, key, n) != 0 || word[n] != '=')
		return 0;
	*value = word + n + 1;
	return 1;
}

/* Splits a copy of the command line; what is not for the kernel goes to init's environment. */
void parse_options(void)
{
	static char words[COMMAND_LINE_BYTES];
	char *at = words;
	const char *value;
	u32 environment = 2;

	init_environment[0] = "HOME=/";
	init_environment[1] = "PATH=/bin:/sbin";
	memcpy(words, saved_command_line, COMMAND_LINE_BYTES);
	while (*at) {
		char *word = at;

		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			*at++ = 0;
		if (option_value(word, "hz", &value)) {
			u32 asked = simple_strtoul(value, NULL);

			if (asked == 100 || asked == 250 || asked == 1000)
				hz = asked;
			else
				printk("hz= takes 100, 250 or 1000; keeping %u\n", hz);
		} else if (option_value(word, "vmi_timer_alarm_hz", &value)) {
			vmi_time_option(simple_strtoul(value, NULL));
		} else if (option_value(word, "vmi", &value)) {
			vmi_option(value);
		} else if (option_value(word, "syscall", &value)) {
			syscall_option = value;
		} else if (option_value(word, "panic", &value)) {
			panic_poweroff = !strcmp(value, "poweroff");
		} else if (option_value(word, "console", &value)) {
			/* There is one console. */
		} else if (strchr(word, '=') && environment < ARRAY_SIZE(init_environment) - 1) {
			init_environment[environment++] = word;
		}
	}
}

void setup_arch(void)
{
	const struct multiboot_info *info = __va(boot_multiboot_info);
	void *map;

	early_end = (u32)_end;
	early_cpu_init();
	trap_init();
	printk(KERNEL_NAME " version " KERNEL_RELEASE " (gcc) #1\n");
	copy_command_line(info);
	parse_options();
	read_memory_map(info);
	printk("Kernel command line: %s\n", saved_command_line);

	/* Before any page table is built, so that the hypervisor sees them all. */
	vmi_init();
	identify_cpu();
	max_pfn = ram_end >> PAGE_SHIFT;
	paging_init();
	map = early_alloc(max_pfn * sizeof(struct page));
	page_alloc_init(map, __pa(early_end) >> PAGE_SHIFT, max_pfn);
	cpu_init();
	/* Firmware keeps a little at the end; whole megabytes are what was built in. */
	printk("Memory: %uMB LOWMEM available\n", (ram_end + 0xfffff) >> 20);
	printk("CPU: %s family %u model %u\n", boot_cpu_data.vendor, boot_cpu_data.signature >> 8 & 15,
	       boot_cpu_data.signature >> 4 & 15);
	syscall_entry_init();
}
