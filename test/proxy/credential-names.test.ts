import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isCredentialHeader } from '../../src/proxy/credential-headers.ts';
import { credentialQueryKeys } from '../../src/proxy/credential-query.ts';

const credentialHeaders = `
  api-key apikey api-token appkey authorization auth-key auth-token authtoken bearer
  cb-access-key cb-access-passphrase cb-access-sign circle-token client-cert cookie cookie2
  dd-api-key dd-application-key dpop fastly-key job-token key npm-otp ocp-apim-subscription-key
  password pinata_api_key pinata_secret_api_key private-token proxy-authorization remote-user
  sec-token-binding session-token signature token user-password x-access-key x-access-token x-accesstoken
  x-admin-key x-algolia-api-key x-amz-credential x-amz-security-token x-api-key x-api-secret x-api_key
  x-appwrite-key x-auth x-auth-email x-auth-key x-auth-token x-authentication x-authenticated-user
  x-authorization x-aws-ec2-metadata-token x-buildkite-token x-consul-token x-csrf-token x-csrftoken
  x-emby-token x-figma-token x-forwarded-client-cert x-functions-key x-github-otp x-github-token
  x-gitlab-token x-goog-api-key x-goog-iam-authorization-token x-hasura-admin-secret x-honeycomb-team
  x-hub-signature-256 x-insert-key x-jfrog-art-api x-jwt x-license-key x-mashape-key x-master-key
  x-mbx-apikey x-ms-authorization-auxiliary x-ms-copy-source-authorization x-nuget-apikey x-oauth-basic
  x-parse-master-key x-plex-token x-postmark-server-token x-rapidapi-key x-recharge-access-token
  x-refresh-token x-secret x-sentry-auth x-session-id x-shopify-access-token x-subscription-token
  x-typesense-api-key x-user-token x-vault-token x-xsrf-token
`;

const otherHeaders = `
  accept accept-charset accept-encoding accept-language access-control-request-headers
  access-control-request-method anthropic-beta anthropic-version author authority cache-control
  cache-key connection content-encoding content-length content-md5 content-type date dnt etag expect
  expires from git-protocol host idempotency-key x-idempotency-key if-match if-modified-since
  if-none-match if-range last-event-id last-modified link mcp-method mcp-name mcp-param-region
  mcp-protocol-version mcp-session-id monkey npm-command openai-organization openai-project origin
  pragma prefer priority range referer sec-fetch-mode sec-websocket-extensions sec-websocket-key
  sec-websocket-protocol sec-websocket-version sort-key surrogate-key te traceparent tracestate
  transfer-encoding user-agent via warning x-amz-content-sha256 x-amz-date x-amz-target
  x-amz-server-side-encryption-aws-kms-key-id x-amz-server-side-encryption-customer-key
  x-continuation-token x-forwarded-for x-github-api-version x-goog-encryption-key x-goog-user-project
  x-keyboard x-ms-date x-ms-version x-next-page-token x-request-id x-requested-with x-stainless-lang
  x-tokenizer x-trace-id design-id assignment keyed
`;

describe('a header that carries a credential', () => {
  for (const name of credentialHeaders.trim().split(/\s+/u)) {
    test(name, () => {
      assert.equal(isCredentialHeader(name), true);
      assert.equal(isCredentialHeader(name.toUpperCase()), true);
      assert.equal(isCredentialHeader(name.replaceAll('-', '_')), true);
    });
  }
});

describe('a header that carries none', () => {
  for (const name of otherHeaders.trim().split(/\s+/u)) {
    test(name, () => assert.equal(isCredentialHeader(name), false));
  }
});

describe('the query', () => {
  const cases: readonly [target: string, keys: readonly string[]][] = [
    ['/', []],
    ['/access_token=1', []],
    ['/?', []],
    ['/?access_token=1', ['access_token']],
    ['/?q=1&Access_Token=1', ['Access_Token']],
    ['/?a=1;token=2', ['token']],
    ['/?a=1?token=2', ['token']],
    ['/?token', ['token']],
    ['/?token=1&token=2', ['token']],
    ['/?%74oken=1', ['token']],
    ['/?%2574oken=1', []],
    ['/?tok%65n=1&%zz=1', ['token']],
    ['/?%zz%74oken=1', []],
    ['/?%ff-%74oken=1', ['ÿ-token']],
    ['/?access+token=1', ['access token']],
    ['/?access.token=1', ['access.token']],
    ['/?access_token[]=1', ['access_token[]']],
    ['/?x[key]=1', ['x[key]']],
    ['/?x%5Bauth%5D=1', ['x[auth]']],
    ['/?apiKey=1&clientSecret=2&idToken=3', ['apiKey', 'clientSecret', 'idToken']],
    ['/?=1&&', []],
  ];
  for (const [target, keys] of cases) {
    test(target, () => assert.deepEqual(credentialQueryKeys(target), keys));
  }

  const credentials = `access_token api_key apikey api-key key token auth auth_token authToken client_secret
    password passwd pwd sig signature X-Amz-Credential X-Amz-Signature X-Amz-Security-Token X-Goog-Credential
    X-Goog-Signature AWSAccessKeyId GoogleAccessId private_token job_token jwt session sessionid sid
    subscription-key appid app_id appkey id_token oauth_token secret user_key access_key accessKey bearer
    license_key developer_key otp`;
  const others = `q page page_token pageToken nextPageToken next_token continuation-token sync_token cursor
    sort_key sortKey public_key issueKey project_key object_key keys keyword keywords id name user username
    author authors client_id X-Amz-Date X-Amz-Expires X-Amz-Algorithm se sp sv spr tokenizer design code
    state scope response_type v version format`;
  for (const key of credentials.trim().split(/\s+/u)) {
    test(`has the credential ${key}, in any case`, () => {
      const odd = [...key].map((letter, at) => (at % 2 ? letter.toUpperCase() : letter)).join('');
      for (const spelled of [key, key.toLowerCase(), key.toUpperCase(), odd]) {
        assert.deepEqual(credentialQueryKeys(`/p?x=1&${spelled}=v`), [spelled]);
      }
    });
  }
  for (const key of others.trim().split(/\s+/u)) {
    test(`has no credential in ${key}`, () =>
      assert.deepEqual(credentialQueryKeys(`/p?${key}=v`), []));
  }

  test('no target makes it throw, and a key is found however it is escaped', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
        (noise, escaped) => {
          const key = [...'access_token']
            .map((letter, at) => (escaped[at] ? `%${letter.charCodeAt(0).toString(16)}` : letter))
            .join('');
          assert.ok(credentialQueryKeys(`/${noise}?${noise}&${key}=1`).includes('access_token'));
        },
      ),
    );
  });
});
