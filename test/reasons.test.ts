/** The catalogue of reasons, against the contract's table ("Refusals", written down here as data). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Reason, reasons } from '../src/core/reasons.ts';

/** Reason codes by the status that a client gets; `cut` = no answer, a live connection ends. */
const byStatus: Readonly<Record<string, readonly Reason[]>> = {
  400: ['bad_request', 'bad_target'],
  407: [
    'no_credentials',
    'bad_credentials',
    'source_not_allowed',
    'credential_expired',
    'credential_revoked',
  ],
  403: [
    'agent_quarantined',
    'host_not_allowed',
    'port_not_allowed',
    'scheme_not_allowed',
    'denied',
    'entry_expired',
    'address_not_allowed',
    'method_not_allowed',
    'path_not_allowed',
    'upgrade_not_allowed',
    'host_mismatch',
  ],
  cut: [
    'sni_missing',
    'sni_mismatch',
    'ech_refused',
    'not_tls',
    'hello_timeout',
    'policy_changed',
    'idle_timeout',
  ],
  429: ['connection_limit', 'rate_limit'],
  413: ['upload_limit'],
  503: ['overloaded', 'draining', 'log_unavailable'],
  502: ['dns_failure', 'connect_refused', 'connect_failed', 'upstream_tls'],
  504: ['connect_timeout'],
  508: ['loop'],
};

/** Beyond the contract's table: conditions of requests, and secrets, that came after it. */
const beyond: Readonly<Record<string, readonly Reason[]>> = {
  403: ['header_not_allowed', 'content_type_not_allowed', 'tool_not_allowed'],
  503: ['secret_unavailable'],
};

/** RFC 9209 §2.3: the registered proxy error types. */
const proxyErrors: ReadonlySet<string> = new Set([
  'dns_timeout',
  'dns_error',
  'destination_not_found',
  'destination_unavailable',
  'destination_ip_prohibited',
  'destination_ip_unroutable',
  'connection_refused',
  'connection_terminated',
  'connection_timeout',
  'connection_read_timeout',
  'connection_write_timeout',
  'connection_limit_reached',
  'tls_protocol_error',
  'tls_certificate_error',
  'tls_alert_received',
  'http_request_error',
  'http_request_denied',
  'http_response_incomplete',
  'http_response_header_section_size',
  'http_response_header_size',
  'http_response_body_size',
  'http_response_trailer_section_size',
  'http_response_trailer_size',
  'http_response_transfer_coding',
  'http_response_content_coding',
  'http_response_timeout',
  'http_upgrade_failed',
  'http_protocol_error',
  'proxy_internal_response',
  'proxy_internal_error',
  'proxy_configuration_error',
  'proxy_loop_detected',
]);

describe('reasons', () => {
  test('are those of the contract and a few more, with their statuses', () => {
    const known = [...Object.entries(byStatus), ...Object.entries(beyond)];
    const expected = known.flatMap(([status, codes]) =>
      codes.map((code) => [code, status === 'cut' ? 0 : Number(status)] as const),
    );
    const actual = Object.entries(reasons).map(([code, { status }]) => [code, status] as const);
    assert.deepEqual(Object.fromEntries(actual), Object.fromEntries(expected));
  });

  test('are codes that grep and metrics can take', () => {
    for (const code of Object.keys(reasons)) assert.match(code, /^[a-z]+(?:_[a-z]+)*$/);
  });

  for (const [code, { proxyError, retry, fault, status }] of Object.entries(reasons)) {
    test(code, () => {
      assert.ok(proxyErrors.has(proxyError), `${proxyError} is not registered`);
      // What the client or the policy must change does not change by waiting, limits apart.
      const passes = fault === 'destination' || fault === 'proxy' || status === 429;
      assert.equal(retry, passes);
      if (fault === 'destination' || fault === 'proxy') assert.ok(status === 0 || status >= 500);
    });
  }
});
