/** Drives that disk images are served from, by their manuals. */

export interface DriveFigures {
  readonly model: string;
  /** Where the figures are from. */
  readonly source: string;
  readonly turnsPerMinute: number;
  /** Of an average track. */
  readonly trackBytes: number;
  readonly heads: number;
  readonly cylinders: number;
  /** From command to first movement and from the last byte to the response, ms. */
  readonly overheadMs: number;
  /** Time of the arm from one track to the next, of an average seek and of one across the whole surface, ms. */
  readonly readSeekMs: { readonly single: number; readonly average: number; readonly full: number };
  readonly writeSeekMs: { readonly single: number; readonly average: number; readonly full: number };
}

/** What two-socket Woodcrest servers had in their 2.5 inch bays. */
export const SAVVIO_10K_1: DriveFigures = {
  model: 'Seagate Savvio ST973401SS, 73.4 GB SAS',
  source:
    'Seagate, Savvio SAS Product Manual, Rev. D, 4.1 and 4.2.1 (typical figures; overhead: with controller less without)',
  turnsPerMinute: 10_000,
  trackBytes: 360_000,
  heads: 4,
  cylinders: 51_052,
  overheadMs: 0.2,
  readSeekMs: { single: 0.2, average: 4.0, full: 8.1 },
  writeSeekMs: { single: 0.6, average: 4.4, full: 8.6 },
};
