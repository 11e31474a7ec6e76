/** Aligned text: columns as wide as their widest cell, two blanks between them. */
export interface TextColumn {
  readonly title: string;
  readonly align: 'left' | 'right';
}

/** Lines without trailing blanks, the heading first. */
export function alignedLines(columns: readonly TextColumn[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map((column, at) => Math.max(column.title.length, ...rows.map(row => row[at]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, at) => {
        const cell = cells[at] ?? '';
        return column.align === 'left' ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!);
      })
      .join('  ')
      .trimEnd();
  return [line(columns.map(column => column.title)), ...rows.map(line)];
}
