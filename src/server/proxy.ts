import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import type { CompileResult } from '../config/compile.ts';
import { compileDirectory } from '../config/compile.ts';
import {
  formatListener,
  type HostPort,
  isUnix,
  type ListenSetting,
  type UnixPath,
} from '../config/listen-address.ts';
import { createRevocationReader } from '../config/revocation-file.ts';
import type { Settings } from '../config/settings.ts';
import { didYouMean } from '../config/spelling.ts';
import { systemClock } from '../core/clock.ts';
import { openCredentialKeys } from '../identity/credential-keys.ts';
import type { RevocationEntry } from '../identity/revocations.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import type { Policy } from '../policy/policy.ts';
import { Admin } from './admin.ts';
import { ControlPlane, type Worker } from './control-plane.ts';
import { DataPlane, type DataPlaneOptions } from './data-plane.ts';
import { descriptorLimit } from './descriptor-limit.ts';
import { KeyWatch } from './key-watch.ts';
import { LocalWorker } from './local-worker.ts';
import { trustProblem } from './own-trust.ts';
import { RevocationPlane } from './revocation-plane.ts';
import { ThreadWorker } from './thread-worker.ts';
import { TlsFilesError } from './tls-listener.ts';
import { Watcher } from './watcher.ts';

/** Descriptors for everything that is not a client connection or its other end. */
const spareDescriptors = 64;

/** What a running proxy lets its owner do. */
export interface RunningProxy {
  readonly listeners: readonly ListenSetting[];
  readonly admin: HostPort;
  readonly policy: Policy;
  reload(): void;
  reopenLogs(): void;
  /** Drains and stops; `hurry` cuts the wait short. */
  stop(hurry: AbortSignal): Promise<void>;
}

/** The proxy could not start: one sentence for a person. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/**
 * The composition root: settings and a compiled policy become a running proxy.
 * @param environment which entries may take secrets from
 * @throws StartError if an address cannot be listened on, a key file is unusable, or the egress log
 *   cannot be written: a proxy that cannot record must not run.
 */
