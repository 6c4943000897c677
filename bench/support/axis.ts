/** One thing that is measured: a file of this folder, a name on the command line. */
export interface Axis {
  readonly name: string;
  /** What it measures, in one line. */
  readonly about: string;
  run(options: BenchOptions): Promise<AxisResult>;
}

export interface BenchOptions {
  /** Shorter windows, fewer rounds, smaller sizes: to see that everything works, not to quote. */
  readonly quick: boolean;
  /** Rounds of every network trial; each axis has its own default. */
  readonly rounds: number | undefined;
  /** Directory for V8 CPU profiles of Sallyport; undefined takes none. A profiled figure is too high. */
  readonly profile: string | undefined;
  /** Tells the person who waits. */
  progress(text: string): void;
}

export interface AxisResult {
  readonly tables: readonly Table[];
  /** What the tables were made from, for the JSON file: every trial of every round. */
  readonly trials?: readonly unknown[];
}

export interface Table {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  /** What a reader must know to read it right; each a sentence. */
  readonly notes?: readonly string[];
}

export interface Column {
  readonly key: string;
  /** With the unit. */
  readonly label: string;
  /** Significant digits of numbers; default 3. */
  readonly digits?: number;
}

/** Null is shown as a dash: not measured, or no such thing. */
export type Row = Readonly<Record<string, string | number | null>>;
