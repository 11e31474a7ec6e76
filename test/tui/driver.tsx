/**
 * The console over a fake session, for the PTY tests: `driver.tsx [crash | scribble | pid | words]`. Prints a last line after the
 * console is gone.
 */
import { runConsole } from '../../src/tui/app.js';
import { runLineConsole } from '../../src/tui/line-console.js';
import { defaultConfig } from '../../src/tui/state.js';
import { FakeSession } from './fake-session.js';

const session = new FakeSession();
session.plugDevices();
const ticking = setInterval(() => session.tick(), 250);
const what = process.argv[2];
// The space bar asks the session for a sample: that is when it happens.
if (what === 'crash') session.refresh = () => void Promise.reject(new Error('the driver broke'));
if (what === 'scribble') {
  session.refresh = () => void process.stdout.write('\u001b[10;1HSCRIBBLE\u001b[2;1HSCRIBBLE\r\n\n\n');
}
if (what === 'pid') session.failed = `pid ${process.pid}`;

try {
  await (what === 'words' ? runLineConsole : runConsole)(session, {
    config: defaultConfig(),
    configFile: { defaultPath: '/tmp/none', save: () => 'nothing is written here' },
    snapshotFile: {
      defaultPath: name => `${name}.svg`,
      save: path => Promise.resolve(`${path}: no picture is written here`),
    },
    programs: [
      { name: 'getppid', help: 'system calls' },
      { name: 'spin', help: 'user mode only' },
    ],
    symbols: [{ address: 0xc0101330, name: 'system_call' }],
    stdout: process.stdout,
    stdin: process.stdin,
  });
  console.log(`console ended; commands: ${JSON.stringify(session.commands)}`);
} catch (error) {
  console.log(`console failed: ${(error as Error).message}`);
  process.exitCode = 70;
} finally {
  clearInterval(ticking);
}
