/** The console on a terminal: Ink for the frames, raw input for the keys, and the terminal as it was when it is over. */
import { render } from 'ink';
import { useSyncExternalStore } from 'react';
import { FrameView } from './components/frame-view.js';
import { ConsoleController } from './controller.js';
import { MOUSE_OFF, MOUSE_ON } from './mouse.js';
import type { ConsoleOptions, Session } from './session.js';
import { asError, readKeys, watchEnd } from './terminal.js';
import { type Theme, themeFor } from './theme.js';

/** Sizes of one drag of a window's corner arrive in a burst. */
const RESIZE_SETTLE_MS = 20;
/**
 * Ink holds a frame back that follows another one too soon. The controller spares the terminal by itself; a key's answer that comes while a sample
 * was drawn must not wait for the thirtieth of a second that Ink takes by default.
 */
const FRAMES_PER_SECOND_MAX = 250;
/** After the signal to stop: a process that still runs then was not stopped. */
const RESUME_WAIT_MS = 100;
/** Alternate screen and cursor, as Ink switches them. */
const LEAVE_SCREEN = '\u001b[?1049l\u001b[?25h';
const ENTER_SCREEN = '\u001b[?1049h\u001b[?25l';
const CLEAR_AND_HOME = '\u001b[2J\u001b[H';

interface AppProps {
  readonly controller: Pick<ConsoleController, 'subscribe' | 'frame'>;
  readonly theme: Theme;
  /** Draw nothing: the step between two sizes. */
  readonly blank?: boolean;
}

export function App({ controller, theme, blank = false }: AppProps) {
  const frame = useSyncExternalStore(controller.subscribe, controller.frame);
  return blank ? null : <FrameView frame={frame} theme={theme} />;
}

/**
 * Runs the console until the user quits, a signal ends it (then `process.exitCode` is 128 + the signal's number), stdin ends, or
 * something throws: then the terminal is restored first and the promise rejects with the error. The session stays open: whoever
 * opened it closes it.
 */
export async function runConsole(session: Session, options: ConsoleOptions): Promise<void> {
  const { stdout, stdin } = options;
  const theme = themeFor(process.env);
  let finish: (error?: Error) => void = () => {};
  const finished = new Promise<Error | undefined>(resolve => {
    finish = resolve;
  });
  const size = () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 });

  const controller = new ConsoleController(session, {
    ...options,
    theme,
    ...size(),
    quit: () => finish(),
    redraw: () => drawAnew(),
    suspend: () => suspend(),
    copy: text => void stdout.write(`\u001b]52;c;${Buffer.from(text).toString('base64')}\u0007`),
  });
  const app = (blank: boolean) => <App controller={controller} theme={theme} blank={blank} />;
  const instance = render(app(false), {
    stdout,
    stdin,
    interactive: Boolean(stdout.isTTY),
    alternateScreen: true,
    incrementalRendering: true,
    maxFps: FRAMES_PER_SECOND_MAX,
    exitOnCtrlC: false,
  });

  /**
   * Ink draws changed lines only and trusts the screen to be as it left it. After a resize (or a stray line from elsewhere)
   * that is not so: clear, draw an empty frame, wait until it is out, then the full one.
   */
  let settle: NodeJS.Timeout | undefined;
  const drawAnew = () => {
    stdout.write(CLEAR_AND_HOME);
    instance.rerender(app(true));
    clearTimeout(settle);
    settle = setTimeout(() => {
      void instance.waitUntilRenderFlush().then(() => {
        controller.resize(size().columns, size().rows);
        instance.rerender(app(false));
      });
    }, RESIZE_SETTLE_MS);
  };
  const takeMouse = (on: boolean) => {
    if (options.config.mouse && stdout.isTTY) stdout.write(on ? MOUSE_ON : MOUSE_OFF);
  };
  takeMouse(true);

  /**
   * As a shell's job: the terminal is as it was while the process stands still, the host with it. Where there is no shell to stop for (POSIX
   * ignores the signal then), the console goes on at once.
   */
  const suspend = () => {
    if (!stdin.isTTY || !stdout.isTTY) return;
    takeMouse(false);
    stdout.write(LEAVE_SCREEN);
    stdin.setRawMode(false);
    let resumed = false;
    const resume = () => {
      if (resumed) return;
      resumed = true;
      process.off('SIGCONT', resume);
      stdin.setRawMode(true);
      stdout.write(ENTER_SCREEN);
      takeMouse(true);
      drawAnew();
    };
    process.on('SIGCONT', resume);
    process.kill(process.pid, 'SIGTSTP');
    setTimeout(resume, RESUME_WAIT_MS);
  };

  // Before Ink's own listener, which draws the frame at once: it must find the empty one.
  stdout.prependListener('resize', drawAnew);

  const stopReading = readKeys(stdin, keys => {
    try {
      controller.keys(keys);
    } catch (error) {
      finish(asError(error));
    }
  });
  const stopWatching = watchEnd(stdin, finish);
  // A component that throws makes Ink end by itself.
  instance.waitUntilExit().then(
    () => finish(),
    (error: unknown) => finish(asError(error)),
  );

  options.hostStands?.catch((error: unknown) => finish(asError(error)));

  const error = await finished;
  clearTimeout(settle);
  stdout.off('resize', drawAnew);
  stopReading();
  takeMouse(false);
  controller.close();
  instance.unmount();
  await instance.waitUntilExit().catch(() => {});
  stopWatching();
  if (error) throw error;
}
