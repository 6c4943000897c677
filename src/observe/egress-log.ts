import type { Reason } from '../core/reasons.ts';
import type { Agent } from '../policy/policy.ts';

/** What a line tells of (contract §5). */
export type EgressEvent =
  | 'open'
  | 'block'
  | 'close'
  | 'request'
  | 'start'
  | 'reload'
  | 'reload_failed'
  | 'revoke'
  | 'drain'
  | 'stop';

/** One line of the egress log (contract §5); absent fields stay out of the line. Field order in the line is the contract's. */
export interface EgressRecord {
  event: EgressEvent;
  id?: string | undefined;
  agent?: Agent | undefined;
  verdict?: 'allow' | 'block' | undefined;
  reason?: Reason | undefined;
  scheme?: string | undefined;
  host?: string | undefined;
  port?: number | undefined;
  method?: string | undefined;
  /** Without the query. */
  path?: string | undefined;
  /** Of a request to an MCP server: the tools that it calls. */
  tool?: string | undefined;
  /** JSON text: the arguments of those calls that the entry names. */
  params?: string | undefined;
  status?: number | undefined;
  /** `file:line`. */
  entry?: string | undefined;
  group?: string | undefined;
  policy?: string | undefined;
  task?: string | undefined;
  requestedBy?: string | undefined;
  token?: string | undefined;
  client?: string | undefined;
  address?: string | undefined;
  sni?: string | undefined;
  bytesUp?: number | undefined;
  bytesDown?: number | undefined;
  /** Milliseconds. */
  ms?: number | undefined;
  dnsMs?: number | undefined;
  dialMs?: number | undefined;
  end?: string | undefined;
  report?: boolean | undefined;
}

/**
 * The record of every decision. Fails closed: `write` returns false if the line is not in the
 * file (disk full, file gone, pipe closed); callers then refuse the connection.
 */
export interface EgressLog {
  /**
   * Appends one line and hands it to the kernel before returning. True if it is there. If not, an
   * `open` line is forgotten, because what it tells of must not happen now; any other tells of what
   * has happened, so it is kept as by `writeLater`.
   */
  write(record: EgressRecord): boolean;
  /**
   * Appends one line together with all others of this turn of the event loop, in one write, and
   * calls `done` with what `write` would have returned. Never calls it at once.
   */
  commit(record: EgressRecord, done: (written: boolean) => void): void;
  /** Appends a line that no client waits for; it may ride along with the next `write`, at the latest at the end of this turn of the event loop. */
  writeLater(record: EgressRecord): void;
  /** False while lines cannot be written; tried again at the next write. */
  readonly healthy: boolean;
  /** Closes and opens the file by its path (SIGUSR1, rotation). */
  reopen(): void;
  /** Flushes and closes. */
  close(): void;
}
