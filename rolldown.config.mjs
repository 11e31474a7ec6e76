/**
 * One folder of a few large files. Not for size: V8 reads an imported constant from memory at every use, and knows one of the
 * same file when it compiles (the machine's inner loops are full of such constants); and Node takes longer to find and read the
 * three hundred files of Ink and its dependencies than to run them. What packages the files contain, and under which licences,
 * is written beside them.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { defineConfig } from 'rolldown';

/** Packages that stay where npm put them. */
const EXTERNAL = [
  // Reads its translations from there.
  'yargs',
  // CommonJS, loaded when the first menu opens.
  'ink-table',
  // Ink's debugger, which nobody has installed, and what talks to it.
  'react-devtools-core',
  'ws',
];

const isExternal = id => EXTERNAL.some(name => id === name || id.startsWith(`${name}/`));

/** The folder of the package that a module belongs to, or undefined for one of ours. */
function packageOf(id) {
  const found = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id.replaceAll('\\', '/'));
  return found?.[1];
}

/** What MIT and its like ask for of whoever passes copies on. */
const licences = {
  name: 'licences',
  generateBundle(_options, bundle) {
    const modules = Object.values(bundle).flatMap(file => (file.type === 'chunk' ? file.moduleIds : []));
    const folders = [...new Set(modules.map(packageOf).filter(folder => folder !== undefined))].sort();
    const notices = folders.map(folder => {
      const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      const file = readdirSync(folder).find(entry => /^licen[cs]e/i.test(entry));
      const text = file !== undefined && existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8') : '';
      return `${name} ${version} (${license})\n\n${text.trim()}\n`;
    });
    this.emitFile({ type: 'asset', fileName: 'licences.txt', source: notices.join(`\n${'-'.repeat(80)}\n\n`) });
  },
};

/**
 * iced stays where npm put it, too, because it reads its WebAssembly from there. But where a module imports CommonJS, Node reads
 * all of its 900 KB once more to find the names that it exports; `require` does not ask.
 */
const icedByRequire = {
  name: 'iced-by-require',
  resolveId: id => (id === 'iced-x86' ? '\0iced-x86' : undefined),
  load(id) {
    if (id !== '\0iced-x86') return undefined;
    const names = Object.keys(createRequire(import.meta.url)('iced-x86')).filter(name => /^[A-Z]\w*$/.test(name));
    return [
      "import { createRequire } from 'node:module';",
      "const iced = createRequire(import.meta.url)('iced-x86');",
      ...names.map(name => `export const ${name} = /* @__PURE__ */ (() => iced.${name})();`),
    ].join('\n');
  },
};

/**
 * The part of the hypervisor that the command line and the console know, apart from the machine: they are on the screen before
 * a machine is loaded. None of it is read in an inner loop.
 */
const FACADE = /\/src\/hypervisor\/(?:base\/(?:errors|epoch)|stats\/|machine\/costs\/|vm\/cpuid)/;

const program = defineConfig({
  input: {
    'cli/main': 'src/cli/main.ts',
    'session/worker': 'src/session/worker.ts',
    'hypervisor/index': 'src/hypervisor/index.ts',
    'guest/image': 'src/guest/image.ts',
  },
  platform: 'node',
  external: isExternal,
  // No module of ours does anything when it is loaded: who imports one name of the door is not given all that is behind it.
  treeshake: { moduleSideEffects: [{ test: /\/src\//, sideEffects: false }] },
  transform: {
    define: {
      // The launcher sets it as well, before anything is loaded.
      'process.env.NODE_ENV': '"production"',
      // Yoga would fetch its WebAssembly from a data: URL, for which Node loads a whole HTTP client. Without, it decodes it itself.
      fetch: 'undefined',
    },
  },
  plugins: [icedByRequire, licences],
  output: {
    dir: 'dist',
    format: 'esm',
    entryFileNames: '[name].js',
    // At the depth of the entries, so that paths relative to a file mean the same everywhere.
    chunkFileNames: 'session/[name]-[hash].js',
    codeSplitting: {
      groups: [
        { name: 'facade', test: FACADE },
        { name: 'zod', test: /\/node_modules\/zod\// },
      ],
    },
    sourcemap: true,
    cleanDir: true,
  },
});

/**
 * The thread that compiles has a file of its own, with copies of what it shares with the machine: in a chunk for both, the constants of the
 * machine's inner loops would be imported ones.
 */
const compileWorker = defineConfig({
  ...program,
  input: { 'session/compile-worker': 'src/session/compile-worker.ts' },
  plugins: [],
  output: { dir: 'dist', format: 'esm', entryFileNames: '[name].js', sourcemap: true },
});

export default [program, compileWorker];
