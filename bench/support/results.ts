import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Axis, AxisResult } from './axis.ts';
import type { Machine } from './machine.ts';

const directory = path.resolve(import.meta.dirname, '../results');

/**
 * Writes `results/YYYY-MM-DD-<axis>.json`, over an earlier one of that day.
 * @returns the path, relative to the working directory
 * @throws the system error if it cannot be written
 */
export function saveResult(axis: Axis, result: AxisResult, machine: Machine, now: Date): string {
  const file = path.join(directory, `${now.toISOString().slice(0, 10)}-${axis.name}.json`);
  const { tables, trials = [] } = result;
  const content = {
    axis: axis.name,
    about: axis.about,
    time: now.toISOString(),
    machine,
    tables: tables.map(({ title, rows }) => ({ title, rows })),
  };
  // One line per trial keeps the files small and their diffs readable.
  const list = trials.map((trial) => `    ${JSON.stringify(trial)}`).join(',\n');
  const text = JSON.stringify(content, null, 2).slice(0, -2);
  mkdirSync(directory, { recursive: true });
  writeFileSync(file, `${text},\n  "trials": [${list === '' ? '' : `\n${list}\n  `}]\n}\n`);
  return path.relative(process.cwd(), file);
}
