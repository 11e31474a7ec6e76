/** How an event came about: decides error-code bits, gate privilege check and the return address. */
export const Source = { FAULT: 0, TRAP: 1, SOFTWARE: 2, EXTERNAL: 3 } as const;
