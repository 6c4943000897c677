import { clip } from '../config/clip.ts';
import type { Styles } from './output.ts';

/** A live connection as the admin listener describes it. */
export interface ConnectionRow {
  readonly id: string;
  readonly agent: string;
  readonly kind: string;
  readonly host: string;
  readonly port: number;
  readonly entry?: string;
  readonly token?: string;
  readonly task?: string;
  readonly bytes_up: number;
  readonly bytes_down: number;
  /** Seconds. */
  readonly age: number;
}

interface Column {
  readonly title: string;
  readonly cell: (row: ConnectionRow) => string;
  readonly right?: true;
}

const columns = {
  id: { title: 'ID', cell: ({ id }) => id },
  agent: { title: 'AGENT', cell: ({ agent }) => agent },
  kind: { title: 'KIND', cell: ({ kind }) => kind },
  target: { title: 'TARGET', cell: targetOf },
  age: { title: 'AGE', cell: ({ age }) => duration(age), right: true },
  up: { title: 'UP', cell: ({ bytes_up: bytes }) => size(bytes), right: true },
  down: { title: 'DOWN', cell: ({ bytes_down: bytes }) => size(bytes), right: true },
  entry: { title: 'ENTRY', cell: ({ entry }) => entry ?? '-' },
  token: { title: 'TOKEN', cell: ({ token }) => token ?? '-' },
  task: { title: 'TASK', cell: ({ task }) => task ?? '-' },
} as const satisfies Readonly<Record<string, Column>>;

/** Left out one after the other where a terminal is too narrow; the id stays, because `cut` takes it. */
const dispensable: readonly Column[] = [
  columns.token,
  columns.entry,
  columns.task,
  columns.kind,
  columns.up,
  columns.down,
  columns.age,
];

const GAP = 2;
/** Of a target on a terminal: one long name must not take the place of every other column. */
const LONGEST_TARGET = 40;

/** The rows of an answer of `/connections`; null if it is none. */
export function readRows(value: unknown): ConnectionRow[] | null {
  const isRow = (row: Partial<ConnectionRow> | null): boolean =>
    typeof row?.id === 'string' && typeof row.agent === 'string' && typeof row.host === 'string';
  return Array.isArray(value) && value.every(isRow) ? value : null;
}

/**
 * A table of at most `width` characters a line, as many columns as fit, long targets by their end;
 * with a width of Infinity all of everything. Nothing for no rows.
 */
export function connectionTable(
  rows: readonly ConnectionRow[],
  width: number,
  style: Styles,
): string {
  if (rows.length === 0) return '';
  const target = width === Infinity ? columns.target : { ...columns.target, cell: shortTarget };
  let shown: readonly Column[] = Object.values<Column>({ ...columns, target });
  for (const column of dispensable) {
    if (widthOf(shown, rows) <= width) break;
    shown = shown.filter((other) => other !== column);
  }
  const widths = shown.map((column) => columnWidth(column, rows));
  const head = style.bold(
    line(
      shown.map(({ title }) => title),
      shown,
      widths,
      width,
    ),
  );
  const lines = rows.map((row) =>
    line(
      shown.map(({ cell }) => clip(cell(row))),
      shown,
      widths,
      width,
    ),
  );
  return `${[head, ...lines].join('\n')}\n`;
}

function line(
  cells: readonly string[],
  shown: readonly Column[],
  widths: readonly number[],
  width: number,
): string {
  const padded = cells.map((cell, index) => {
    const wide = widths[index] ?? 0;
    return shown[index]?.right === true ? cell.padStart(wide) : cell.padEnd(wide);
  });
  const text = padded.join(' '.repeat(GAP)).trimEnd();
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

function widthOf(shown: readonly Column[], rows: readonly ConnectionRow[]): number {
  const widths = shown.map((column) => columnWidth(column, rows));
  return widths.reduce((sum, wide) => sum + wide + GAP, -GAP);
}

function columnWidth({ title, cell }: Column, rows: readonly ConnectionRow[]): number {
  return rows.reduce((most, row) => Math.max(most, clip(cell(row)).length), title.length);
}

function targetOf({ host, port }: ConnectionRow): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Its end says most: the domain and the port. */
function shortTarget(row: ConnectionRow): string {
  const target = targetOf(row);
  return target.length <= LONGEST_TARGET ? target : `…${target.slice(1 - LONGEST_TARGET)}`;
}

/** `48s`, `12m`, `3h05m`, `2d04h`. */
function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (hours < 24) return `${hours}h${two(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
}

/** Three digits and a unit of 1000: `512B`, `48.3KB`, `1.20GB`. */
function size(bytes: number): string {
  const units = ['KB', 'MB', 'GB', 'TB', 'PB'];
  if (bytes < 1000) return `${bytes}B`;
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toPrecision(3)}${units[unit]}`;
}
