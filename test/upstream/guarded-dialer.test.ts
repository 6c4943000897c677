import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Cidr, type Ip, parseCidr, parseIp } from '../../src/core/ip.ts';
import { AddressGuard } from '../../src/policy/address-guard.ts';
import type { DialCallback, Dialer, DialHandle } from '../../src/upstream/dialer.ts';
import { DialError } from '../../src/upstream/dialer.ts';
import { GuardedDialer } from '../../src/upstream/guarded-dialer.ts';

interface Dialled {
  readonly addresses: readonly Ip[];
  readonly port: number;
  readonly done: DialCallback;
}

class RecordingDialer implements Dialer {
  readonly dialled: Dialled[] = [];
  readonly handle: DialHandle = { cancel: () => {} };

  dial(addresses: readonly Ip[], port: number, done: DialCallback): DialHandle {
    this.dialled.push({ addresses, port, done });
    return this.handle;
  }
}

const ips = (text: string): Ip[] => text.split(' ').map((ip) => parseIp(ip) as Ip);
const cidrs = (text: string): Cidr[] =>
  text === '' ? [] : text.split(' ').map((cidr) => parseCidr(cidr) as Cidr);

function setUp() {
  const inner = new RecordingDialer();
  const listener = { ip: parseIp('127.0.0.1'), port: 3128 };
  return { inner, guarded: new GuardedDialer(inner, new AddressGuard(() => [listener])) };
}

describe('GuardedDialer', () => {
  const allowed: readonly [addresses: string, granted: string][] = [
    ['93.184.215.14', ''],
    ['93.184.215.14 2606:4700::1111', ''],
    ['10.0.0.5', '10.0.0.0/24'],
    ['93.184.215.14 10.0.0.5', '10.0.0.5/32'],
    ['127.0.0.1', '127.0.0.0/8'],
  ];
  for (const [addresses, granted] of allowed) {
    it(`dials ${addresses}${granted === '' ? '' : ` (granted ${granted})`}`, () => {
      const { inner, guarded } = setUp();
      const list = ips(addresses);
      const done = () => {};
      assert.equal(guarded.dial(list, 443, cidrs(granted), done), inner.handle);
      assert.deepEqual(inner.dialled, [{ addresses: list, port: 443, done }]);
    });
  }

  const refused: readonly [addresses: string, port: number, granted: string, reason: string][] = [
    ['10.0.0.5', 443, '', 'address_not_allowed'],
    ['93.184.215.14 10.0.0.5', 443, '', 'address_not_allowed'],
    ['10.0.0.5 93.184.215.14', 443, '', 'address_not_allowed'],
    ['10.0.0.5 10.0.1.5', 443, '10.0.0.0/24', 'address_not_allowed'],
    ['93.184.215.14 ::1', 443, '', 'address_not_allowed'],
    ['fd00::1', 443, '', 'address_not_allowed'],
    ['fe80::1', 443, '', 'address_not_allowed'],
    ['::ffff:10.0.0.1', 443, '', 'address_not_allowed'],
    ['64:ff9b::a00:1', 443, '', 'address_not_allowed'],
    ['0.0.0.0', 443, '', 'address_not_allowed'],
    ['::', 443, '', 'address_not_allowed'],
    ['169.254.169.254', 80, '169.254.0.0/16', 'address_not_allowed'],
    ['127.0.0.1', 3128, '127.0.0.0/8', 'loop'],
    ['93.184.215.14 127.0.0.1', 3128, '127.0.0.0/8', 'loop'],
  ];
  for (const [addresses, port, granted, reason] of refused) {
    it(`refuses ${addresses} port ${port}${granted === '' ? '' : ` (granted ${granted})`}`, async () => {
      const { inner, guarded } = setUp();
      let returned = false;
      const error = await new Promise((resolve) => {
        guarded.dial(ips(addresses), port, cidrs(granted), (problem, socket, address) => {
          assert.ok(returned, 'called synchronously');
          assert.deepEqual([socket, address], [null, null]);
          resolve(problem);
        });
        returned = true;
      });
      assert.ok(error instanceof DialError);
      assert.equal(error.reason, reason);
      assert.deepEqual(inner.dialled, []);
    });
  }

  it('can be cancelled after a refusal', async () => {
    const { guarded } = setUp();
    const handle = guarded.dial(ips('10.0.0.5'), 443, [], () => assert.fail('called after cancel'));
    handle.cancel();
    handle.cancel();
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  });
});
