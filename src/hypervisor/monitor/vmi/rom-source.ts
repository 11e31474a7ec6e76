/**
 * The ROM's machine code, as assembler text with origin 0.
 *
 * Rules that every stub keeps:
 *   - position independent: the guest runs the ROM in place, at PAGE_OFFSET + 0xC0000 or wherever it maps that page; data
 *     is reached through the vCPU page at its fixed linear address, with an SS override, because DS and ES may hold user
 *     selectors (calls 29 to 34) while CS and SS are flat;
 *   - EBX, ESI, EDI, EBP and ESP are kept; calls 29, 30 and 32 keep all registers, 31 all but EAX, the port calls all but
 *     EAX;
 *   - at a hypercall the registers and the stack are those of the call, so that the monitor finds the arguments where the
 *     ABI puts them; a label `site_<index>` stands behind each `int`, and by it the monitor knows the call.
 *
 * IRET is the delicate one. Between the store to VIF and the real IRET an interrupt would nest on a frame that is half
 * gone, as many times as interrupts come. The stretch from `iret_restart` to `iret_slow` is therefore restartable: it changes
 * nothing but VIF (and sets the RPL of a kernel CS, twice the same), and the monitor, when it takes control there, clears VIF
 * and goes back to its start. The test of PENDING then leads to the monitor, which performs the return itself and delivers on
 * top of the interrupted context.
 */
import { HYPERCALL_VECTOR } from '../hole.js';
import { VcpuPage } from '../vcpu-page.js';
import { CALL, CALLS, type CallName, Relocation } from './calls.js';
import { Deferred, DIRECT_GATES, EntryFlag, LazyMode, pageLinear, VmiPage } from './rom-layout.js';

/** Flags.VIF as the vCPU page holds it. */
const IF = '0x200';

const field = (offset: number): string => `ss:[0x${pageLinear(offset).toString(16)}]`;
const VIF = field(VcpuPage.VIF);
const PENDING = field(VcpuPage.PENDING);
const LAZY_MODE = field(VcpuPage.LAZY_MODE);
const QUEUE_COUNT = field(VcpuPage.QUEUE_COUNT);
const VFLAGS = field(VcpuPage.VFLAGS);
const DEFERRED = field(VmiPage.DEFERRED);
const SITE = field(VmiPage.RETURN_SITE);

/** `what` tells two hypercalls of one call apart in the listing. */
const hypercall = (name: CallName, what = ''): string =>
  `int 0x${HYPERCALL_VECTOR.toString(16)}\n site_${CALL[name]}${what === '' ? '' : `_${what}`}:`;

/** The guest has stored the entry itself, of whatever width: its address and the flags go where SetPxE has them. */
const ENTRY_STORED = `
    mov ecx, edx
    mov edx, eax
    jmp note_entry`;

