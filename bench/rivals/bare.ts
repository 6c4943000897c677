import path from 'node:path';
import type { Rival } from './rival.ts';

const relay = path.resolve(import.meta.dirname, 'bare-relay.ts');

/** What Node alone costs: no policy, no authentication, no log, no plain HTTP. */
export const bare: Rival = {
  logFile: null,
  authorityFile: null,
  prepare: () => [process.execPath, relay],
};
