/**
 * The closed catalogue of reason codes (contract, "Refusals"): the status a client gets, the
 * RFC 9209 `error` type, whether trying again may help, and whose move it is.
 * A test compares this table with the one in the README.
 */
export interface ReasonInfo {
  /** HTTP status of the refusal; 0 where the reason only ever cuts a live connection. */
  readonly status: number;
  /** RFC 9209 §2.3 proxy error type. */
  readonly proxyError: string;
  /** True if the same request may succeed later without anybody changing anything. */
  readonly retry: boolean;
  /** Who can change the outcome. */
  readonly fault: 'client' | 'policy' | 'destination' | 'proxy';
}

const client = (status: number, proxyError = 'http_request_error'): ReasonInfo => ({
  status,
  proxyError,
  retry: false,
  fault: 'client',
});
const policy = (status: number, proxyError = 'http_request_denied'): ReasonInfo => ({
  status,
  proxyError,
  retry: false,
  fault: 'policy',
});
const destination = (status: number, proxyError: string): ReasonInfo => ({
  status,
  proxyError,
  retry: true,
  fault: 'destination',
});
const proxy = (status: number, proxyError: string): ReasonInfo => ({
  status,
  proxyError,
  retry: true,
  fault: 'proxy',
});

export const reasons = {
  bad_request: client(400),
  bad_target: client(400),
  no_credentials: client(407, 'http_request_denied'),
  bad_credentials: client(407, 'http_request_denied'),
  source_not_allowed: client(407, 'http_request_denied'),
  credential_expired: client(407, 'http_request_denied'),
  credential_revoked: client(407, 'http_request_denied'),
  agent_quarantined: policy(403),
  host_not_allowed: policy(403),
  port_not_allowed: policy(403),
  scheme_not_allowed: policy(403),
  denied: policy(403),
  entry_expired: policy(403),
  address_not_allowed: policy(403, 'destination_ip_prohibited'),
  method_not_allowed: policy(403),
  path_not_allowed: policy(403),
  header_not_allowed: policy(403),
  content_type_not_allowed: policy(403),
  tool_not_allowed: policy(403),
  upgrade_not_allowed: policy(403),
  host_mismatch: client(403, 'http_request_denied'),
  sni_missing: client(0, 'http_request_denied'),
  sni_mismatch: client(0, 'http_request_denied'),
  ech_refused: client(0, 'http_request_denied'),
  not_tls: client(0, 'http_request_denied'),
  hello_timeout: client(0, 'connection_read_timeout'),
  connection_limit: { ...policy(429, 'connection_limit_reached'), retry: true },
  rate_limit: { ...policy(429, 'connection_limit_reached'), retry: true },
  upload_limit: policy(413),
  overloaded: proxy(503, 'connection_limit_reached'),
  draining: proxy(503, 'destination_unavailable'),
  log_unavailable: proxy(503, 'proxy_internal_error'),
  secret_unavailable: proxy(503, 'proxy_internal_error'),
  dns_failure: destination(502, 'dns_error'),
  connect_refused: destination(502, 'connection_refused'),
  connect_timeout: destination(504, 'connection_timeout'),
  connect_failed: destination(502, 'destination_unavailable'),
  upstream_tls: destination(502, 'tls_certificate_error'),
  loop: client(508, 'proxy_loop_detected'),
  policy_changed: policy(0),
  idle_timeout: proxy(0, 'connection_read_timeout'),
} as const satisfies Record<string, ReasonInfo>;

export type Reason = keyof typeof reasons;
