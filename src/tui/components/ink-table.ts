/**
 * ink-table 3.1 is CommonJS and does `require('ink')`; modern Ink is ESM with top-level await, which no Node version can
 * require(). Ink and React are imported here and put into the CommonJS cache first, so that the unmodified ink-table gets the
 * very ones that everything else uses. It is loaded when it is first wanted: the console's first frame has no menu.
 */
import { createRequire, Module } from 'node:module';
import * as ink from 'ink';
import type { ComponentType, JSX, PropsWithChildren } from 'react';
import * as react from 'react';

export type Scalar = string | number | boolean | null | undefined;
export interface CellProps extends PropsWithChildren {
  readonly column: number;
}
export interface TableProps<T extends Record<string, Scalar>> {
  readonly data: readonly T[];
  readonly columns?: readonly (keyof T & string)[];
  readonly padding?: number;
  readonly header?: ComponentType<CellProps>;
  readonly cell?: ComponentType<CellProps>;
  readonly skeleton?: ComponentType<PropsWithChildren>;
}

type TableComponent = <T extends Record<string, Scalar>>(props: TableProps<T>) => JSX.Element;
let loaded: TableComponent | undefined;

function load(): TableComponent {
  const require = createRequire(import.meta.url);
  const provide = (name: string, exports: unknown): void => {
    const id = require.resolve(name);
    require.cache[id] ??= Object.assign(new Module(id), { filename: id, loaded: true, exports });
  };
  provide('ink', ink);
  provide('react', react);
  return (require('ink-table') as { default: TableComponent }).default;
}

/** The component, always the same. */
export function inkTable(): TableComponent {
  loaded ??= load();
  return loaded;
}
