/** Seconds from 1970-01-01 to the moment at which every host is switched on: Tuesday, 2008-04-01 09:00:00 UTC. */
export const EPOCH_SECONDS = 1_207_040_400;
