import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  adminPort,
  agent,
  allowedNames,
  originPort,
  otherNames,
  proxyAddresses,
  proxyPort,
  token,
} from '../network/plan.ts';
import type { TrialSpec } from '../network/trial-types.ts';
import type { Rival } from './rival.ts';

const main = path.resolve(import.meta.dirname, '../../src/main.ts');
const logFile = 'egress.jsonl';

/** Sallyport as it ships: authentication, 1,000 entries, address guard, one log line per event. */
export const sallyport: Rival = {
  logFile,
  prepare({ directory, profile }: TrialSpec): readonly string[] {
    mkdirSync(path.join(directory, 'allowlists'));
    writeJson(path.join(directory, 'allowlists', 'bench.yaml'), allowlist());
    const settings = path.join(directory, 'sallyport.yaml');
    writeJson(settings, {
      listen: proxyAddresses.map((address) => `${address}:${proxyPort}`),
      admin: `127.0.0.1:${adminPort}`,
      allowlists: path.join(directory, 'allowlists'),
      certs: path.join(directory, 'certs'),
      log: path.join(directory, logFile),
    });
    const flags =
      profile === null
        ? []
        : ['--cpu-prof', '--cpu-prof-interval', '200', '--cpu-prof-dir', profile];
    return [process.execPath, '--disable-sigusr1', ...flags, main, 'serve', '--config', settings];
  },
};

function allowlist(): object {
  return {
    agents: {
      [agent]: {
        owner: 'bench@example.com',
        purpose: 'to be measured',
        credentials: { tokens: [`sha256:${createHash('sha256').update(token).digest('hex')}`] },
        allow: [...granted('tcp'), ...granted('https'), ...granted('http'), ...otherNames],
      },
    },
  };
}

function granted(scheme: 'tcp' | 'https' | 'http'): object[] {
  return allowedNames(scheme).map((host) => ({
    host,
    scheme,
    ports: [originPort],
    addresses: ['127.0.0.0/8'],
  }));
}

/** YAML 1.2 takes JSON. */
function writeJson(file: string, value: object): void {
  writeFileSync(file, JSON.stringify(value, null, 1));
}
