import assert from 'node:assert/strict';
import { reasons } from '../../src/core/reasons.ts';
import { header, RawClient, type RawResponse } from './raw-client.ts';

/** The body of every refusal (contract, "Refusals"). */
export interface RefusalBody {
  readonly reason: string;
  readonly message: string;
  readonly agent?: string;
  readonly host?: string;
  readonly port?: number;
  readonly id: string;
  readonly policy?: string;
  readonly owner?: string;
  readonly retry: boolean;
  readonly hint: string;
}

const bodyKeys = [
  'reason',
  'message',
  'agent',
  'host',
  'port',
  'id',
  'policy',
  'owner',
  'retry',
  'hint',
];

/** Reasons that a client never sees: it gets the one 407. */
const unidentified = new Set([
  'no_credentials',
  'bad_credentials',
  'source_not_allowed',
  'credential_expired',
  'credential_revoked',
]);

/**
 * Fails unless the answer is a refusal for this reason in every detail that the contract fixes.
 * @param status where it is not the one of the reason
 */
export function assertRefusal(answer: RawResponse, reason: string, status?: number): RefusalBody {
  const shown = unidentified.has(reason) ? 'no_credentials' : reason;
  const said = `${answer.status} ${answer.reason}: ${answer.body.toString('latin1')}`;
  assert.equal(header(answer, 'sallyport-reason'), shown, said);
  assert.equal(answer.status, status ?? reasons[shown as keyof typeof reasons].status, said);
  assert.match(answer.reason, /^[\x20-\x7e]+ [\x20-\x7e]+$/, 'the reason phrase is a sentence');
  assert.match(
    header(answer, 'proxy-status') ?? '',
    new RegExp(`^sallyport; error=[a-z_]+(; rcode="[A-Z]+")?; details="${shown}"$`),
  );
  assert.equal(header(answer, 'connection'), 'close');
  assert.equal(header(answer, 'content-type'), 'application/json');
  assert.equal(header(answer, 'retry-after') !== undefined, [429, 503].includes(answer.status));
  const challenge = answer.status === 407 ? 'Basic realm="sallyport"' : undefined;
  assert.equal(header(answer, 'proxy-authenticate'), challenge);
  return assertBody(answer, shown);
}

function assertBody(answer: RawResponse, reason: string): RefusalBody {
  const { error } = JSON.parse(answer.body.toString('utf8')) as { error: RefusalBody };
  const names = Object.keys(error);
  assert.deepEqual(
    names,
    bodyKeys.filter((key) => names.includes(key)),
    'keys and their order are those of the contract',
  );
  assert.equal(error.reason, reason);
  assert.equal(error.id, header(answer, 'sallyport-id'));
  for (const text of [error.message, error.hint]) assert.ok(text.length > 0);
  assert.equal(typeof error.retry, 'boolean');
  return error;
}

/** Sends these bytes on a connection of its own; the answer, after which the proxy must close. */
export async function refusedAt(port: number, bytes: string | Uint8Array): Promise<RawResponse> {
  const client = await RawClient.connect({ port });
  client.write(bytes);
  const answer = await client.readResponse();
  assert.equal((await client.readToClose()).length, 0, 'nothing comes after a refusal');
  client.close();
  return answer;
}
