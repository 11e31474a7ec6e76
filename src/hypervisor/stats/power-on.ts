/** What runs a guest when it is powered on, in the words of the event that tells of it. */
export const POWER_ON_REASONS = {
  native: 'native',
  bt: 'BT',
  hv: 'hardware assist',
  /** The guest has still to find the ROM and to call Init. */
  vmi: 'BT, VMI offered',
} as const;