/** Code of the calls marked `fast`; entry labels are `call_<index>`, written here as names. */
const FAST: Partial<Record<CallName, string>> = {
  // Lazy CPU mode: a context switch hands over its directory and its stack with one hypercall, when the mode is left.
  UpdateKernelStack: `
    cmp dword ${LAZY_MODE}, ${LazyMode.CPU}
    jne update_stack_now
    mov ${field(VmiPage.KERNEL_SS)}, eax
    mov ${field(VmiPage.KERNEL_ESP)}, edx
    or dword ${DEFERRED}, ${Deferred.KERNEL_STACK}
    ret
  update_stack_now:
    ${hypercall('UpdateKernelStack')}
    ret`,
  SetCR2: `
    mov ${field(VcpuPage.CR2)}, eax
    ret`,
  SetCR3: `
    cmp dword ${LAZY_MODE}, ${LazyMode.CPU}
    jne set_cr3_now
    mov ${field(VcpuPage.CR3)}, eax
    mov ${field(VmiPage.NEXT_CR3)}, eax
    or dword ${DEFERRED}, ${Deferred.CR3}
    ret
  set_cr3_now:
    ${hypercall('SetCR3')}
    ret`,
  GetCR0: `
    mov eax, ${field(VcpuPage.CR0)}
    ret`,
  GetCR2: `
    mov eax, ${field(VcpuPage.CR2)}
    ret`,
  GetCR3: `
    mov eax, ${field(VcpuPage.CR3)}
    ret`,
  GetCR4: `
    mov eax, ${field(VcpuPage.CR4)}
    ret`,
  RDTSC: `
    rdtsc
    ret`,
  CLTS: `
    test byte ${field(VcpuPage.CR0)}, 8
    jz clts_done
    ${hypercall('CLTS')}
  clts_done:
    ret`,
  // SetInterruptMask falls into EnableInterrupts: forward jumps only.
  SetInterruptMask: `
    test ah, 2
    jnz call_${CALL.EnableInterrupts}
    mov dword ${VIF}, 0
    ret`,
  EnableInterrupts: `
    mov dword ${VIF}, ${IF}
    cmp dword ${PENDING}, 0
    jne enable_pending
    ret
  enable_pending:
    ${hypercall('EnableInterrupts')}
    ret`,
  DisableInterrupts: `
    mov dword ${VIF}, 0
    ret`,
  GetInterruptMask: `
    mov eax, ${VIF}
    ret`,
  // Builds the frame that IRET takes; all flags but IF are those of the kernel, as SYSEXIT leaves them.
  SYSEXIT: `
    pop dword ${SITE}
    push dword ${field(VmiPage.USER_SS)}
    push ecx
    pushfd
    push dword ${field(VmiPage.USER_CS)}
    push edx
    jmp iret_user`,
  IRET: `
    pop dword ${SITE}
  iret_restart:
    test byte [esp+10], 2            ; EFLAGS.VM
    jnz iret_slow
    or byte [esp+4], 1               ; a kernel CS with RPL 0 becomes one of ring 1
    test byte [esp+4], 2             ; RPL 3?
    jz iret_kernel
  iret_user:
    mov dword ${VIF}, ${IF}
    cmp dword ${PENDING}, 0
    jne iret_slow
    iret
  iret_kernel:
    test byte [esp+9], 2             ; EFLAGS.IF
    jz iret_masked
    mov dword ${VIF}, ${IF}
    cmp dword ${PENDING}, 0
    jne iret_slow
    iret
  iret_masked:
    mov dword ${VIF}, 0
    iret
  iret_slow:
    ${hypercall('IRET')}
    ud2`,
  // Page tables hold guest-physical addresses, so physical is machine, frame or address, whatever else was passed.
  MachineToPhysical: 'ret',
  PhysicalToMachine: 'ret',
  // There is one virtual CPU: whichever APIC ID is named, nobody is there to start.
  SetInitialAPState: 'ret',
  SetPxE: `
    mov [edx], eax
  note_entry:
    mov eax, ${QUEUE_COUNT}
    test cl, ${EntryFlag.DEFER}
    jnz append
    cmp dword ${LAZY_MODE}, ${LazyMode.MMU}
    jne note_now
  append:
    cmp eax, ${VcpuPage.QUEUE_ENTRIES}
    jae queue_full
    mov ss:[0x${pageLinear(VcpuPage.QUEUE).toString(16)}+eax*8], edx
    mov ss:[0x${pageLinear(VcpuPage.QUEUE + 4).toString(16)}+eax*8], ecx
    inc eax
    mov ${QUEUE_COUNT}, eax
  appended:
    inc dword ${field(VmiPage.UPDATES_QUEUED)}
    ret
  note_now:
    ${hypercall('SetPxE')}
    ret
  queue_full:
    ${hypercall('SetPxE', 'full')}
    jmp note_entry`,
  UpdatePxE: ENTRY_STORED,
  // Both words at once: nobody ever finds half of a present entry.
  SetPxELong: `
    push ebx
    push edi
    mov edi, ecx
    mov ebx, eax
    mov ecx, edx
    mov eax, [edi]
    mov edx, [edi+4]
  store_long:
    lock cmpxchg8b [edi]
    jnz store_long
    mov edx, edi
    pop edi
    pop ebx
    mov ecx, [esp+4]
    jmp note_entry`,
  UpdatePxELong: ENTRY_STORED,
  SetIOPLMask: `
    and eax, 0x3000
    mov ecx, ${VFLAGS}
    and ecx, -0x3001
    or ecx, eax
    mov ${VFLAGS}, ecx
    ret`,
  GetCycleFrequency: `
    mov eax, ${field(VmiPage.FREQUENCY_LOW)}
    mov edx, ${field(VmiPage.FREQUENCY_HIGH)}
    ret`,
  // REAL is the TSC less an offset; AVAILABLE is REAL less what was stolen. Stolen cycles are two words, which change together
  // between two equal, even versions.
  GetCycleCounter: `
    cmp eax, 1
    je available
    ja stolen
    rdtsc
    sub eax, ${field(VmiPage.REAL_OFFSET_LOW)}
    sbb edx, ${field(VmiPage.REAL_OFFSET_HIGH)}
    ret
  available:
    mov ecx, ${field(VcpuPage.TIME_VERSION)}
    test cl, 1
    jnz available
    rdtsc
    sub eax, ${field(VmiPage.REAL_OFFSET_LOW)}
    sbb edx, ${field(VmiPage.REAL_OFFSET_HIGH)}
    sub eax, ${field(VcpuPage.STOLEN_LOW)}
    sbb edx, ${field(VcpuPage.STOLEN_HIGH)}
    cmp ecx, ${field(VcpuPage.TIME_VERSION)}
    jne available
    ret
  stolen:
    cmp eax, 2
    jne no_counter
  stolen_again:
    mov ecx, ${field(VcpuPage.TIME_VERSION)}
    mov eax, ${field(VcpuPage.STOLEN_LOW)}
    mov edx, ${field(VcpuPage.STOLEN_HIGH)}
    cmp ecx, ${field(VcpuPage.TIME_VERSION)}
    jne stolen_again
    ret
  no_counter:
    xor eax, eax
    xor edx, edx
    ret`,
  SetLazyMode: `
    mov ${LAZY_MODE}, eax
    test eax, eax
    jnz lazy_done
    mov ecx, ${QUEUE_COUNT}
    or ecx, ${DEFERRED}
    jz lazy_done
    ${hypercall('SetLazyMode')}
  lazy_done:
    ret`,
};

