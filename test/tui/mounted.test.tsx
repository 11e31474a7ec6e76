/** A mounted console: it draws when news comes, and not otherwise. */
import { render } from 'ink-testing-library';
import { afterEach, expect, test } from 'vitest';
import { App } from '../../src/tui/app.js';
import { ConsoleController } from '../../src/tui/controller.js';
import { splitKeys } from '../../src/tui/input.js';
import { defaultConfig } from '../../src/tui/state.js';
import { PLAIN_THEME } from '../../src/tui/theme.js';
import { FakeSession } from './fake-session.js';

let close = () => {};
afterEach(() => close());

function mount() {
  const session = new FakeSession();
  const controller = new ConsoleController(session, {
    config: defaultConfig(),
    configFile: { defaultPath: '/tmp/none', save: () => 'nothing is written here' },
    snapshotFile: { defaultPath: name => name, save: () => Promise.resolve('no picture is written here') },
    programs: [],
    symbols: [],
    theme: PLAIN_THEME,
    columns: 100,
    rows: 24,
    quit: () => {},
    suspend: () => {},
    copy: () => {},
    redraw: () => {},
  });
  const app = render(<App controller={controller} theme={PLAIN_THEME} />);
  close = () => {
    app.unmount();
    controller.close();
  };
  const settle = () => new Promise(resolve => setTimeout(resolve, 60));
  return { session, controller, app, settle };
}

test('new samples, changed VMs and keys reach the screen of a mounted console', async () => {
  const { session, controller, app, settle } = mount();
  await settle();
  expect(app.lastFrame()).toContain('web-vmi');
  expect(app.lastFrame()).not.toContain('nforkwait');

  session.change('web-vmi', { guestState: 'nforkwait' });
  await settle();
  expect(app.lastFrame()).toMatch(/web-vmi.*nforkwait/);

  controller.keys(splitKeys('m').keys);
  await settle();
  expect(app.lastFrame()).toMatch(/PMEM {2}\/MB:/);
});

test('nothing is drawn while nothing changes', async () => {
  const { app, settle } = mount();
  await settle();
  const before = app.frames.length;
  await settle();
  expect(app.frames.length).toBe(before);
});
