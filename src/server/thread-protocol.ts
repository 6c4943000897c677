import type { HostPort, ListenSetting } from '../config/listen-address.ts';
import type { RevocationEntry } from '../identity/revocations.ts';
import type { MetricsSnapshot } from '../observe/metrics-snapshot.ts';
import type { LiveDescription } from '../proxy/services.ts';
import type { CutOrder } from './connections.ts';
import type { DataPlaneOptions } from './data-plane.ts';
import type { RevocationChange } from './revocation-plane.ts';

/** What a worker thread is started with. Policies travel as the texts they compile from. */
export interface ThreadData {
  readonly options: DataPlaneOptions;
  readonly files: ReadonlyMap<string, string>;
  readonly revocations: readonly RevocationEntry[];
}

/** Orders to a worker thread; those with a `call` are answered. */
export type ToThread =
  | { readonly order: 'listen'; readonly call: number; readonly on: readonly ListenSetting[] }
  | {
      readonly order: 'revoke';
      readonly call: number;
      readonly entries: readonly RevocationEntry[];
      readonly changes: readonly RevocationChange[];
    }
  | { readonly order: 'cut'; readonly call: number; readonly cut: CutOrder }
  | { readonly order: 'own'; readonly listeners: readonly HostPort[] }
  | { readonly order: 'apply'; readonly files: ReadonlyMap<string, string> }
  | { readonly order: 'refuse'; readonly entry: string | undefined }
  | { readonly order: 'keys' }
  | { readonly order: 'reopen' }
  | { readonly order: 'drain' }
  | {
      readonly order: 'snapshot' | 'connections' | 'open' | 'start' | 'stop';
      readonly call: number;
    };

/** Answers of a worker thread. */
export type FromThread =
  | { readonly call: number; readonly value: ThreadAnswer }
  | { readonly call: number; readonly error: string };

export type ThreadAnswer =
  | MetricsSnapshot
  | LiveDescription[]
  | readonly ListenSetting[]
  | readonly string[]
  | number
  | boolean;
