/** The console's configuration file, where the user keeps it: `-c FILE`, or `~/.vmitoprc` if there is one. */
import { existsSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Options } from 'yargs';
import { parseConfig } from '../tui/config-file.js';
import type { ConfigFile } from '../tui/session.js';
import { type ConsoleConfig, defaultConfig } from '../tui/state.js';
import { fileReason, readText } from './files.js';

export const CONFIG_OPTION = {
  alias: 'c',
  type: 'string',
  requiresArg: true,
  describe: 'configuration of the console, as W writes it; default: ~/.vmitoprc',
} as const satisfies Options;

export interface LoadedConfig {
  readonly config: ConsoleConfig;
  /** Somebody has chosen it; otherwise it is the default one. */
  readonly chosen: boolean;
  readonly path: string;
}

/** Throws `UsageError` for a file that is named and not there, and for one that cannot be understood. */
export function loadConfig(named: string | undefined): LoadedConfig {
  const path = named ?? join(homedir(), '.vmitoprc');
  if (named === undefined && !existsSync(path)) return { config: defaultConfig(), chosen: false, path };
  return { config: parseConfig(readText(path, 'configuration'), path), chosen: true, path };
}

/** What `W` writes to. */
export const configFileAt = (defaultPath: string): ConfigFile => ({
  defaultPath,
  save: (path, text) => {
    try {
      writeFileSync(path.startsWith('~/') ? join(homedir(), path.slice(2)) : path, text);
      return undefined;
    } catch (error) {
      return fileReason(error);
    }
  },
});
