/** The rules of the tree that a scan of the sources can check. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const SRC = join(ROOT, 'src');

interface Source {
  /** Relative to src/, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** Targets of relative imports, relative to src/, as .ts or .tsx paths without extension; packages as they are written. */
  readonly imports: readonly string[];
  /** Those of `imports` that the compiler erases: they cannot make a cycle at run time. */
  readonly typesOnly: ReadonlySet<string>;
}

/** Without comments and strings, so that prose about Date does not count. */
const codeOf = (text: string): string =>
  text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g, '""');

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b(\s+type\b)?[^'";]*?from\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g;

function read(path: string): Source {
  const text = readFileSync(path, 'utf8');
  const found = [...text.matchAll(IMPORT)].map(([, type, from, dynamic, bare]) => {
    const target = (from ?? dynamic ?? bare)!;
    const place = target.startsWith('.')
      ? relative(SRC, join(dirname(path), target))
          .replaceAll(sep, '/')
          .replace(/\.jsx?$/, '')
      : target;
    return { place, type: type !== undefined };
  });
  const values = new Set(found.filter(({ type }) => !type).map(({ place }) => place));
  return {
    path: relative(SRC, path).replaceAll(sep, '/'),
    text,
    imports: found.map(({ place }) => place),
    typesOnly: new Set(found.map(({ place }) => place).filter(place => !values.has(place))),
  };
}

const sources: readonly Source[] = readdirSync(SRC, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile() && /\.tsx?$/.test(entry.name))
  .map(entry => read(join(entry.parentPath, entry.name)));

const under = (folder: string) => sources.filter(source => source.path.startsWith(folder));

/** Lowest first: a layer may import from itself and from lower ones. */
const LAYERS = [
  'hypervisor/base',
  'hypervisor/stats',
  'hypervisor/machine',
  'hypervisor/devices',
  'hypervisor/monitor',
  'hypervisor/vmkernel',
  'hypervisor/vm',
  'hypervisor/replay',
  'hypervisor/index',
] as const;

/** The longest layer that holds the path; index.ts stands for the door and what is re-exported through it. */
const layerOf = (path: string): number =>
  LAYERS.findIndex(layer => path === layer || path.startsWith(`${layer}/`) || path === `${layer}.ts`);

test('there are sources to scan', () => {
  expect(sources.length).toBeGreaterThan(20);
  expect(sources.some(source => source.imports.length > 0)).toBe(true);
});

describe('imports point one way', () => {
  test('inside the hypervisor', () => {
    const wrong: string[] = [];
    for (const source of under('hypervisor/')) {
      const own = layerOf(source.path);
      for (const target of source.imports) {
        const other = layerOf(target);
        if (other === -1 || own === -1 || other <= own) continue;
        // The host implements the interfaces that the door declares.
        if (LAYERS[other] === 'hypervisor/index' && source.typesOnly.has(target)) continue;
        wrong.push(`${source.path} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('the hypervisor imports nothing of the rest, and no part of Node', () => {
    const wrong = under('hypervisor/').flatMap(source =>
      source.imports
        .filter(target => target.startsWith('node:') || /^(?:cli|tui|session|guest)\//.test(target))
        .map(target => `${source.path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test('the rest enters the hypervisor by its door', () => {
    const wrong = ['cli/', 'tui/', 'session/', 'guest/'].flatMap(folder =>
      under(folder).flatMap(source =>
        source.imports
          .filter(target => target.startsWith('hypervisor/') && target !== 'hypervisor/index')
          .map(target => `${source.path} imports ${target}`),
      ),
    );
    expect(wrong).toEqual([]);
  });

  test('the console and the session do not know the command line', () => {
    const wrong = ['tui/', 'session/', 'guest/'].flatMap(folder =>
      under(folder).flatMap(source =>
        source.imports.filter(target => target.startsWith('cli/')).map(target => `${source.path} imports ${target}`),
      ),
    );
    expect(wrong).toEqual([]);
  });

  test('one monitor technique does not import another', () => {
    const techniques = ['bt', 'hv', 'vmi', 'native'].map(name => `hypervisor/monitor/${name}/`);
    const wrong = techniques.flatMap(own =>
      under(own).flatMap(source =>
        source.imports
          .filter(target => techniques.some(other => other !== own && target.startsWith(other)))
          .map(target => `${source.path} imports ${target}`),
      ),
    );
    expect(wrong).toEqual([]);
  });
});

describe('determinism', () => {
  test.each([
    ['the wall clock', /\bnew Date\b|\bDate\s*[.(]/],
    ['randomness that nobody can repeat', /\bMath\s*\.\s*random\b/],
    ['what Node offers', /\b(?:performance|process|console|setTimeout|setInterval|setImmediate|require)\s*[.(]/],
  ])('the hypervisor does not use %s', (_, pattern) => {
    const wrong = under('hypervisor/').flatMap(source =>
      codeOf(source.text)
        .split('\n')
        .filter(line => pattern.test(line) && !/^\s*(?:readonly )?#?\w+\??:/.test(line))
        .map(line => `${source.path}: ${line.trim()}`),
    );
    expect(wrong).toEqual([]);
  });

  test('only the session and the command line know the real time', () => {
    const wrong = sources
      .filter(source => !/^(?:session|cli|tui)\//.test(source.path))
      .filter(source => /\bDate\.now\b|\bperformance\.now\b/.test(codeOf(source.text)))
      .map(source => source.path);
    expect(wrong).toEqual([]);
  });
});

describe('style', () => {
  test('files are named in kebab-case', () => {
    expect(sources.map(source => source.path).filter(path => !/^[a-z0-9/-]+(?:\.d)?\.tsx?$/.test(path))).toEqual([]);
  });

  test('no enums and no default of the language left to chance', () => {
    const wrong = sources.filter(source => /^\s*(?:export )?(?:const )?enum\b/m.test(codeOf(source.text)));
    expect(wrong.map(source => source.path)).toEqual([]);
  });

  test('no note promises work for later', () => {
    expect(sources.filter(source => /\b(?:TODO|FIXME|XXX)\b/.test(source.text)).map(source => source.path)).toEqual([]);
  });
});
