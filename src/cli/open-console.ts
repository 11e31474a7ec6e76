/** The console on a terminal, drawn or in words. Loaded late: React and Ink are of no use to other commands, nor to a console in words. */
import type { ConsoleOptions, Session } from '../tui/session.js';

/** `inWords`: what `--screen-reader` says; without it the environment tells, in the variable that Ink's programs know. */
export async function openConsole(
  inWords: boolean | undefined,
  session: Session,
  options: ConsoleOptions,
): Promise<void> {
  if (inWords ?? process.env['INK_SCREEN_READER'] === 'true') {
    const { runLineConsole } = await import('../tui/line-console.js');
    await runLineConsole(session, options);
  } else {
    const { runConsole } = await import('../tui/app.js');
    await runConsole(session, options);
  }
}
