/** The console's door for the command line. */
export { runConsole } from './app.js';
export { headerLines } from './header.js';
export type { ConsoleOptions, GuestProgram, Session } from './session.js';
export { textTable } from './table.js';
