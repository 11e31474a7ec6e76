/**
 * What firmware says about processors and interrupts: the tables of Intel's MultiProcessor Specification 1.4 (chapter 4), in the first
 * kilobyte of the extended BIOS data area. One processor, PCI and ISA buses, an I/O APIC whose pins are the lines of the 8259s; until the
 * kernel takes that over, the 8259s reach the processor through LINT0 ("virtual wire mode").
 */
import { APIC_VERSION } from '../devices/apic-registers.js';
import { IO_APIC_BASE, IO_APIC_VERSION, pinOf } from '../devices/io-apic.js';
import { APIC_BASE } from '../devices/local-apic.js';
import { LOW_MEMORY_END } from './memory-map.js';
import { checksum, text, word16, word32 } from './table-bytes.js';

export interface ProcessorTable {
  readonly apicId: number;
  readonly ioApicId: number;
  /** Leaf 1 of CPUID, EAX and EDX. */
  readonly signature: number;
  readonly features: number;
  /** Cards on PCI bus 0 that interrupt by INTA#, with the line of the 8259s that they are on. */
  readonly cards: readonly { readonly device: number; readonly irq: number }[];
}

const POINTER_AT = LOW_MEMORY_END + 16;
const TABLE_AT = POINTER_AT + 16;
/** In KiB. */
const DATA_AREA_SIZE = 1;
const SPECIFICATION = 4;
const HEADER_BYTES = 44;
const Entry = { PROCESSOR: 0, BUS: 1, IO_APIC: 2, IO_INTERRUPT: 3, LOCAL_INTERRUPT: 4 } as const;
const USABLE = 1;
const BOOT_PROCESSOR = 2;
const InterruptType = { VECTORED: 0, NMI: 1, EXT_INT: 3 } as const;
const ALL_APICS = 0xff;
const Bus = { PCI: 0, ISA: 1 } as const;
const LINES = 16;
const CASCADE = 2;

/** Makes the bytes sum to zero by the one at `at`. */
function withChecksum(bytes: readonly number[], at: number): Uint8Array {
  const summed = Uint8Array.from(bytes);
  summed[at] = checksum(bytes);
  return summed;
}

function entriesOf({ apicId, ioApicId, signature, features, cards }: ProcessorTable): number[][] {
  const bus = (id: number, type: string): number[] => [Entry.BUS, id, ...text(type, 6)];
  // Polarity and trigger mode are those of the bus.
  const interrupt = (kind: number, type: number, from: readonly [number, number], to: readonly [number, number]) => [
    ...[kind, type, ...word16(0), ...from, ...to],
  ];
  const ofPci = new Set(cards.map(({ irq }) => irq));
  const isaLines = Array.from({ length: LINES }, (_, irq) => irq).filter(irq => irq !== CASCADE && !ofPci.has(irq));
  return [
    [
      ...[Entry.PROCESSOR, apicId, APIC_VERSION, USABLE | BOOT_PROCESSOR],
      ...[...word32(signature), ...word32(features), ...word32(0), ...word32(0)],
    ],
    bus(Bus.PCI, 'PCI'),
    bus(Bus.ISA, 'ISA'),
    [Entry.IO_APIC, ioApicId, IO_APIC_VERSION, USABLE, ...word32(IO_APIC_BASE)],
    ...isaLines.map(irq =>
      interrupt(Entry.IO_INTERRUPT, InterruptType.VECTORED, [Bus.ISA, irq], [ioApicId, pinOf(irq)]),
    ),
    // A PCI source is device << 2 | pin, INTA# being 0.
    ...cards.map(({ device, irq }) =>
      interrupt(Entry.IO_INTERRUPT, InterruptType.VECTORED, [Bus.PCI, device << 2], [ioApicId, pinOf(irq)]),
    ),
    interrupt(Entry.LOCAL_INTERRUPT, InterruptType.EXT_INT, [Bus.ISA, 0], [apicId, 0]),
    interrupt(Entry.LOCAL_INTERRUPT, InterruptType.NMI, [Bus.ISA, 0], [ALL_APICS, 1]),
  ];
}

function configurationTable(processors: ProcessorTable): Uint8Array {
  const entries = entriesOf(processors);
  const body = entries.flat();
  const header = [
    ...[...text('PCMP', 4), ...word16(HEADER_BYTES + body.length), SPECIFICATION, 0],
    ...[...text('VMITOP', 8), ...text('VIRTUAL PC', 12), ...word32(0), ...word16(0)],
    ...[...word16(entries.length), ...word32(APIC_BASE), ...word16(0), 0, 0],
  ];
  return withChecksum([...header, ...body], 7);
}

/** The tables, each with its guest-physical address. */
export function mpTable(processors: ProcessorTable): readonly (readonly [physical: number, bytes: Uint8Array])[] {
  const pointer = [...text('_MP_', 4), ...word32(TABLE_AT), 1, SPECIFICATION, 0, 0, 0, 0, 0, 0];
  return [
    [LOW_MEMORY_END, Uint8Array.of(DATA_AREA_SIZE)],
    [POINTER_AT, withChecksum(pointer, 10)],
    [TABLE_AT, configurationTable(processors)],
  ];
}