/**
 * Hardware enters here through a direct gate, from ring 3 or ring 1, with the frame of the exception on the ring-1 stack. From
 * ring 3 the frame is what the guest expects: virtual interrupts are on there, as in the image. From ring 1 the image shows
 * the hardware's IF, which is always set, so the stub puts the virtual one in its place.
 */
const directGate = (slot: number): string => `
  gate_${slot}:
    test byte [esp+4], 2             ; RPL 3?
    jz gate_${slot}_kernel
    jmp dword ${field(VmiPage.HANDLERS + 4 * slot)}
  gate_${slot}_kernel:
    push eax
    mov eax, ${VIF}
    and dword [esp+12], -0x201
    or [esp+12], eax
    pop eax
    jmp dword ${field(VmiPage.HANDLERS + 4 * slot)}`;

/** Text of everything behind the header. `offsets` is empty on the first pass, which only finds the labels. */
export function romSource(offsets: ReadonlyMap<string, number>): string {
  const rows = CALLS.map(({ index, how }) => {
    const type = how === 'nop' ? Relocation.NOP : how === 'none' ? Relocation.NONE : (Relocation.CALL_REL as number);
    return `dw ${type === Relocation.CALL_REL ? (offsets.get(`call_${index}`) ?? 0) : 0}, ${type}`;
  });
  const fastNames = Object.keys(FAST) as CallName[];
  const stubs = CALLS.filter(call => call.how === 'hypercall');
  return `
    relocations:
    ${rows.join('\n')}
    init:
      int 0x${HYPERCALL_VECTOR.toString(16)}
    site_init:
      ret
    get_relocation_info:
      cmp eax, ${CALLS.length}
      jae unknown_call
      call reloc_here
    reloc_here:
      pop ecx
      mov edx, ss:[ecx+eax*4+relocations-reloc_here]
      lea ecx, [ecx-reloc_here]
      movzx eax, dx
      shr edx, 16
      add eax, ecx
      ret
    unknown_call:
      xor eax, eax
      xor edx, edx
      ret
    ${fastNames.map(name => `call_${CALL[name]}:${FAST[name]}`).join('\n')}
    ${stubs.map(({ index, name }) => `call_${index}: ${hypercall(name)}\n ret`).join('\n')}
    ${Array.from({ length: DIRECT_GATES }, (_, slot) => directGate(slot)).join('\n')}`;
}
