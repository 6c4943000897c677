import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createAuthority } from '../../src/tls/authority.ts';
import { originAuthority } from '../network/origin-certificate.ts';
import {
  adminPort,
  agent,
  allowedNames,
  originPort,
  otherNames,
  proxyAddresses,
  proxyPort,
  tlsOriginPort,
  token,
} from '../network/plan.ts';
import type { TrialSpec } from '../network/trial-types.ts';
import type { Rival } from './rival.ts';

const main = path.resolve(import.meta.dirname, '../../src/main.ts');
const logFile = 'egress.jsonl';

/** Sallyport as it ships: authentication, 1,000 entries, address guard, one log line per event. */
export const sallyport: Rival = {
  logFile,
  authorityFile: 'certs/ca.crt',
  prepare({ directory, profile, scenario }: TrialSpec): readonly string[] {
    mkdirSync(path.join(directory, 'allowlists'));
    writeJson(
      path.join(directory, 'allowlists', 'bench.yaml'),
      allowlist(scenario.kind === 'inspect'),
    );
    const certs = path.join(directory, 'certs');
    const inspected = scenario.kind === 'inspect';
    if (inspected) {
      mkdirSync(certs, { mode: 0o700 });
      createAuthority(certs, Date.now());
    }
    const settings = path.join(directory, 'sallyport.yaml');
    writeJson(settings, {
      listen: proxyAddresses.map((address) => `${address}:${proxyPort}`),
      admin: `127.0.0.1:${adminPort}`,
      allowlists: path.join(directory, 'allowlists'),
      certs,
      ...(inspected ? { trust: [originAuthority(directory)] } : {}),
      log: path.join(directory, logFile),
    });
    const flags =
      profile === null
        ? []
        : ['--cpu-prof', '--cpu-prof-interval', '200', '--cpu-prof-dir', profile];
    return [process.execPath, '--disable-sigusr1', ...flags, main, 'serve', '--config', settings];
  },
};

function allowlist(inspected: boolean): object {
  return {
    agents: {
      [agent]: {
        owner: 'bench@example.com',
        purpose: 'to be measured',
        credentials: { tokens: [`sha256:${createHash('sha256').update(token).digest('hex')}`] },
        allow: [
          ...granted('tcp'),
          ...granted('https'),
          ...granted('http'),
          ...(inspected ? judged() : allowedNames('inspected')),
          ...otherNames,
        ],
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

/** Every request is judged, so that TLS has to be opened. */
function judged(): object[] {
  return allowedNames('inspected').map((host) => ({
    host,
    ports: [tlsOriginPort],
    addresses: ['127.0.0.0/8'],
    methods: ['GET', 'HEAD'],
    paths: ['/', '/bytes/*'],
  }));
}

/** YAML 1.2 takes JSON. */
function writeJson(file: string, value: object): void {
  writeFileSync(file, JSON.stringify(value, null, 1));
}
