/**
 * The console without its drawing: holds the state, takes keys, sends commands, and gives frames to whoever draws. Lives
 * outside React, which only asks for `frame()` when told that it changed.
 */
import type { Command, HostEvent, Sample, VmSample } from '../hypervisor/index.js';
import { type Desk, killVm, openPowerMenu, openRunMenu, toggleVmi } from './actions.js';
import { type ChartContext, chartCauses } from './chart.js';
import { untranslated } from './code.js';
import { formatConfig, NAME_LENGTH_MAX, ROWS_MAX } from './config-file.js';
import { ATTACH_KEYS, type DialogHolder, dialogKey, PAGE } from './dialog-keys.js';
import { fieldsOf, shownColumns } from './fields.js';
import { printable } from './format.js';
import { buildFrame, type Frame, type FrameInput } from './frame.js';
import { History, type HistoryScreen } from './history.js';
import { askForCode, askForScreen } from './host-question.js';
import type { Key } from './input.js';
import { bindingFor, type CommandId, type KeyBinding, screenName } from './keys.js';
import { BUTTONS, hitOf, mousePress } from './mouse.js';
import type { Screen } from './picture/picture.js';
import { type Asker, askCount, askDelay, askPlace, askSave, askSnapshot } from './prompts.js';
import { askTime, replayText } from './replay.js';
import {
  chartRow,
  chooseBeside,
  chooseGroup,
  copyRow,
  dropRow,
  expand,
  filterRows,
  markColumn,
  markFigures,
  search,
  sortBy,
  toggleSparklines,
  type View,
  zero,
} from './row-commands.js';
import { type Row, rowLabel } from './rows.js';
import { hasRows, SCREENS } from './screens.js';
import type { CodeSymbol, ConfigFile, GuestProgram, Replay, Session, SnapshotFile } from './session.js';
import {
  type ConsoleConfig,
  type ConsoleState,
  type Dialog,
  initialState,
  type MenuItem,
  type ShownSamples,
  selectedIndex,
  selectedVm,
} from './state.js';
import { screenRows } from './table.js';
import type { Theme } from './theme.js';

/** At most one new frame in this time when the host reports changes; keys are always drawn at once. */
const UPDATE_MIN_MS = 40;
/** The same when only the speed can have changed: a host reports many times a second that time went on. */
const SPEED_UPDATE_MIN_MS = 500;
/** Samples that the console asks for by itself are at least this far apart in real time. */
const OWN_SAMPLE_MIN_MS = 500;

export interface ControllerOptions {
  readonly config: ConsoleConfig;
  readonly configFile: ConfigFile;
  readonly snapshotFile: SnapshotFile;
  readonly programs: readonly GuestProgram[];
  readonly symbols: readonly CodeSymbol[];
  readonly theme: Theme;
  readonly columns: number;
  readonly rows: number;
  readonly quit: () => void;
  /** Back to the shell, until it brings the console to the foreground again. */
  readonly suspend: () => void;
  /** To the terminal's clipboard. */
  readonly copy: (text: string) => void;
  readonly redraw: () => void;
}

export class ConsoleController implements Desk, Asker {
  readonly #session: Session;
  readonly #options: ControllerOptions;
  readonly #listeners = new Set<() => void>();
  readonly #unsubscribe: () => void;
  readonly #code: ReturnType<typeof askForCode>;
  readonly #textScreen: ReturnType<typeof askForScreen>;
  #state: ConsoleState;
  #size: { columns: number; rows: number };
  #frame: Frame | undefined;
  #timer: { readonly handle: NodeJS.Timeout; readonly soon: boolean } | undefined;
  readonly #view = this.#viewOfCommands();
  readonly #history = new History();
  #remembered: Sample | undefined;
  #drawn: readonly unknown[] = [];
  #pace: NodeJS.Timeout | undefined;
  #lastEvent: HostEvent | undefined;

