import { styleText } from 'node:util';
import type { Problem } from '../config/problem.ts';
import type { Io, Sink } from './io.ts';

type Style = (text: string) => string;

export interface Styles {
  readonly bold: Style;
  readonly dim: Style;
  readonly red: Style;
  readonly green: Style;
  readonly yellow: Style;
  readonly cyan: Style;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Colours for one output: none unless it is a terminal, and none if NO_COLOR is set and not empty (no-color.org). */
export function styles(sink: Sink, env: Environment): Styles {
  const { NO_COLOR, TERM } = env;
  const on = sink.isTTY === true && !NO_COLOR && TERM !== 'dumb';
  const style = (format: 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'): Style =>
    on ? (text) => styleText(format, text, { validateStream: false }) : (text) => text;
  return {
    bold: style('bold'),
    dim: style('dim'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    cyan: style('cyan'),
  };
}

/** One object, indented, as every `--json` prints it. */
export function writeJson(sink: Sink, value: unknown): void {
  sink.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** `1 file`, `3 files`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Problems for a person: `file:line:column  code  message`, and the right form below each. */
export function writeProblems(io: Io, problems: readonly Problem[], sink: Sink = io.stdout): void {
  const style = styles(sink, io.env);
  for (const problem of problems) {
    const place = `${problem.file}:${problem.line}:${problem.column}`;
    const color = problem.severity === 'error' ? style.red : style.yellow;
    const label = problem.severity === 'error' ? '' : `${style.yellow('warning:')} `;
    sink.write(
      `${style.bold(place)}  ${color(problem.code)}  ${label}${problem.message}\n    ${style.dim(problem.hint)}\n`,
    );
  }
}
