import { type ProblemCode, problemCodes } from './problem-codes.ts';

/** Something wrong, or worth a second look, in a file that a person wrote. */
export interface Problem {
  /** As the person would name it: relative to the allowlists directory, or as given on the command line. */
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based, in UTF-16 code units. */
  readonly column: number;
  readonly severity: 'error' | 'warning';
  readonly code: ProblemCode;
  /** What is wrong, as one sentence without the position. */
  readonly message: string;
  /** What to write instead. */
  readonly hint: string;
}

/** A place in a file; line and column 1-based. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** The problem `code` at a place; the table in `problem-codes.ts` says how severe it is. */
export function problemAt(at: Position, code: ProblemCode, message: string, hint: string): Problem {
  const { severity } = problemCodes[code];
  return { file: at.file, line: at.line, column: at.column, severity, code, message, hint };
}

export function hasErrors(problems: readonly Problem[]): boolean {
  return problems.some((problem) => problem.severity === 'error');
}

/** In the order in which a person walks through the files: path, line, column, then code. */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  return problems.toSorted(
    (a, b) =>
      compareText(a.file, b.file) ||
      a.line - b.line ||
      a.column - b.column ||
      compareText(a.code, b.code),
  );
}

/** `file:line:column  code  message`, and the right form on a line of its own. */
export function formatProblem(problem: Problem): string {
  const where = `${problem.file}:${problem.line}:${problem.column}`;
  return `${where}  ${problem.code}  ${problem.message}\n    ${problem.hint}`;
}

/** `file:line`, as log lines, messages and `explain` name a place. */
export function formatPlace(at: Position): string {
  return `${at.file}:${at.line}`;
}

/** By code units, so that no locale changes an order. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
