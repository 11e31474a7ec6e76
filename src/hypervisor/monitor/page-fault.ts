/** The classes of page faults that hardware reports while a guest runs, as data: `ShadowMmu.classify` answers one of them. */
import type { Lpn, Ppn } from '../base/pages.js';
import type { MappedWalk } from './guest-walk.js';

/** What a page fault of hardware means for the guest. */
export type PageFault =
  /** The guest's own tables cause it: it must hear of it. */
  | { readonly kind: 'true'; readonly errorCode: number }
  /** Only the shadow lacks it: `fill`. */
  | HiddenFault
  /** A supervisor store to a read-only page with CR0.WP clear: allowed to the guest, never to the shadow. */
  | { readonly kind: 'unprotected'; readonly lpn: Lpn; readonly ppn: Ppn; readonly walk: MappedWalk }
  /** A store to a watched page. */
  | { readonly kind: 'trace'; readonly lpn: Lpn; readonly ppn: Ppn; readonly walk: MappedWalk }
  /** Device memory, or nothing at all, is there. */
  | {
      readonly kind: 'mmio';
      readonly lpn: Lpn;
      readonly ppn: Ppn;
      readonly walk: MappedWalk;
      readonly write: boolean;
    }
  /** A store to ROM, which drops it. */
  | { readonly kind: 'rom'; readonly lpn: Lpn; readonly ppn: Ppn; readonly walk: MappedWalk };

export interface HiddenFault {
  readonly kind: 'hidden';
  readonly lpn: Lpn;
  readonly ppn: Ppn;
  readonly walk: MappedWalk;
  readonly write: boolean;
}

/** Faults whose instruction the monitor carries out itself (`single-step.ts`). */
export type RefusedFault = Exclude<PageFault, { kind: 'true' | 'hidden' }>;
