import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import { startDnsServer } from '../support/dns-server.ts';
import {
  dnsAddress,
  enterNamespace,
  forbiddenAddresses,
  publicAddresses,
} from '../support/namespace.ts';
import { canary } from '../support/origins.ts';
import { RawClient } from '../support/raw-client.ts';

await enterNamespace(import.meta.filename);

describe('inside the namespace', () => {
  for (const address of [...publicAddresses, ...forbiddenAddresses]) {
    test(`a server on ${address}, port 443, can be reached`, async () => {
      await using origin = await canary(address, 443);
      const client = await RawClient.connect({ host: address, port: 443 });
      assert.equal((await client.readToEnd()).toString(), 'CANARY\n');
      client.close();
      assert.equal(origin.connections.length, 1);
    });
  }

  for (const address of ['1.1.1.1', '93.184.215.99', '2606:4700::9999', '10.0.0.6']) {
    test(`nothing goes out to ${address}`, async () => {
      const socket = net.connect({ host: address, port: 443 });
      await assert.rejects(once(socket, 'connect'), { code: 'ENETUNREACH' });
    });
  }

  test('names are resolved by the DNS server of the test', async () => {
    const zone = { 'good.test': { a: ['93.184.215.14'] } };
    const dns = await startDnsServer({ address: dnsAddress, port: 53, zone });
    assert.equal((await lookup('good.test')).address, '93.184.215.14');
    await assert.rejects(lookup('other.test'), { code: 'ENOTFOUND' });
    await dns.close();
  });
});
