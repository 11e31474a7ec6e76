/**
 * Reads a performance log of Windows as text (PDH-CSV 4.0): what `vmitop batch` and esxtop's batch mode write, and what `relog` makes of it.
 * A header line with the path of each counter, then a line for each sample:
 *
 *     "(PDH-CSV 4.0) (UTC)(0)","\\esx01\Memory\Machine MBytes",...,"\\esx01\Group Cpu(16:web01)\% Used",...
 *     "04/01/2008 09:00:05","5120",...,"12.41",...
 *
 * A cell that is empty or blank has no value: its object has gone. Some versions of esxtop end each line with a comma and files with
 * an empty one.
 */
import { CsvError, parse } from 'csv-parse/sync';
import { UsageError } from '../../hypervisor/index.js';

export interface PerformanceLog {
  readonly host: string;
  readonly objects: readonly LoggedObject[];
  /** A number for each sample: seconds since 1970, as the file says it; never falling. */
  readonly times: readonly number[];
  /** For each sample the value of each counter; NaN where there is none. */
  readonly rows: readonly Float64Array[];
}

/** An instance of an object, such as `Group Cpu(16:web01)`, with its counters. */
export interface LoggedObject {
  readonly object: string;
  /** '' for an object that is there only once. */
  readonly instance: string;
  /** Place of each counter in a row. */
  readonly counters: ReadonlyMap<string, number>;
}

const FIRST_CELL = /^\(PDH-CSV 4\.0\)/;

/** resxtop may print a line before the header. */
const HEADER = /^\ufeff?(?:[^"\n]*\n)?"?\(PDH-CSV /;

/** Does a file begin as a performance log does? */
export const isPerformanceLog = (text: string): boolean => HEADER.test(text);

/** Throws `UsageError` with the number of the first bad line; `name` is for messages. */
export function readPerformanceLog(text: string, name: string): PerformanceLog {
  const bad = (line: number, reason: string): UsageError =>
    new UsageError(`performance log ${name}:${line}: ${reason}`);
  let header:
    | { readonly host: string; readonly objects: LoggedObject[]; readonly paths: readonly string[] }
    | undefined;
  const times: number[] = [];
  const rows: Float64Array[] = [];
  const take = (cells: readonly string[], line: number): void => {
    if (header === undefined) {
      header = readHeader(cells, reason => bad(line, reason));
      return;
    }
    const time = timeOf(cells[0]!);
    if (time === undefined) throw bad(line, `not a time: "${cells[0]}"`);
    if (time < (times.at(-1) ?? 0)) throw bad(line, `goes back in time: "${cells[0]}"`);
    times.push(time);
    const row = new Float64Array(header.paths.length);
    for (let index = 0; index < row.length; index++) {
      const cell = cells[index + 1]!.trim();
      const value = cell === '' ? Number.NaN : Number(cell);
      if (cell !== '' && !Number.isFinite(value)) {
        throw bad(line, `not a number: "${cell}" for ${header.paths[index]}`);
      }
      row[index] = value;
    }
    rows.push(row);
  };
  try {
    parse(text, {
      bom: true,
      from_line: /^\ufeff?"/.test(text) ? 1 : 2,
      skip_empty_lines: true,
      // A row at a time: a day's file does not stand in memory as text cells.
      on_record: (cells: string[], { lines }) => {
        take(cells, lines);
        return null;
      },
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    // The reader's own first line, without the place that it gives in its own words.
    throw bad(Number(error['lines'] ?? 1), error.message.replace(/[:,]? (?:on|at|got|expect) .*$/s, '').toLowerCase());
  }
  if (header === undefined) throw bad(1, 'is empty');
  if (rows.length === 0) throw bad(2, 'holds no sample');
  const { host, objects } = header;
  return { host, objects, times, rows };
}

function readHeader(
  [first, ...cells]: readonly string[],
  bad: (reason: string) => UsageError,
): { host: string; objects: LoggedObject[]; paths: readonly string[] } {
  const paths = cells.at(-1) === '' ? cells.slice(0, -1) : cells;
  if (!FIRST_CELL.test(first ?? '')) throw bad('does not begin with (PDH-CSV 4.0)');
  if (paths.length === 0) throw bad('has no counter');
  const objects = new Map<string, { object: string; instance: string; counters: Map<string, number> }>();
  let host: string | undefined;
  for (const [index, path] of paths.entries()) {
    const match = /^\\\\([^\\]+)\\([^\\(]+)(?:\((.*)\))?\\(.+)$/.exec(path);
    if (match === null) throw bad(`not a counter's path: "${path}"`);
    const [, ofHost, object, instance = '', counter] = match as unknown as [string, string, string, string, string];
    host ??= ofHost;
    const key = `${object}(${instance})`;
    const found = objects.get(key) ?? { object, instance, counters: new Map<string, number>() };
    objects.set(key, found);
    if (!found.counters.has(counter)) found.counters.set(counter, index);
  }
  return { host: host!, objects: [...objects.values()], paths };
}

/** `MM/DD/YYYY HH:MM:SS`, with fractions of a second where somebody wrote them; undefined for anything else. */
function timeOf(text: string): number | undefined {
  const match = /^(\d\d)\/(\d\d)\/(\d{4}) (\d\d):(\d\d):(\d\d(?:\.\d+)?)$/.exec(text);
  if (match === null) return undefined;
  const [month, day, year, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = Date.UTC(year, month - 1, day, hour, minute, 0);
  if (month < 1 || month > 12 || new Date(date).getUTCDate() !== day || hour > 23 || minute > 59 || second >= 60) {
    return undefined;
  }
  return date / 1000 + second;
}
