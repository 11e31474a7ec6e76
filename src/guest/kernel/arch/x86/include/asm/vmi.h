/* VMI API 3.0: call numbers, ROM layout, flags. Facts of the interface; see the ABI's sections in the comments of vmi.c. */
#ifndef ASM_VMI_H
#define ASM_VMI_H

#include <linux/types.h>

enum vmi_call {
	VMI_CALL_CPUID = 0,
	VMI_CALL_SetGDT = 3,
	VMI_CALL_SetLDT = 4,
	VMI_CALL_SetIDT = 5,
	VMI_CALL_SetTR = 6,
	VMI_CALL_WriteGDTEntry = 11,
	VMI_CALL_WriteIDTEntry = 13,
	VMI_CALL_UpdateKernelStack = 14,
	VMI_CALL_SetCR0 = 15,
	VMI_CALL_SetCR3 = 17,
	VMI_CALL_SetCR4 = 18,
	VMI_CALL_GetCR0 = 19,
	VMI_CALL_GetCR2 = 20,
	VMI_CALL_GetCR3 = 21,
	VMI_CALL_GetCR4 = 22,
	VMI_CALL_RDTSC = 27,
	VMI_CALL_EnableInterrupts = 29,
	VMI_CALL_DisableInterrupts = 30,
	VMI_CALL_GetInterruptMask = 31,
	VMI_CALL_SetInterruptMask = 32,
	VMI_CALL_IRET = 33,
	VMI_CALL_SYSEXIT = 34,
	VMI_CALL_Halt = 35,
	VMI_CALL_Shutdown = 37,
	VMI_CALL_SetPxE = 38,
	VMI_CALL_UpdatePxE = 40,
	VMI_CALL_AllocatePage = 44,
	VMI_CALL_ReleasePage = 45,
	VMI_CALL_InvalPage = 46,
	VMI_CALL_FlushTLB = 47,
	VMI_CALL_SetLinearMapping = 48,
	VMI_CALL_GetCycleFrequency = 66,
	VMI_CALL_GetCycleCounter = 67,
	VMI_CALL_SetAlarm = 68,
	VMI_CALL_CancelAlarm = 69,
	VMI_CALL_SetLazyMode = 73,
};

enum vmi_relocation_type {
	VMI_RELOCATION_NONE = 0,
	VMI_RELOCATION_CALL_REL = 1,
	VMI_RELOCATION_JUMP_REL = 2,
	VMI_RELOCATION_NOP = 3,
};

#define VMI_SIGNATURE 0x696d5663 /* "cVmi" */
#define VMI_API_MAJOR 3
#define VMI_API_MINOR 0
#define VMI_PCI_VENDOR 0x15ad
#define VMI_PCI_DEVICE 0x0801

struct vmi_rom_header {
	u16 rom_signature;
	u8 rom_length;
	u8 rom_entry[4];
	u8 rom_pad0;
	u32 vrom_signature;
	u8 api_version_min, api_version_maj;
	u8 jump_slots;
	u8 reserved1;
	u32 virtual_top;
	u16 reserved2;
	u16 license_offs;
	u16 pci_header_offs;
	u16 pnp_header_offs;
	u32 rom_pad3;
	u8 reserved[96];
	u8 vmi_init[8];
	u8 get_reloc[8];
} __attribute__((packed));

struct vmi_pci_header {
	u8 signature[4];
	u16 vendor, device;
	u16 vpd;
	u16 length;
	u8 revision;
	u8 class_code[3];
	u16 image_length;
	u8 rom_version_min, rom_version_maj;
} __attribute__((packed));

struct vmi_pnp_header {
	u8 signature[4];
	u8 revision, length;
	u16 next;
	u16 reserved;
	u32 device;
	u16 manufacturer_offset, product_offset;
} __attribute__((packed));

/* SetPxE, UpdatePxE, AllocatePage, ReleasePage. */
#define VMI_PAGE_PT 0x01
#define VMI_PAGE_PD 0x02
/* AllocatePage, ReleasePage only. */
#define VMI_PAGE_CLONE 0x20
#define VMI_PAGE_ZEROED 0x40
/* SetPxE, UpdatePxE only. */
#define VMI_PAGE_CURRENT_AS 0x10
#define VMI_PAGE_DEFER 0x20
#define VMI_PAGE_VA_MASK 0xfffff000

#define VMI_FLUSH_TLB 0x01
#define VMI_FLUSH_GLOBAL 0x02

#define VMI_LAZY_NONE 0
#define VMI_LAZY_MMU 1
#define VMI_LAZY_CPU 2

#define VMI_CYCLES_REAL 0
#define VMI_CYCLES_AVAILABLE 1
#define VMI_ALARM_IS_ONESHOT 0x000
#define VMI_ALARM_IS_PERIODIC 0x100
#define VMI_ALARM_WIRED_IRQ0 0x00000

/* Address of a call's ROM code, or 0 when the ROM leaves the native form in place. */
u32 vmi_call_address(enum vmi_call call);
/* Takes over time when the ROM offers it. */
void vmi_time_probe(void);

extern int vmi_disable_timer, vmi_disable_noidle;

#endif
