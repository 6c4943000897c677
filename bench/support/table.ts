import type { Column, Row, Table } from './axis.ts';

/** A table as Markdown whose columns also line up in a terminal. */
export function renderTable(table: Table): string {
  const head = table.columns.map(({ label }) => label);
  const body = table.rows.map((row) => table.columns.map((column) => cell(row, column)));
  const widths = head.map((label, at) =>
    Math.max(label.length, ...body.map((cells) => (cells[at] ?? '').length)),
  );
  const numeric = table.columns.map(({ key }) =>
    table.rows.some((row) => typeof row[key] === 'number'),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((text, at) => pad(text, widths[at] ?? 0, numeric[at] === true)).join(' | ')} |`;
  const rule = widths.map((width, at) => '-'.repeat(width - 1) + (numeric[at] ? ':' : '-'));
  const notes = (table.notes ?? []).map((note) => `\n${note}`);
  return [`**${table.title}**`, '', line(head), line(rule), ...body.map(line), ...notes].join('\n');
}

/** Thousands get commas, everything else as many significant digits as its column has. */
export function formatNumber(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 10 ** digits) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(digits)));
}

function cell(row: Row, column: Column): string {
  const value = row[column.key];
  if (value === null || value === undefined) return '–';
  return typeof value === 'string' ? value : formatNumber(value, column.digits);
}

function pad(text: string, width: number, right: boolean): string {
  return right ? text.padStart(width) : text.padEnd(width);
}
