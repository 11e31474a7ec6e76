/**
 * ink-table 3.1 is CommonJS and does `require('ink')`; modern Ink is ESM with top-level await, which no Node version can
 * require(). Ink is imported natively here and put into the CommonJS cache first, so that the unmodified ink-table gets the very
 * Ink (and React) that everything else uses.
 */
import { createRequire, Module } from 'node:module';
import * as ink from 'ink';
import type { ComponentType, JSX, PropsWithChildren } from 'react';

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

const require = createRequire(import.meta.url);
const id = require.resolve('ink');
require.cache[id] ??= Object.assign(new Module(id), { filename: id, loaded: true, exports: ink });

type TableComponent = <T extends Record<string, Scalar>>(props: TableProps<T>) => JSX.Element;
export const Table = (require('ink-table') as { default: TableComponent }).default;
