import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { namespaceMarker as marker } from './watchdog.ts';

/** Addresses that the proxy may reach: globally reachable, and here on `lo`. */
export const publicAddresses = [
  '93.184.215.14',
  '93.184.215.15',
  '93.184.215.16',
  '93.184.215.17',
  '2606:4700::1111',
  '2606:4700::1112',
] as const;

/** Addresses that must never be reached unless an entry grants them: put a `canary` on each. */
export const forbiddenAddresses = [
  '127.0.0.1',
  '10.0.0.5',
  '192.168.7.7',
  '169.254.169.254',
  '100.100.100.200',
  '168.63.129.16',
  '::1',
  'fd00::5',
] as const;

/** Where /etc/resolv.conf points: run the test's DNS server here, on port 53. */
export const dnsAddress = '127.0.0.53';

/** Set it where a machine without namespaces must fail the tests instead of skipping them. */
const required = 'SALLYPORT_TEST_REQUIRE_NAMESPACE';

const hosts = '127.0.0.1 localhost\n::1 localhost\n';
const resolvConf = `nameserver ${dnsAddress}\noptions attempts:1 timeout:2\n`;

/** Runs in the new namespaces; $1 is a directory with the files to bind. What follows it is the command. */
const setup = [
  'set -e',
  'ip link set lo up',
  ...[...publicAddresses, ...forbiddenAddresses].map(addAddress),
  'mount --bind "$1/resolv.conf" /etc/resolv.conf',
  'mount --bind "$1/hosts" /etc/hosts',
  'shift',
  'exec "$@"',
].join('\n');

/**
 * To be awaited at the top of a network test file: the file goes on only inside a network and mount
 * namespace of its own, in which the addresses above are on `lo`, all ports are free, ports below
 * 1024 may be used, names resolve by `dnsAddress`, and no packet can leave. Outside, the file is run
 * once more within, as if the test runner had started it there, so that its results count as ever.
 * Where the machine offers no namespaces the file counts as one skipped test.
 *
 * @param file `import.meta.filename`
 */
export async function enterNamespace(file: string): Promise<void> {
  if (process.env[marker] !== undefined) return;
  const problem = namespaceProblem();
  if (problem !== null) return await skipFile(file, problem);
  const directory = makeEtc();
  const child = spawn('unshare', unshareArguments(directory, [...process.execArgv, file]), {
    stdio: 'inherit',
    env: { ...process.env, [marker]: '1' },
  });
  forwardSignals(child);
  // The watchdog ends this process if the one within stands still.
  process.once('exit', () => child.kill('SIGKILL'));
  const [code] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  rmSync(directory, { recursive: true });
  process.exit(code ?? 1);
}

/** Why this machine cannot make the namespaces; null if it can. */
export function namespaceProblem(): string | null {
  const directory = makeEtc();
  const run = spawnSync('unshare', unshareArguments(directory, ['--version']), {
    encoding: 'utf8',
  });
  rmSync(directory, { recursive: true });
  if (run.status === 0) return null;
  return (run.error?.message ?? run.stderr.trim()) || `unshare ended with ${run.status}`;
}

/** `node ARGS` in new namespaces. A user namespace (`-r`) is needed, and possible, only for others than root. */
function unshareArguments(directory: string, args: readonly string[]): string[] {
  const user = process.getuid?.() === 0 ? [] : ['-r'];
  return [...user, '-n', '-m', 'sh', '-c', setup, 'sh', directory, process.execPath, ...args];
}

function makeEtc(): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'sallyport-etc-'));
  writeFileSync(path.join(directory, 'resolv.conf'), resolvConf);
  writeFileSync(path.join(directory, 'hosts'), hosts);
  return directory;
}

/** The loopback addresses are there already. Without duplicate address detection IPv6 is usable at once. */
function addAddress(address: string): string {
  if (address === '127.0.0.1' || address === '::1') return ':';
  return address.includes(':')
    ? `ip -6 addr add ${address}/128 dev lo nodad`
    : `ip addr add ${address}/32 dev lo`;
}

function forwardSignals(child: ChildProcess): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => child.kill(signal));
  }
}

/** The rest of the file must not run: the process ends once the runner has said what there is to say. */
async function skipFile(file: string, problem: string): Promise<never> {
  const name = `${path.basename(file)} in a network namespace`;
  const message = `needs namespaces (unshare -rnm): ${problem}`;
  if (process.env[required] === undefined) await test(name, { skip: message }, () => undefined);
  else await test(name, () => Promise.reject(new Error(message)));
  await once(process, 'beforeExit');
  process.exit();
}
