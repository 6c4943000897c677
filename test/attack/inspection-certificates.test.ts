import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type tls from 'node:tls';
import {
  type AltName,
  altNames,
  constraints,
  purposes,
  subject,
  usage,
  type ZooCertificate,
  zooCertificate,
  zooKeys,
} from '../support/certificate-zoo.ts';
import { keyPair, nameOf, time, truth } from '../support/certificates.ts';
import { linesLike } from '../support/egress-lines.ts';
import { once as answerOnce, head } from '../support/http-stage.ts';
import { demo, InspectionStage } from '../support/inspection-stage.ts';
import { enterNamespace } from '../support/namespace.ts';
import { type Origin, startTlsOrigin } from '../support/origins.ts';
import { RawClient } from '../support/raw-client.ts';
import { headers, RawHttp2 } from '../support/raw-http2.ts';

await enterNamespace(import.meta.filename);

const host = 'api.test';
const address = '93.184.215.14';
const day = 86_400_000;

const pem = (der: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{64}/g, '$&\n').trimEnd()}\n-----END CERTIFICATE-----\n`;
const keyPem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
const valid = { notBefore: time(Date.now() - day), notAfter: time(Date.now() + day) };
const authority = (name: string, key: KeyObject, publicKey: KeyObject, issuer = name): Buffer =>
  zooCertificate(
    {
      ...valid,
      issuer: nameOf(issuer),
      subject: nameOf(name),
      publicKey,
      extensions: [constraints(truth), usage(0x06)],
    },
    key,
  );

const root = pem(authority('Zoo', zooKeys.privateKey, zooKeys.publicKey));
const middle = keyPair();
const middlePem = pem(authority('Middle', zooKeys.privateKey, middle.publicKey, 'Zoo'));
const stranger = keyPair();
const leafKeys = keyPair();
const weakKeys = generateKeyPairSync('rsa', { modulusLength: 1024 });
const names = altNames([0x82, host]);
const usual = [constraints(), usage(0x80), purposes('server'), names];

function leaf(parts: ZooCertificate = {}, key = zooKeys.privateKey): string {
  return pem(
    zooCertificate(
      {
        ...valid,
        subject: subject(['CN', host]),
        publicKey: leafKeys.publicKey,
        extensions: usual,
        ...parts,
      },
      key,
    ),
  );
}

const key = keyPem(leafKeys.privateKey);
const withNames = (...list: readonly AltName[]): string =>
  leaf({ extensions: [constraints(), usage(0x80), purposes('server'), altNames(...list)] });

interface Shown extends tls.TlsOptions {
  /** Default: no. */
  readonly good?: boolean;
}

/** What a destination shows, and whether it will do. */
const zoo: Readonly<Record<string, Shown>> = {
  'a good one': { cert: leaf(), key, good: true },
  'a good one below an intermediate': {
    cert: leaf({ issuer: nameOf('Middle') }, middle.privateKey) + middlePem,
    key,
    good: true,
  },
  'a wildcard of its level': {
    cert: withNames([0x82, '*.api.test'], [0x82, host]),
    key,
    good: true,
  },
  'one that has expired': {
    cert: leaf({ notBefore: time(Date.now() - 2 * day), notAfter: time(Date.now() - day) }),
    key,
  },
  'one that does not hold yet': {
    cert: leaf({ notBefore: time(Date.now() + day), notAfter: time(Date.now() + 2 * day) }),
    key,
  },
  'one for another name': { cert: withNames([0x82, 'other.test']), key },
  'one that is signed by itself': {
    cert: leaf({ issuer: subject(['CN', host]) }, leafKeys.privateKey),
    key,
  },
  'one of an unknown authority': {
    cert: leaf({ issuer: nameOf('Nobody') }, stranger.privateKey),
    key,
  },
  'one with the right issuer and the wrong signature': { cert: leaf({}, stranger.privateKey), key },
  'no intermediate': { cert: leaf({ issuer: nameOf('Middle') }, middle.privateKey), key },
  'one that another leaf has signed': {
    cert: leaf({ issuer: subject(['CN', host]) }, leafKeys.privateKey) + leaf(),
    key,
  },
  'a common name alone': {
    cert: leaf({ extensions: [constraints(), usage(0x80), purposes('server')] }),
    key,
  },
  'a common name beside a mail address': { cert: withNames([0x81, 'a@api.test']), key },
  'a common name beside an URI': { cert: withNames([0x86, 'https://api.test/']), key },
  'an address in the place of a name': {
    cert: withNames([0x87, Buffer.from([93, 184, 215, 14])]),
    key,
  },
  'a wildcard below it': { cert: withNames([0x82, '*.api.test']), key },
  'a wildcard over its top': { cert: withNames([0x82, '*.test']), key },
  'a wildcard for all': { cert: withNames([0x82, '*']), key },
  'a wildcard in a label': { cert: withNames([0x82, 'a*.test']), key },
  'a wildcard in a part of a label': {
    cert: withNames([0x82, 'a*.test'], [0x82, 'ap*.test']),
    key,
  },
  'a name with NUL': { cert: withNames([0x82, 'api.test\0.other.test']), key },
  'a name with a comma': { cert: withNames([0x82, 'other.test, DNS:api.test']), key },
  'a name with a line end': { cert: withNames([0x82, 'other.test\r\nDNS:api.test']), key },
  'a name with a blank': { cert: withNames([0x82, ' api.test']), key },
  'one for clients': {
    cert: leaf({ extensions: [constraints(), usage(0x80), purposes('client'), names] }),
    key,
  },
  'one of an authority': {
    cert: leaf({ extensions: [constraints(truth), usage(0x04), purposes('client'), names] }),
    key,
  },
  'a weak key': {
    cert: leaf({ publicKey: weakKeys.publicKey }),
    key: keyPem(weakKeys.privateKey),
    ciphers: 'DEFAULT@SECLEVEL=0',
  },
  'TLS 1.1': {
    cert: leaf(),
    key,
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  },
  'ciphers without a certificate': { ciphers: 'ADH@SECLEVEL=0', maxVersion: 'TLSv1.2' },
  'a demand for a certificate of ours, TLS 1.2': {
    cert: leaf(),
    key,
    requestCert: true,
    rejectUnauthorized: true,
    maxVersion: 'TLSv1.2',
    ca: root,
  },
};

let stage: InspectionStage;
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-zoo-'));
const origins = new Map<string, Origin>();
before(async () => {
  const trusted = path.join(directory, 'roots.pem');
  fs.writeFileSync(trusted, root);
  stage = await InspectionStage.start({ trust: [trusted] });
  for (const protocols of [['http/1.1'], ['h2']]) {
    for (const [what, { good: _good, ...options }] of Object.entries(zoo)) {
      const script = answerOnce(
        protocols[0] === 'h2'
          ? ''
          : 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
      origins.set(
        `${what} ${protocols[0]}`,
        await startTlsOrigin({ address }, { cert: '', key: '', ...options } as never, script, {
          ALPNProtocols: protocols,
        }),
      );
    }
  }
  const ports = [...origins.values()].map(({ port }) => port);
  await stage.proxy.reload({ 'demo.yaml': stage.lists([{ host, ports, paths: ['/**'] }]) });
});
after(async () => {
  await stage[Symbol.asyncDispose]();
  for (const origin of origins.values()) await origin.close();
  fs.rmSync(directory, { recursive: true });
});

async function tlsTo(port: number, alpn: string): Promise<tls.TLSSocket> {
  const client = await RawClient.connect({ port: stage.proxy.port });
  assert.equal((await client.tunnel(`${host}:${port}`, demo)).status, 200);
  return await client.startTls({ servername: host, ca: stage.authority, ALPNProtocols: [alpn] });
}

/** The status that a client gets which speaks what the destination speaks. */
async function ask(port: number, alpn: string): Promise<number> {
  const socket = await tlsTo(port, alpn);
  if (alpn === 'h2') {
    const raw = new RawHttp2(socket, 'client');
    raw.write(
      headers(1, [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':authority', `${host}:${port}`],
        [':path', '/secret-path'],
      ]),
    );
    await raw.untilOver(1);
    socket.destroy();
    return raw.statuses(1)[0] ?? 0;
  }
  const client = new RawClient(socket);
  client.write(head('GET /secret-path', 'Connection: close\r\n', `${host}:${port}`));
  const text = (await client.readToClose()).toString('latin1');
  client.close();
  return Number(text.slice(9, 12));
}

for (const alpn of ['http/1.1', 'h2']) {
  describe(`a destination that speaks ${alpn} shows`, () => {
    for (const [what, { good = false }] of Object.entries(zoo)) {
      if (good && alpn === 'h2') continue;
      test(what, async () => {
        const origin = origins.get(`${what} ${alpn}`) ?? assert.fail();
        assert.equal(await ask(origin.port, alpn), good ? 200 : 502);
        if (good) return;
        assert.doesNotMatch(origin.received.toString('latin1'), /secret-path/);
        const lines = linesLike(stage.proxy.lines(), {
          event: 'open',
          port: origin.port,
          method: 'GET',
        });
        assert.equal(lines.length, 1);
        assert.equal(lines[0]?.reason, 'upstream_tls');
        assert.match(lines[0]?.entry ?? '', /^demo\.yaml:\d+$/);
      });
    }
  });
}
