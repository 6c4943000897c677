import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { it } from 'node:test';
import type { Clock } from '../../src/core/clock.ts';
import { type Ip, parseIp } from '../../src/core/ip.ts';
import { LocalAddresses } from '../../src/policy/local-addresses.ts';

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(`not an address: ${text}`);

/** An interface list that can be changed, a clock that stands still, and how often it was asked. */
function fixture(...addresses: string[]) {
  const state = { addresses, ms: 0, asked: 0 };
  const clock: Clock = { now: () => 0, monotonic: () => state.ms };
  const local = new LocalAddresses(clock, () => {
    state.asked++;
    const list = state.addresses.map((address) => ({ address }) as NetworkInterfaceInfo);
    return { eth0: list, gone: undefined };
  });
  return { state, local };
}

it('knows the addresses of the interfaces and no other', () => {
  const { local } = fixture('10.0.0.5', 'fe80::5', '2606:4700::5');
  for (const text of ['10.0.0.5', 'fe80::5', '2606:4700::5'])
    assert.equal(local.has(ip(text)), true);
  for (const text of ['10.0.0.6', 'fe80::6']) assert.equal(local.has(ip(text)), false);
});

it('knows the whole of 127.0.0.0/8 and ::1 without an interface', () => {
  const { state, local } = fixture();
  for (const text of ['127.0.0.0', '127.255.255.255', '::1'])
    assert.equal(local.has(ip(text)), true);
  assert.equal(state.asked, 0);
  for (const text of ['126.255.255.255', '128.0.0.0', '::2'])
    assert.equal(local.has(ip(text)), false);
});

it('asks the system again after a second, not sooner', () => {
  const { state, local } = fixture('10.0.0.5');
  local.has(ip('10.0.0.5'));
  state.addresses = ['10.0.0.6'];
  state.ms = 999;
  assert.equal(local.has(ip('10.0.0.6')), false);
  assert.equal(state.asked, 1);
  state.ms = 1000;
  assert.equal(local.has(ip('10.0.0.6')), true);
  assert.equal(local.has(ip('10.0.0.5')), false);
  assert.equal(state.asked, 2);
});
