/**
 * Three kinds of trouble, three ways out. Guest trouble is a returned value and never comes here. User trouble is a
 * `UsageError`: one line that names what and where, exit code 2. Our own bug is a `MonitorBug`: context and exit code 70.
 */

/** The user's input cannot be used. `message` is one complete line for the terminal. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** An internal promise was broken. Never caught on the way, except to stop the one VM it belongs to. */
export class MonitorBug extends Error {
  override readonly name = 'MonitorBug';
}
