/** A console over a fake session, without a terminal: keys in, frames out. */
import { renderToString } from 'ink';
import { App } from '../../src/tui/app.js';
import { ConsoleController } from '../../src/tui/controller.js';
import { splitKeys } from '../../src/tui/input.js';
import type { Screen } from '../../src/tui/picture/picture.js';
import type { CodeSymbol, GuestProgram } from '../../src/tui/session.js';
import { type ConsoleConfig, defaultConfig } from '../../src/tui/state.js';
import { PLAIN_THEME, type Theme } from '../../src/tui/theme.js';
import { FakeSession } from './fake-session.js';

const PROGRAMS: readonly GuestProgram[] = [
  { name: 'getppid', help: 'system calls' },
  { name: 'spin', help: 'user mode only' },
];
/** Of a kernel that is made up. */
const SYMBOLS: readonly CodeSymbol[] = [
  { address: 0xc0101000, name: 'startup' },
  { address: 0xc0101330, name: 'system_call' },
  { address: 0xc0101380, name: 'sys_fork' },
  { address: 0xc01013c0, name: 'add' },
];
const open: ConsoleController[] = [];

/** For `afterEach`. */
export function closeConsoles(): void {
  for (const controller of open.splice(0)) controller.close();
}

export function consoleOn(
  columns = 80,
  rows = 24,
  session = new FakeSession(),
  programs = PROGRAMS,
  config: ConsoleConfig = defaultConfig(),
  theme: Theme = PLAIN_THEME,
) {
  const calls: string[] = [];
  /** Configuration files that were written, and why the next one cannot be. */
  const files = new Map<string, string>();
  const pictures = new Map<string, Screen>();
  const trouble: { reason?: string } = {};
  const controller = new ConsoleController(session, {
    config,
    configFile: {
      defaultPath: '/home/me/.vmitoprc',
      save: (path, text) => {
        if (trouble.reason === undefined) files.set(path, text);
        return trouble.reason;
      },
    },
    snapshotFile: {
      defaultPath: name => `vmitop-${name}-1.svg`,
      save: (path, picture) => {
        if (trouble.reason === undefined) pictures.set(path, picture);
        return Promise.resolve(trouble.reason);
      },
    },
    programs,
    symbols: SYMBOLS,
    theme,
    columns,
    rows,
    quit: () => calls.push('quit'),
    redraw: () => calls.push('redraw'),
    suspend: () => calls.push('suspend'),
    copy: text => calls.push(text),
  });
  open.push(controller);
  const screen = () => renderToString(<App controller={controller} theme={theme} />, { columns });
  /** Presses keys, lets commands be answered, and looks. */
  const press = async (keys: string) => {
    const { keys: split, rest } = splitKeys(keys);
    controller.keys(rest === '\u001b' ? [...split, { name: 'escape', raw: rest }] : split);
    await new Promise(resolve => setImmediate(resolve));
    return screen();
  };
  return { session, controller, screen, press, calls, files, pictures, trouble };
}

/** A frame as it is compared: no blanks at line ends. */
export const shape = (frame: string) => frame.replace(/ +$/gm, '');
