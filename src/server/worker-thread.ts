import { parentPort, workerData } from 'node:worker_threads';
import { compileTexts } from '../config/compile.ts';
import type { ListenSetting } from '../config/listen-address.ts';
import { systemClock } from '../core/clock.ts';
import { createOperationsLog } from '../observe/operations-log.ts';
import type { Policy } from '../policy/policy.ts';
import { DataPlane } from './data-plane.ts';
import type { FromThread, ThreadAnswer, ThreadData, ToThread } from './thread-protocol.ts';

/** The inside of one worker thread: a data plane that takes its orders from the main thread. */
const port = parentPort;
if (port === null) throw new Error('worker-thread.ts runs only as a worker thread');
const { options, files, revocations } = workerData as ThreadData;
const plane = new DataPlane(options, compiled(files), createOperationsLog());
plane.revoke(revocations, []);

port.on('message', (message: ToThread) => {
  if (!('call' in message)) {
    obey(message);
    return;
  }
  answer(message).then(
    (value) => port.postMessage({ call: message.call, value } satisfies FromThread),
    (error: Error) =>
      port.postMessage({ call: message.call, error: error.message } satisfies FromThread),
  );
});

function obey(message: Exclude<ToThread, { call: number }>): void {
  switch (message.order) {
    case 'own':
      return plane.setOwnListeners(message.listeners);
    case 'apply':
      return plane.apply(compiled(message.files));
    case 'refuse':
      return plane.refuseReload(message.entry);
    case 'keys':
      return plane.useKeys();
    case 'reopen':
      return plane.reopenLog();
    case 'drain':
      return plane.drain();
    default:
      return message satisfies never;
  }
}

async function answer(message: Extract<ToThread, { call: number }>): Promise<ThreadAnswer> {
  switch (message.order) {
    case 'listen': {
      const bound: ListenSetting[] = [];
      for (const setting of message.on) bound.push(await plane.listen(setting));
      return bound;
    }
    case 'snapshot':
      return plane.metrics.snapshot();
    case 'connections':
      return plane.describe();
    case 'revoke':
      return plane.revoke(message.entries, message.changes);
    case 'cut':
      return plane.cut(message.cut);
    case 'open':
      return plane.open;
    case 'start':
      return plane.start();
    case 'stop':
      plane.stop();
      port?.unref();
      return true;
    default:
      return message satisfies never;
  }
}

/** The main thread has compiled the same texts without an error before it sent them. */
function compiled(texts: ReadonlyMap<string, string>): Policy {
  const { policy, problems } = compileTexts(texts, systemClock.now());
  if (policy === null) throw new Error(problems[0]?.message ?? 'the allowlists do not compile');
  return policy;
}
