import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { hostsText } from '../network/plan.ts';
import type { TrialResult, TrialSpec } from '../network/trial-types.ts';
import { pinned } from './pinning.ts';

const entry = path.resolve(import.meta.dirname, '../network/trial.ts');

/** A trial that takes longer has hung, milliseconds. */
const patience = 90_000;

/** Runs inside, $1 is a directory with the files to bind; then the rest of the arguments. */
const setup = `set -e
ip link set lo up
{ echo 10240 65000 > /proc/sys/net/ipv4/ip_local_port_range; } 2>/dev/null || true
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/resolv.conf" /etc/resolv.conf
shift
exec "$@"`;

/** What the namespaces are: the first that the machine offers. With a pid namespace nothing can be left over. */
const flavours: readonly (readonly string[])[] = [
  ['--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child'],
  ['--net', '--mount'],
];

/**
 * Runs one trial in fresh network, mount and, if possible, pid namespaces: loopback only, all ports
 * free, no connections in TIME-WAIT from the trial before.
 * @throws Error if there are no namespaces, or the trial failed; the message is for a person.
 */
export async function runTrial(spec: Omit<TrialSpec, 'directory'>): Promise<TrialResult> {
  const directory = mkdtempSync(path.join(tmpdir(), 'sallyport-bench-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    writeFileSync(path.join(directory, 'hosts'), hostsText());
    writeFileSync(path.join(directory, 'resolv.conf'), 'nameserver 127.0.0.1\n');
    const argument = JSON.stringify({ ...spec, directory } satisfies TrialSpec);
    const trial = pinned(spec.pinning?.load, [process.execPath, entry, argument]);
    const [command = '', ...args] = inNamespace(directory, trial);
    return JSON.parse(await outputOf(command, args)) as TrialResult;
  } finally {
    process.off('exit', remove);
    remove();
  }
}

/** Found once. */
let flavour: readonly string[] | undefined;

function inNamespace(directory: string, command: readonly string[]): string[] {
  flavour ??= flavours.find((candidate) => works(candidate, directory));
  if (flavour === undefined) {
    throw new Error('needs network namespaces (unshare and ip, as root or with user namespaces).');
  }
  return wrap(flavour, directory, command);
}

function works(candidate: readonly string[], directory: string): boolean {
  const [command = '', ...args] = wrap(candidate, directory, ['true']);
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** A user namespace (`-r`) is needed, and possible, only for others than root. */
function wrap(flags: readonly string[], directory: string, command: readonly string[]): string[] {
  const user = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  return ['unshare', ...user, ...flags, 'sh', '-c', setup, 'sh', directory, ...command];
}

async function outputOf(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  // SIGKILL because unshare passes no other signal on; what it started ends with it.
  const kill = (): boolean => child.kill('SIGKILL');
  const timer = setTimeout(kill, patience);
  process.once('exit', kill);
  const stopListening = endWith(child);
  const [output, complaints] = [collect(child.stdout), collect(child.stderr)];
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  process.off('exit', kill);
  stopListening();
  if (code === 0) return output();
  throw new Error(code === null ? `stopped after ${patience / 1000} s` : complaints().trim());
}

/** Ctrl-C must not leave a trial behind. */
function endWith(child: ChildProcess): () => void {
  const stop = (): void => {
    child.kill('SIGKILL');
    process.exit(130);
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  return () => process.off('SIGINT', stop).off('SIGTERM', stop);
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return () => text;
}
