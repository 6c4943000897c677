import { isatty } from 'node:tty';
import { pino } from 'pino';
import { type Clock, systemClock } from '../core/clock.ts';
import { writeFully } from './descriptor.ts';
import { escapeControls } from './escape.ts';
import { redact, redactText } from './redact.ts';

export type OperationsLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * The proxy's own log: starts, reloads, failures. Not for what a client did: that is the egress
 * log's. Each message is written before the call returns, and none of the calls throws.
 * `fields` may hold anything; secrets are taken out (see `redact`).
 */
export interface OperationsLog {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}

export interface OperationsLogOptions {
  /** The least that is written; default `info`. */
  readonly level?: OperationsLevel | 'silent';
  /** One readable line per message instead of JSON; default: standard error is a terminal. */
  readonly readable?: boolean;
  /** Where lines go, each with its newline; default: standard error. */
  readonly write?: (line: string) => void;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** Milliseconds for which a message may wait for the reader of a full pipe. */
const patience = 100;

export function createOperationsLog(options: OperationsLogOptions = {}): OperationsLog {
  const write = options.write ?? writeStandardError;
  const readable = options.readable ?? isatty(2);
  const clock = options.clock ?? systemClock;
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: null,
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => redact(fields) as Record<string, unknown>,
      },
      serializers: { err: (value: unknown) => value },
    },
    { write: (line: string) => write(readable ? readableLine(line) : escapeControls(line)) },
  );
  const at =
    (level: OperationsLevel) =>
    (message: string, fields: object = {}) =>
      logger[level](fields, redactText(message));
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/**
 * Not pino.destination: it emits 'error', and so ends the process, when standard error is gone.
 * A proxy whose own log cannot be read still has to filter.
 */
function writeStandardError(line: string): void {
  writeFully(2, Buffer.from(line), patience);
}

/** `12:00:05 warn  allowlists changed  file=a.yaml problems=2` */
function readableLine(json: string): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const clock = String(time).slice(11, 19);
  const shown = Object.entries(fields).map(([name, value]) => `${name}=${readableValue(value)}`);
  const line = [`${clock} ${String(level).padEnd(5)} ${String(msg)}`, ...shown].join('  ');
  return `${escapeControls(line)}\n`;
}

function readableValue(value: unknown): string {
  return typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value);
}