export async function startProxy(
  settings: Settings,
  initial: CompileResult,
  policy: Policy,
  revoked: readonly RevocationEntry[],
  operations: OperationsLog,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<RunningProxy> {
  checkAgents(settings.listen, policy);
  const options = planeOptions(settings, environment, operations);
  const keys = openCredentialKeys(options.keys);
  const problem = trustProblem(options.trust, options.certs);
  if (problem !== null) throw new StartError(problem);
  const { workers, listeners, own } =
    options.workers === 1
      ? await startLocal(options, settings.listen, policy, revoked, operations)
      : await startThreads(options, settings.listen, initial, revoked, operations);
  const control = new ControlPlane(
    {
      compile: () => compileDirectory(settings.allowlists, systemClock.now()),
      workers,
      operations,
      clock: systemClock,
    },
    policy,
  );
  const revocations = new RevocationPlane(
    {
      read: createRevocationReader(settings.allowlists, systemClock.now),
      workers,
      operations,
      policy: () => control.policy,
    },
    revoked,
  );
  const admin = new Admin(control, revocations);
  const bound = await listening([settings.admin], () =>
    admin.listen(settings.admin.host, settings.admin.port),
  ).catch(async (error: unknown) => {
    await Promise.all(workers.map((worker) => worker.stop()));
    throw error;
  });
  const adminAt = { host: settings.admin.host, port: bound.port };
  own([...listeners.flatMap(({ at }) => (isUnix(at) ? [] : [at])), adminAt]);
  const reload = (how: 'if-changed' | 'always'): void => {
    // Revocations go first and by themselves: they never wait for a policy to compile.
    void revocations.reload();
    void control.reload(how);
  };
  const watcher = new Watcher(settings.allowlists, () => reload('if-changed'));
  await watcher.start();
  const keyWatch = new KeyWatch(options.keys, keys, systemClock, operations, () =>
    control.useKeys(),
  );
  keyWatch.start();
  // What changed since the files were first read, the watcher takes for known.
  reload('if-changed');
  return {
    listeners,
    admin: adminAt,
    policy,
    reload: () => reload('always'),
    reopenLogs: () => control.reopenLogs(),
    stop: async (hurry) => {
      watcher.close();
      keyWatch.close();
      await control.drain(settings.limits.drainTimeout, hurry);
      admin.close();
    },
  };
}

interface Started {
  readonly workers: readonly Worker[];
  readonly listeners: readonly ListenSetting[];
  /** Tells every worker the proxy's own listeners. */
  own(listeners: readonly HostPort[]): void;
}

async function startLocal(
  options: DataPlaneOptions,
  listen: readonly ListenSetting[],
  policy: Policy,
  revoked: readonly RevocationEntry[],
  operations: OperationsLog,
): Promise<Started> {
  const plane = new DataPlane(options, policy, operations);
  plane.revoke(revoked, []);
  const listeners: ListenSetting[] = [];
  try {
    for (const on of listen) {
      listeners.push(await listening([on.at], () => plane.listen(on)));
    }
    // Only now: one that cannot take its ports must not write into the log of the one that has them.
    if (!plane.start()) throw logUnwritable(options.log);
  } catch (error) {
    plane.stop();
    throw error;
  }
  return {
    workers: [new LocalWorker(plane)],
    listeners,
    own: (all) => plane.setOwnListeners(all),
  };
}

async function startThreads(
  options: DataPlaneOptions,
  listen: readonly ListenSetting[],
  initial: CompileResult,
  revoked: readonly RevocationEntry[],
  operations: OperationsLog,
): Promise<Started> {
  const workers: ThreadWorker[] = [];
  let listeners = listen;
  let all = listen;
  for (let index = 0; index < options.workers; index++) {
    const worker = new ThreadWorker(
      { options: { ...options, worker: index }, files: initial.files, revocations: revoked },
      {
        failed: (error) =>
          operations.error('a worker has failed; its connections are lost', {
            worker: index,
            error,
          }),
        restarted: (error) =>
          error === null
            ? operations.info('the worker runs again', { worker: index })
            : operations.error('the worker could not be replaced', { worker: index, error }),
      },
    );
    workers.push(worker);
    try {
      // The first one takes the ports, the others join it there; a Unix socket cannot be shared.
      const places = listeners.map(({ at }) => at);
      const bound = await listening(places, () => worker.listen(listeners));
      if (index === 0) all = bound;
      listeners = bound.filter(({ at }) => !isUnix(at));
      if (!(await worker.start())) throw logUnwritable(options.log);
    } catch (error) {
      await Promise.all(workers.map((started) => started.stop()));
      throw error;
    }
  }
  return {
    workers,
    listeners: all,
    own: (own) => {
      for (const worker of workers) worker.setOwnListeners(own);
    },
  };
}

function planeOptions(
  settings: Settings,
  environment: Readonly<Record<string, string | undefined>>,
  operations: OperationsLog,
): DataPlaneOptions {
  const { limits } = settings;
  const most = Math.floor((descriptorLimit() - spareDescriptors) / 2);
  if (most < limits.connections * 0.9) {
    operations.warn('fewer connections than configured: the limit of open files is too low', {
      connections: most,
      configured: limits.connections,
    });
  }
  return {
    worker: 0,
    workers: settings.workers === 'auto' ? availableParallelism() : settings.workers,
    host: hostname(),
    log: settings.log,
    resolver: { ...settings.resolver, timeoutMs: settings.resolver.timeout },
    limits: { ...limits, connections: Math.max(1, Math.min(most, limits.connections)) },
    certs: settings.certs,
    keys: join(settings.certs, 'credentials.key'),
    allowlists: settings.allowlists,
    // A copy: what it is now counts, also in worker threads.
    environment: { ...environment },
    trust: settings.trust,
  };
}

function logUnwritable(path: string): StartError {
  return new StartError(
    `the egress log ${path} cannot be written, and nothing is let through without it.`,
  );
}

async function listening<T>(
  places: readonly (HostPort | UnixPath)[],
  listen: () => Promise<T>,
): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    if (error instanceof TlsFilesError) throw new StartError(error.message);
    const code = (error as NodeJS.ErrnoException).code;
    const where = places.map(formatListener).join(', ');
    throw new StartError(`cannot listen on ${where}: ${listenProblem(code, error as Error)}.`);
  }
}

/** A listener that stands for an agent which is not there would let nobody in, and nobody know why. */
function checkAgents(listen: readonly ListenSetting[], policy: Policy): void {
  for (const { at, agent } of listen) {
    if (agent === null || policy.agents.has(agent)) continue;
    const meant = didYouMean(agent, policy.agents.keys());
    throw new StartError(
      `the listener ${formatListener(at)} stands for the agent ${agent}, which is not in the allowlists${meant || '.'}`,
    );
  }
}

function listenProblem(code: string | undefined, error: Error): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'something else listens there already';
    case 'EACCES':
      return 'this user may not listen there';
    case 'ENOENT':
      return 'there is no such directory';
    case 'EADDRNOTAVAIL':
      return 'this machine has no such address';
    default:
      return error.message;
  }
}
