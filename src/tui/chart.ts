/** The chart pane: a figure of some rows over the last minutes, with a cursor that says what it was. */
import { CAUSE_NAMES, CAUSES } from '../hypervisor/index.js';
import { clock, cut, left, printable, right, short } from './format.js';
import { causeKey, figureColumns, type HistoryColumn, type HistoryScreen, type Moment, scaleOf } from './history.js';
import { type PlotCell, plot } from './plot.js';
import type { Theme } from './theme.js';

export interface ChartDialog {
  readonly kind: 'chart';
  readonly screen: HistoryScreen;
  /** Id of the column. */
  readonly column: string;
  /** Keys of the rows whose lines are drawn, in the order in which they were marked: the letters of their lines. */
  readonly marked: readonly string[];
  /** Key of the row that space marks. */
  readonly selected: string | undefined;
  /** Virtual time of the cursor, seconds; undefined is the newest sample. */
  readonly cursor: number | undefined;
  readonly spanSeconds: number;
}

/** A row that can be drawn. */
export interface ChartRow {
  readonly key: string;
  readonly label: string;
}

/** What a chart is about: the rows of its screen now, and the times of the samples that are remembered, oldest first. */
export interface ChartContext {
  readonly rows: readonly ChartRow[];
  readonly times: readonly number[];
}

/** The rows of a VM on the exits screen. */
export const chartCauses = (vm: string): ChartRow[] =>
  CAUSE_NAMES.map(cause => ({ key: causeKey(vm, cause), label: `${CAUSES[cause].label}, ${printable(vm)}` }));

const SPANS = [0.1, 1, 10, 30, 60, 120, 300, 600, 1800, 3600] as const;
/** Lines that can be told apart. */
const LINES_MAX = 7;
const LEGEND_MAX = 8;
const AXIS_WIDTH = 8;
const LABEL_WIDTH = 2;
const PLOT_ROWS_MIN = 4;

export const openChart = (screen: HistoryScreen, column: HistoryColumn, marked: readonly string[]): ChartDialog => ({
  kind: 'chart',
  screen,
  column: column.id,
  marked,
  selected: marked[0],
  cursor: undefined,
  spanSeconds: 300,
});

const letterOf = (index: number): string => String.fromCharCode(65 + index);

const moved = <T>(list: readonly T[], from: number, step: number): T | undefined =>
  list[Math.max(0, Math.min(list.length - 1, from + step))];

/** The chart after a key; undefined closes it. */
export function chartKey(chart: ChartDialog, key: string, { rows, times }: ChartContext): ChartDialog | undefined {
  const at = Math.max(
    0,
    rows.findIndex(row => row.key === chart.selected),
  );
  const columns = figureColumns(chart.screen);
  const columnAt = columns.findIndex(({ id }) => id === chart.column);
  const spanAt = (SPANS as readonly number[]).indexOf(chart.spanSeconds);
  switch (key) {
    case 'up':
      return { ...chart, selected: moved(rows, at, -1)?.key };
    case 'down':
      return { ...chart, selected: moved(rows, at, 1)?.key };
    case 'space':
      return { ...chart, marked: toggled(chart.marked, rows[at]?.key) };
    case 'left':
      return {
        ...chart,
        cursor:
          times.filter(time => time < (chart.cursor ?? Infinity)).at(chart.cursor === undefined ? -2 : -1) ?? times[0],
      };
    case 'right': {
      const next = chart.cursor === undefined ? undefined : times.find(time => time > chart.cursor!);
      return { ...chart, cursor: next === times.at(-1) ? undefined : next };
    }
    case 'home':
      return { ...chart, cursor: times[0] };
    case 'end':
      return { ...chart, cursor: undefined };
    case ',':
      return { ...chart, column: moved(columns, columnAt, -1)!.id };
    case '.':
      return { ...chart, column: moved(columns, columnAt, 1)!.id };
    case '-':
      return { ...chart, spanSeconds: moved(SPANS, spanAt, -1)! };
    case '+':
    case '=':
      return { ...chart, spanSeconds: moved(SPANS, spanAt, 1)! };
    case 'escape':
    case 'enter':
    case 'q':
    case 'G':
    case 'ctrl-c':
      return undefined;
    default:
      return chart;
  }
}

function toggled(marked: readonly string[], key: string | undefined): readonly string[] {
  if (key === undefined) return marked;
  if (marked.includes(key)) return marked.filter(other => other !== key);
  return marked.length < LINES_MAX ? [...marked, key] : marked;
}

export interface ChartView extends ChartContext {
  readonly chart: ChartDialog;
  readonly title: string;
  readonly moments: (row: string) => readonly Moment[];
  readonly theme: Theme;
  readonly width: number;
  readonly height: number;
}

