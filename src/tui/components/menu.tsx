/** A menu: an ink-table without borders. The marker in its first column says which row Enter chooses. */
import { Text } from 'ink';
import { createContext, type PropsWithChildren, useContext } from 'react';
import type { MenuView } from '../frame.js';
import type { Theme } from '../theme.js';
import { type CellProps, inkTable, type Scalar } from './ink-table.js';

// ink-table keeps the components of its first rendering: what may change reaches them through a context.
const ThemeContext = createContext<Theme | undefined>(undefined);

function Heading({ children }: CellProps) {
  const theme = useContext(ThemeContext);
  return <Text wrap="truncate">{theme ? theme.key(String(children)) : children}</Text>;
}

function Cell({ children }: CellProps) {
  return <Text wrap="truncate">{children}</Text>;
}

const NoBorder = (_: PropsWithChildren) => null;

export function Menu({ view, theme }: { readonly view: MenuView; readonly theme: Theme }) {
  const Table = inkTable();
  const columns = [' ', ...view.headings];
  const data = view.rows.map(
    (row): Record<string, Scalar> =>
      Object.fromEntries(columns.map((column, index) => [column, index === 0 ? row.marker : row.cells[index - 1]])),
  );
  return (
    <ThemeContext.Provider value={theme}>
      <Table data={data} columns={columns} header={Heading} cell={Cell} skeleton={NoBorder} />
    </ThemeContext.Provider>
  );
}
