import type { WorkloadAlgorithm } from '../policy/issuer.ts';
import type { WorkloadKey } from './key-set.ts';

/**
 * The keys of other issuers as they are known now; where they come from, and how they are kept fresh,
 * is not asked here. Answers at once, from memory; does not throw.
 */
export interface WorkloadKeys {
  /**
   * The one key of the issuer that a token with this `kid` and `alg` may be signed with. Null also
   * means that newer keys may be asked for meanwhile: the next try can succeed.
   */
  find(issuer: string, kid: string | undefined, algorithm: WorkloadAlgorithm): WorkloadKey | null;
  /** Does the issuer still have the key with this id? */
  has(issuer: string, id: string): boolean;
}