  constructor(session: Session, options: ControllerOptions) {
    this.#session = session;
    this.#options = options;
    this.#state = initialState(options.config, firstPlace(options.symbols));
    this.#code = askForCode(session, () => this.#changed());
    this.#textScreen = askForScreen(session, () => this.#changed());
    this.#size = { columns: options.columns, rows: options.rows };
    this.#lastEvent = session.events().at(-1);
    this.#remember();
    this.#unsubscribe = session.subscribe(() => {
      this.#remember();
      this.#hostChanged();
    });
    // Something to see at once, even when a second of virtual time takes a minute.
    if (session.latest() === undefined) session.refresh();
    this.#keepPace();
  }

  /**
   * The host samples every interval of virtual time. When that takes longer than the same interval of real time, the screen
   * would stand still: then the console asks for samples itself. Looking changes nothing in the host.
   */
  #keepPace(): void {
    const seen = this.#session.latest();
    this.#pace = setTimeout(
      () => {
        if (this.#session.latest() === seen) this.#session.refresh();
        this.#keepPace();
      },
      Math.max(OWN_SAMPLE_MIN_MS, this.#state.intervalMs),
    );
  }

  close(): void {
    this.#unsubscribe();
    clearTimeout(this.#timer?.handle);
    clearTimeout(this.#pace);
  }

  // What React uses: stable functions, and the same frame until something changed.

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly frame = (): Frame => {
    this.#frame ??= buildFrame(this.frameInput());
    return this.#frame;
  };

  /** All that a frame is made from: who has no use for frames says it in another way. */
  frameInput(): FrameInput {
    return {
      state: this.#state,
      ...this.#shown(),
      speed: this.#session.replay === undefined ? this.#session.speed() : replayText(this.#session.replay.position),
      engine: this.#session.engine?.(),
      failure: this.#session.failure?.(),
      events: this.#session.events(),
      history: this.#history,
      chartContext: screen => this.#chartContext(screen),
      consoleText: vm => this.#session.consoleText(vm),
      code: vm => this.#code.answer({ vm, address: this.#state.place }),
      screenText: vm => this.#textScreen.answer(vm),
      symbols: this.#options.symbols,
      theme: this.#options.theme,
      ...this.#size,
    };
  }

  /** What is on the screen, for a picture of it. */
  picture(): Screen {
    const { theme } = this.#options;
    const title = `vmitop: ${screenName(this.#state.screen)} screen`;
    return { frame: this.frame(), theme, columns: this.#size.columns, title };
  }

  resize(columns: number, rows: number): void {
    this.#size = { columns, rows };
    this.#changed();
  }

  #changed(): void {
    this.#frame = undefined;
    for (const listener of this.#listeners) listener();
  }

  /** What a frame is made of, apart from the speed; compared by identity. */
  #sources(): readonly unknown[] {
    const { dialog } = this.#state;
    const text = dialog?.kind === 'attach' ? this.#session.consoleText(dialog.vm) : undefined;
    return [this.#session.latest(), this.#session.events(), this.#session.failure?.(), text];
  }

  #hostChanged(): void {
    const sources = this.#sources();
    const same = sources.every((source, index) => source === this.#drawn[index]);
    if (this.#timer && (same || this.#timer.soon)) return;
    clearTimeout(this.#timer?.handle);
    const handle = setTimeout(() => this.#catchUp(same), same ? SPEED_UPDATE_MIN_MS : UPDATE_MIN_MS);
    this.#timer = { handle, soon: !same };
  }

  /** Takes note of what the host has told, which otherwise waits for a moment: many changes make one frame. */
  catchUp(): void {
    clearTimeout(this.#timer?.handle);
    this.#catchUp(false);
  }

  #catchUp(same: boolean): void {
    this.#timer = undefined;
    this.#drawn = this.#sources();
    this.#announce();
    if (!same) this.#followCode();
    this.#followScreen();
    this.#changed();
  }

  /** Trouble in a VM that the operator did not cause is said once, wherever the selection is. */
  #announce(): void {
    const events = this.#session.events();
    const seen = this.#lastEvent === undefined ? -1 : events.lastIndexOf(this.#lastEvent);
    // A replay that went back has nothing new to tell.
    const isBack = seen < 0 && (events.at(-1)?.atCycles ?? 0) < (this.#lastEvent?.atCycles ?? 0);
    this.#lastEvent = events.at(-1) ?? this.#lastEvent;
    for (const event of isBack ? [] : events.slice(seen + 1)) {
      if (event.kind === 'power' && event.state === 'crashed') {
        this.say(`${printable(event.vm)} crashed: ${printable(event.reason)}`, true);
      } else if (event.kind === 'audit') {
        this.say(`audit of ${printable(event.vm)}: ${printable(event.finding)}`, true);
      }
    }
  }

  #set(change: Partial<ConsoleState>): void {
    this.#state = { ...this.#state, ...change };
    this.#changed();
  }

  #dialog(dialog: Dialog | undefined): void {
    this.#set({ dialog });
  }

  // What actions use.

  say(text: string, alarm = false): void {
    this.#set({ message: { text, alarm } });
  }

  ask(question: string, yes: () => void): void {
    // A question that comes up while the operator does something else must not take the next key for its answer.
    if (this.#state.dialog === undefined) this.#dialog({ kind: 'confirm', question, yes });
  }

  openMenu(title: string, columns: readonly string[], items: readonly MenuItem[]): void {
    this.#dialog({ kind: 'menu', title, columns, items, index: 0 });
  }

  prompt(label: string, accept: (text: string) => void): void {
    this.#dialog({ kind: 'prompt', label, text: '', accept });
  }

  async send(command: Command): Promise<boolean> {
    try {
      const result = await this.#session.execute(command);
      if (!result.ok) this.say(printable(result.reason), true);
      else if (command.kind !== 'type') this.#session.refresh();
      return result.ok;
    } catch (error) {
      this.say(`the host does not answer: ${printable(error instanceof Error ? error.message : String(error))}`, true);
      return false;
    }
  }

  // Keys.

  /** Keys of one chunk of input. An attached guest gets what it is to get as one command. */
  keys(keys: readonly Key[]): void {
    let typed = '';
    const flush = () => {
      const dialog = this.#state.dialog;
      if (typed !== '' && dialog?.kind === 'attach') void this.send({ kind: 'type', vm: dialog.vm, text: typed });
      typed = '';
    };
    for (const key of keys) {
      if (key.name === 'mouse') {
        flush();
        this.#mouse(key);
        continue;
      }
      if (this.#state.dialog?.kind === 'attach' && !ATTACH_KEYS.has(key.name)) {
        typed += key.raw;
        continue;
      }
      flush();
      this.#key(key);
    }
    flush();
  }

  #key(key: Key): void {
    const dialog = this.#state.dialog;
    // A message stays until the next key; what is behind a question stays until the key after the answer.
    if (dialog?.kind !== 'confirm') this.#state = { ...this.#state, message: undefined };
    if (dialog) dialogKey(this.#view, dialog, key);
    else this.#tableKey(key);
    this.#changed();
  }

  /** The wheel is the keys that move; a click selects a row, sorts by a column, or presses the key of the footer. */
  #mouse(key: Key): void {
    const press = mousePress(key);
    if (press === undefined) return;
    const { dialog, screen } = this.#state;
    if (press.button === BUTTONS.wheelUp || press.button === BUTTONS.wheelDown) {
      const up = press.button === BUTTONS.wheelUp;
      const pages = dialog?.kind === 'attach' || (dialog === undefined && !(screen in SCREENS));
      const name = `${pages ? 'page' : ''}${up ? 'up' : 'down'}`;
      if (dialog === undefined || WHEEL_DIALOGS.has(dialog.kind)) this.#key({ name, raw: '' });
    } else if (press.button === BUTTONS.left && dialog === undefined) {
      const hit = hitOf(this.frame(), press.x, press.y);
      if (hit?.kind === 'key') this.#key({ name: hit.name, raw: hit.name });
      else if (hit?.kind === 'column') sortBy(this.#view, hit.id);
      else if (hit?.kind === 'row') {
        this.#set({ selected: hit.key, top: this.frame().top });
        this.#followCode();
      }
    }
  }

  #scrolled(step: number): number {
    return Math.max(0, this.frame().scroll + step);
  }

  /** What the files of commands may do with the console. */
  #viewOfCommands(): View & DialogHolder {
    const controller = this;
    return {
      get state() {
        return controller.#state;
      },
      set: change => this.#set(change),
      shown: () => this.#shown(),
      rows: () => this.#rows(),
      top: () => this.frame().top,
      columns: screen => shownColumns(SCREENS[screen].fields, this.#state.fields[screen]),
      copy: text => this.#options.copy(text),
      scrolled: step => this.#scrolled(step),
      followScreen: () => this.#followScreen(),
      chartContext: screen => this.#chartContext(screen),
      say: (text, alarm) => this.say(text, alarm),
      ask: (question, yes) => this.ask(question, yes),
      openMenu: (title, columns, items) => this.openMenu(title, columns, items),
      prompt: (label, accept) => this.prompt(label, accept),
      send: command => this.send(command),
    };
  }

  #askFields(what: 'toggle' | 'move'): void {
    if (fieldsOf(this.#state.screen).length > 0) this.#dialog({ kind: 'fields', what });
    else this.say('the columns of this screen are not to be chosen');
  }

  #tableKey(key: Key): void {
    const binding = bindingFor(key.name, this.#state.screen);
    if (binding) this.#commands[binding.command](binding);
    else if (key.name.length === 1) this.say(`no command on key ${printable(key.name)}; h shows the keys`);
  }

  /** The samples on the screen. */
  #shown(): ShownSamples {
    return this.#state.held ?? { now: this.#session.latest(), before: this.#session.previous() };
  }

  #rows(): Row[] {
    const { now, before } = this.#shown();
    const { screen, sort, expanded, filter } = this.#state;
    return now ? screenRows(screen, now, before, sort[screen], expanded, filter) : [];
  }

  #select(step: number): void {
    const rows = this.#rows();
    const index = selectedIndex(rows, this.#state.selected) + step;
    this.#set({ selected: rows[Math.max(0, Math.min(rows.length - 1, index))]?.key, top: this.frame().top });
    this.#followCode();
  }

  /** To the first or last row; where the rows are not on the screen, a page of what is. */
  #far(direction: -1 | 1): void {
    const { screen } = this.#state;
    if (screen === 'code') this.#set({ codeTop: this.#scrolled(direction * PAGE) });
    else if (screen === 'activity') this.#set({ activityBack: this.#scrolled(-direction * PAGE) });
    else this.#select(direction * Infinity);
  }

  /** The text screen that is shown is asked for anew. */
  #followScreen(): void {
    const { dialog } = this.#state;
    if (dialog?.kind === 'attach' && dialog.shows === 'screen') this.#textScreen.ask(dialog.vm);
  }

  /** Translation screen: asks for what it shows. */
  #followCode(): void {
    const { screen, place, held } = this.#state;
    if (screen !== 'code' || held !== undefined) return;
    const vm = selectedVm(this.#rows(), this.#state.selected);
    if (vm !== undefined && untranslated(vm) === undefined) this.#code.ask({ vm: vm.name, address: place });
  }

  #setDelay(ms: number): void {
    void this.send({ kind: 'setSampleInterval', ms }).then(ok => {
      if (ok) this.#set({ intervalMs: ms, message: { text: `delay ${ms / 1000} s`, alarm: false } });
    });
  }

  #showPlace(place: number): void {
    this.#set({ place, codeTop: 0 });
    this.#followCode();
  }

  /** Runs `act` for the VM of the selected row, as it is now. */
  #withVm(act: (vm: VmSample) => void): void {
    const name = selectedVm(this.#rows(), this.#state.selected)?.name;
    const vm = this.#session.latest()?.vms.find(candidate => candidate.name === name);
    if (vm) act(vm);
    else this.say('no VM is selected');
  }

  #withReplay(act: (replay: Replay) => void): void {
    if (this.#session.replay) act(this.#session.replay);
    else this.say('that is for replays: this host goes on by itself');
  }

  #screen(screen: ConsoleState['screen']): void {
    // A selected world is not on the other screens: its VM is.
    const vm = selectedVm(this.#rows(), this.#state.selected);
    this.#set({ screen, top: 0 });
    // What is in its place is the VM itself, or the first of its parts.
    const row = this.#rows().find(candidate => candidate.vm.name === vm?.name);
    if (row !== undefined) this.#set({ selected: row.key });
    this.#followCode();
  }

  #ioScreen(screen: ConsoleState['screen'], device: string): void {
    if (hasRows(screen, this.#shown().now)) this.#screen(screen);
    else this.say(`no VM of this host has a ${device}`);
  }

  readonly #commands: Readonly<Record<CommandId, (binding: KeyBinding) => void>> = {
    'screen.cpu': () => this.#screen('cpu'),
    'screen.memory': () => this.#screen('memory'),
    'screen.diskAdapter': () => this.#ioScreen('diskAdapter', 'disk'),
    'screen.diskDevice': () => this.#ioScreen('diskDevice', 'disk'),
    'screen.diskVm': () => this.#ioScreen('diskVm', 'disk'),
    'screen.network': () => this.#ioScreen('network', 'network card'),
    'screen.interrupt': () => this.#screen('interrupt'),
    'screen.timer': () => this.#screen('timer'),
    'screen.exits': () => this.#screen('exits'),
    'screen.code': () => this.#screen('code'),
    'screen.activity': () => this.#screen('activity'),
    'code.place': () => askPlace(this, this.#options.symbols, place => this.#showPlace(place)),
    'exits.beside': () => this.#withVm(vm => chooseBeside(this.#view, vm.name)),
    'exits.alone': () => this.#set({ beside: undefined }),
    'exits.zero': () => zero(this.#view),
    pause: () => {
      if (this.#session.replay) this.#session.replay.toggle();
      else this.#set({ held: this.#state.held === undefined ? this.#shown() : undefined });
    },
    'replay.next': () => this.#withReplay(replay => replay.step(1)),
    'replay.back': () => this.#withReplay(replay => replay.step(-1)),
    'replay.nextTen': () => this.#withReplay(replay => replay.step(10)),
    'replay.backTen': () => this.#withReplay(replay => replay.step(-10)),
    'replay.jump': () => this.#withReplay(replay => askTime(this, replay)),
    'replay.faster': () => this.#withReplay(replay => replay.faster(2)),
    'replay.slower': () => this.#withReplay(replay => replay.faster(0.5)),
    'vm.vmi': () => this.#withVm(vm => void toggleVmi(this, vm)),
    'vm.power': () => this.#withVm(vm => openPowerMenu(this, vm)),
    'vm.kill': () => this.#withVm(vm => killVm(this, vm)),
    'vm.run': () => this.#withVm(vm => openRunMenu(this, vm, this.#options.programs)),
    'vm.attach': () => this.#withVm(vm => this.#dialog({ kind: 'attach', vm: vm.name, scroll: 0, shows: 'serial' })),
    'row.expand': () => this.#withVm(vm => expand(this.#view, vm.name)),
    'row.drop': () => dropRow(this.#view),
    'rows.group': () => chooseGroup(this.#view),
    'rows.filter': () => filterRows(this.#view),
    'rows.search': () => search(this.#view),
    thresholds: () => markFigures(this.#view),
    'rows.max': () => askCount(this, 'Rows to show (0: all that fit): ', ROWS_MAX, rowsMax => this.#set({ rowsMax })),
    'rows.name': () =>
      askCount(this, 'Length of NAME (0: as it was): ', NAME_LENGTH_MAX, nameLength => this.#set({ nameLength })),
    'rows.vms': () => this.say('every group of this host is a VM'),
    'row.previous': () => this.#select(-1),
    'row.next': () => this.#select(1),
    'row.first': () => this.#far(-1),
    'row.last': () => this.#far(1),
    sort: ({ column }) => {
      if (column !== undefined) this.#set({ sort: { ...this.#state.sort, [this.#state.screen]: column }, top: 0 });
    },
    'sort.balloon': () => this.say('MCTLSZ: no guest has a balloon driver yet, so there is nothing to sort by'),
    delay: () => askDelay(this, this.#state.intervalMs, ms => this.#setDelay(ms)),
    fields: () => this.#askFields('toggle'),
    order: () => this.#askFields('move'),
    'config.save': () => askSave(this, this.#options.configFile, () => formatConfig(this.#state)),
    snapshot: () => askSnapshot(this, this.#options.snapshotFile, screenName(this.#state.screen), this.picture()),
    refresh: () => this.#session.refresh(),
    'column.left': () => markColumn(this.#view, -1),
    'column.right': () => markColumn(this.#view, 1),
    'row.copy': () => copyRow(this.#view),
    suspend: () => this.#options.suspend(),
    sparklines: () => toggleSparklines(this.#view),
    chart: () => chartRow(this.#view),
    redraw: () => this.#options.redraw(),
    help: () => this.#dialog({ kind: 'help', top: 0 }),
    quit: () => this.#options.quit(),
  };

  #chartContext(screen: HistoryScreen): ChartContext {
    const { times } = this.#history;
    const { now, before } = this.#shown();
    if (screen === 'exits') {
      const names = [selectedVm(this.#rows(), this.#state.selected)?.name, this.#state.beside];
      const vms = now?.vms.filter(({ name }) => names.includes(name)) ?? [];
      const rows = vms.flatMap(vm => chartCauses(vm.name));
      return { rows, times };
    }
    const rows = now ? screenRows(screen, now, before, this.#state.sort[screen], this.#state.expanded) : [];
    return { rows: rows.map(row => ({ key: row.key, label: rowLabel(row) })), times };
  }

  /** A new sample is remembered, once. */
  #remember(): void {
    const latest = this.#session.latest();
    if (latest === undefined || latest === this.#remembered) return;
    this.#remembered = latest;
    this.#history.take(latest, this.#session.previous());
  }
}

/** Dialogs that the wheel moves in. */
const WHEEL_DIALOGS: ReadonlySet<string> = new Set(['menu', 'help', 'chart', 'attach']);

/** What the translation screen shows first: the way of every system call, where the kernel is ours. */
const firstPlace = (symbols: readonly CodeSymbol[]): number =>
  (symbols.find(({ name }) => name === 'system_call') ?? symbols[0])?.address ?? 0;