/** The pane, `height` lines. */
export function chartLines(view: ChartView): string[] {
  const { chart, rows, times, theme, width, height } = view;
  const to = times.at(-1) ?? 0;
  const cursor = chart.cursor ?? to;
  // The span ends at the newest sample, or further back, so that the cursor is in it; and does not begin before the host was started.
  const end = Math.max(Math.min(to, cursor + chart.spanSeconds / 2), chart.spanSeconds);
  const from = end - chart.spanSeconds;
  const series = chart.marked.map(key => view.moments(key).filter(({ seconds }) => seconds >= from && seconds <= end));
  const top = scaleOf(
    view.title,
    series.flatMap(moments => moments.flatMap(({ value }) => (Number.isNaN(value) ? [] : [value]))),
  );
  const legend = legendLines(view, cursor);
  const plotHeight = Math.max(PLOT_ROWS_MIN, height - 3 - legend.length);
  const plotWidth = width - AXIS_WIDTH - 1 - LABEL_WIDTH;
  const cells = plot(series, { width: plotWidth, height: plotHeight, from, to: end, top, ascii: theme.ascii });
  const cursorAt = Math.round(((cursor - from) / chart.spanSeconds) * (plotWidth - 1));
  const labels = endLabels(series, plotHeight, top);
  const time = (seconds: number): string => timeText(seconds, chart.spanSeconds);
  const heading = ` ${view.title} in ${spanText(chart.spanSeconds)}, ${chart.marked.length} of ${rows.length} rows; cursor at ${time(cursor)}`;
  const lines = cells.map((row, y) => {
    const axis = y === 0 ? short(top) : y === plotHeight - 1 ? '0' : y === plotHeight >> 1 ? short(top / 2) : '';
    return `${right(axis, AXIS_WIDTH)}${theme.ascii ? '|' : '│'}${plotRow(row, cursorAt, theme)}${labels[y] === undefined ? '  ' : ` ${theme.series(labels[y], letterOf(labels[y]))}`}`;
  });
  const base = theme.ascii ? `+${'-'.repeat(plotWidth)}` : `└${'─'.repeat(plotWidth)}`;
  const first = time(Math.max(0, from));
  const last = time(end);
  return [
    theme.heading(left(heading, width)),
    ...lines,
    cut(`${' '.repeat(AXIS_WIDTH)}${base}`, width),
    cut(`${' '.repeat(AXIS_WIDTH + 1)}${first}${last.padStart(Math.max(1, plotWidth - first.length))}`, width),
    ...legend,
  ].slice(0, height);
}

/** Short spans are within a second. */
const timeText = (seconds: number, span: number): string => (span < 10 ? `${seconds.toFixed(3)} s` : clock(seconds));

const spanText = (seconds: number): string => (seconds < 60 ? `${seconds} s` : `${seconds / 60} min`);

function plotRow(cells: readonly PlotCell[], cursorAt: number, theme: Theme): string {
  return cells
    .map(({ text, series }, x) => {
      if (series !== undefined) return theme.series(series, text);
      return x === cursorAt ? theme.key(theme.ascii ? ':' : '┊') : text;
    })
    .join('');
}

/** Which series' letter stands behind each row of the plot: at its last value, or as near as there is room. */
function endLabels(series: readonly (readonly Moment[])[], height: number, top: number): (number | undefined)[] {
  const labels = new Array<number | undefined>(height);
  series.forEach((moments, index) => {
    const value = moments.filter(moment => !Number.isNaN(moment.value)).at(-1)?.value;
    if (value === undefined) return;
    const wanted = Math.round((1 - Math.min(1, value / top)) * (height - 1));
    for (let distance = 0; distance < height; distance++) {
      const free = [wanted - distance, wanted + distance].find(y => y >= 0 && y < height && labels[y] === undefined);
      if (free === undefined) continue;
      labels[free] = index;
      return;
    }
  });
  return labels;
}

/** The rows around the selected one, each with what it was at the cursor. */
function legendLines({ chart, rows, moments, theme, width }: ChartView, cursor: number): string[] {
  const at = Math.max(
    0,
    rows.findIndex(({ key }) => key === chart.selected),
  );
  const from = Math.max(0, Math.min(at - LEGEND_MAX + 1, rows.length - LEGEND_MAX));
  return rows.slice(from, Math.max(from, 0) + LEGEND_MAX).map(({ key, label }, offset) => {
    const index = chart.marked.indexOf(key);
    const value =
      moments(key)
        .filter(({ seconds }) => seconds <= cursor)
        .at(-1)?.value ?? Number.NaN;
    const letter = index < 0 ? ' ' : letterOf(index);
    const text = `${from + offset === at ? '>' : ' '} ${letter} ${left(label, 32)} ${Number.isNaN(value) ? '-' : value.toFixed(2)}`;
    const line = cut(text, width);
    return index < 0 ? line : theme.series(index, line);
  });
}
