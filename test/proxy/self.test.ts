import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileTexts } from '../../src/config/compile.ts';
import type { Identity } from '../../src/identity/identity.ts';
import { ownPage } from '../../src/proxy/self.ts';
import type { Services } from '../../src/proxy/services.ts';

const lists = `agents:
  demo:
    owner: a@example.com
    purpose: p
    allow:
      - host: mcp.example.com
        methods: [POST]
        paths: [/mcp]
        query: {page: "*", service: [fetch, list]}
        headers: {require: {x-team: HIDDEN}, strip: [cookie]}
        content-types: [application/json]
        max-body: 1KB
        tools: {allow: ["read_*"], deny: [read_secrets], log: [HIDDEN]}
        inject: [{basic: HIDDEN, secret: {env: HIDDEN}}]
        pass: [x-csrf-token]
      - {host: deny.example.com, tools: {deny: [delete]}}
      - {host: none.example.com, query: []}
      - plain.example.com
`;

test('/policy tells what requests may be, and of a credential only that there is one', () => {
  const { policy, problems } = compileTexts(new Map([['a.yaml', lists]]), 0);
  assert.deepEqual(problems, []);
  const agent = policy?.agents.get('demo');
  assert.ok(agent);
  // Of all that a proxy has, this page asks for the policy and the time.
  const services = { policy: () => policy, clock: { now: () => 0 } } as unknown as Services;
  const identity = { agent, kind: 'token', expiresAt: Infinity } as unknown as Identity;
  const body = ownPage(services, '/policy', identity)?.body ?? '';
  assert.doesNotMatch(body, /HIDDEN/);
  const common = { scheme: 'https', ports: [443] };
  assert.deepEqual(JSON.parse(body).allow, [
    {
      host: 'mcp.example.com',
      ...common,
      methods: ['POST'],
      paths: ['/mcp'],
      query: { page: '*', service: ['fetch', 'list'] },
      required_headers: ['x-team'],
      content_types: ['application/json'],
      max_body: 1000,
      tools: { allow: ['read_*'], deny: ['read_secrets'] },
      credential: 'added by the proxy',
    },
    { host: 'deny.example.com', ...common, tools: { deny: ['delete'] } },
    { host: 'none.example.com', ...common, query: {} },
    { host: 'plain.example.com', ...common },
  ]);
});
