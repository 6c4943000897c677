import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import type { CompileResult } from '../config/compile.ts';
import { compileDirectory } from '../config/compile.ts';
import type { Settings } from '../config/settings.ts';
import { systemClock } from '../core/clock.ts';
import { openCredentialKeys } from '../identity/credential-keys.ts';
import type { OperationsLog } from '../observe/operations-log.ts';
import type { Policy } from '../policy/policy.ts';
import { TrustError, trustedRoots } from '../upstream/trusted-roots.ts';
import { Admin } from './admin.ts';
import { ControlPlane, type Worker } from './control-plane.ts';
import { DataPlane, type DataPlaneOptions, type ListenOn } from './data-plane.ts';
import { descriptorLimit } from './descriptor-limit.ts';
import { LocalWorker } from './local-worker.ts';
import { ThreadWorker } from './thread-worker.ts';
import { Watcher } from './watcher.ts';

/** Descriptors for everything that is not a client connection or its other end. */
const spareDescriptors = 64;

/** What a running proxy lets its owner do. */
export interface RunningProxy {
  readonly listeners: readonly ListenOn[];
  readonly admin: ListenOn;
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
 * @throws StartError if an address cannot be listened on, a key file is unusable, or the egress log
 *   cannot be written: a proxy that cannot record must not run.
 */
export async function startProxy(
  settings: Settings,
  initial: CompileResult,
  policy: Policy,
  operations: OperationsLog,
): Promise<RunningProxy> {
  const encrypted = settings.listen.find((on) => on.tls !== undefined);
  if (encrypted !== undefined) {
    throw new StartError(
      `the listener ${encrypted.host}:${encrypted.port} asks for TLS, which listeners do not speak yet: remove its \`tls\`, or put a TLS terminator in front.`,
    );
  }
  const options = planeOptions(settings, operations);
  openCredentialKeys(options.keys);
  checkTrust(options.trust);
  const { workers, listeners, own } =
    options.workers === 1
      ? await startLocal(options, settings.listen, policy, operations)
      : await startThreads(options, settings.listen, initial, operations);
  const control = new ControlPlane(
    {
      compile: () => compileDirectory(settings.allowlists, systemClock.now()),
      workers,
      operations,
      clock: systemClock,
    },
    policy,
  );
  const admin = new Admin(control);
  const bound = await listening(settings.admin, () =>
    admin.listen(settings.admin.host, settings.admin.port),
  ).catch(async (error: unknown) => {
    await Promise.all(workers.map((worker) => worker.stop()));
    throw error;
  });
  const adminAt = { host: settings.admin.host, port: bound.port };
  own([...listeners, adminAt]);
  const watcher = new Watcher(settings.allowlists, () => void control.reload('if-changed'));
  await watcher.start();
  // What changed since the files were first read, the watcher takes for known.
  void control.reload('if-changed');
  return {
    listeners,
    admin: adminAt,
    policy,
    reload: () => void control.reload('always'),
    reopenLogs: () => control.reopenLogs(),
    stop: async (hurry) => {
      watcher.close();
      await control.drain(settings.limits.drainTimeout, hurry);
      admin.close();
    },
  };
}

interface Started {
  readonly workers: readonly Worker[];
  readonly listeners: readonly ListenOn[];
  /** Tells every worker the proxy's own listeners. */
  own(listeners: readonly ListenOn[]): void;
}

async function startLocal(
  options: DataPlaneOptions,
  listen: readonly ListenOn[],
  policy: Policy,
  operations: OperationsLog,
): Promise<Started> {
  const plane = new DataPlane(options, policy, operations);
  if (!plane.start()) throw logUnwritable(options.log);
  const listeners: ListenOn[] = [];
  try {
    for (const on of listen) {
      const { port } = await listening(on, () => plane.listen(on));
      listeners.push({ host: on.host, port });
    }
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
  listen: readonly ListenOn[],
  initial: CompileResult,
  operations: OperationsLog,
): Promise<Started> {
  const workers: ThreadWorker[] = [];
  let listeners: readonly ListenOn[] = listen;
  for (let index = 0; index < options.workers; index++) {
    const worker = new ThreadWorker(
      { options: { ...options, worker: index }, files: initial.files },
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
      if (!(await worker.start())) throw logUnwritable(options.log);
      // The first one takes the ports, the others join it there.
      listeners = await listening(listeners[0], () => worker.listen(listeners));
    } catch (error) {
      await Promise.all(workers.map((started) => started.stop()));
      throw error;
    }
  }
  return {
    workers,
    listeners,
    own: (all) => {
      for (const worker of workers) worker.setOwnListeners(all);
    },
  };
}

function planeOptions(settings: Settings, operations: OperationsLog): DataPlaneOptions {
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
    keys: join(settings.certs, 'credentials.key'),
    allowlists: settings.allowlists,
    trust: settings.trust,
  };
}

function checkTrust(files: readonly string[]): void {
  try {
    trustedRoots(files);
  } catch (error) {
    if (error instanceof TrustError) throw new StartError(error.message);
    throw error;
  }
}

function logUnwritable(path: string): StartError {
  return new StartError(
    `the egress log ${path} cannot be written, and nothing is let through without it.`,
  );
}

async function listening<T>(on: ListenOn | undefined, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const where = on === undefined ? 'the listeners' : `${on.host}:${on.port}`;
    throw new StartError(`cannot listen on ${where}: ${listenProblem(code, error as Error)}.`);
  }
}

function listenProblem(code: string | undefined, error: Error): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'something else listens there already';
    case 'EACCES':
      return 'this user may not take that port';
    case 'EADDRNOTAVAIL':
      return 'this machine has no such address';
    default:
      return error.message;
  }
}
