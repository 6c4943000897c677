import { type Reason, reasons } from '../core/reasons.ts';
import type { MetricSample } from './metrics-snapshot.ts';

const reasonNames = Object.keys(reasons) as Reason[];

/** Place of a reason in a row; 0 is "no reason". */
const columns = new Map<Reason | undefined, number>([
  [undefined, 0],
  ...reasonNames.map((reason, index): [Reason, number] => [reason, index + 1]),
]);
const width = columns.size;

/** Agents with a row of their own; ids come from the policy, but reloads may bring new ones for ever. */
const maxAgents = 10_000;

/** Label of whoever has proven no identity: an empty label is as good as none to Prometheus. */
const nobody = '';

/** Label of the agents beyond `maxAgents`; no id begins with an underscore. */
const others = '_other';

/** Decisions by agent, verdict and reason: closed sets all three, so that no client can add a series. */
export class DecisionCounts {
  readonly #rows = new Map<string, Float64Array>();

  add(agent: string | undefined, verdict: 'allow' | 'block', reason: Reason | undefined): void {
    const column = (columns.get(reason) ?? 0) + (verdict === 'allow' ? 0 : width);
    const row = this.#row(agent ?? nobody);
    row[column] = (row[column] ?? 0) + 1;
  }

  samples(): MetricSample[] {
    const samples: MetricSample[] = [];
    for (const [agent, row] of this.#rows) {
      for (const [reason, column] of columns) {
        push(samples, row[column], { agent, verdict: 'allow', reason: reason ?? '' });
        push(samples, row[column + width], { agent, verdict: 'block', reason: reason ?? '' });
      }
    }
    return samples;
  }

  #row(agent: string): Float64Array {
    const known = this.#rows.get(agent);
    if (known !== undefined) return known;
    if (this.#rows.size >= maxAgents && agent !== others) return this.#row(others);
    const row = new Float64Array(2 * width);
    this.#rows.set(agent, row);
    return row;
  }
}

function push(
  samples: MetricSample[],
  value: number | undefined,
  labels: MetricSample['labels'],
): void {
  if (value !== undefined && value > 0) samples.push({ labels, value });
}
