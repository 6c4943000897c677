import { ClientHelloParser } from '../src/tls/client-hello.ts';
import { judgeHello } from '../src/tls/judge-hello.ts';
import type { Axis } from './support/axis.ts';
import { captureClientHello } from './support/client-hello.ts';
import { measure, type Operation } from './support/micro.ts';

const host = 'registry.npm.example';

/** A real ClientHello: collected, read, judged. */
export const hello: Axis = {
  name: 'hello',
  about: 'a ClientHello: collected, parsed and compared with the target',
  async run({ quick }) {
    const classic = await captureClientHello(host, { ecdhCurve: 'X25519' });
    const hybrid = await captureClientHello(host, {
      ecdhCurve: 'X25519MLKEM768:X25519',
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    const cases = [
      ['X25519, one segment', [classic]],
      ['X25519MLKEM768, one segment', [hybrid]],
      ['X25519MLKEM768, two segments', [hybrid.subarray(0, 1400), hybrid.subarray(1400)]],
    ] as const;
    return {
      tables: [
        {
          title: 'Judging a ClientHello, CPU ns',
          columns: [
            { key: 'hello', label: 'key share, segments' },
            { key: 'size', label: 'bytes', digits: 5 },
            { key: 'ns', label: 'parse + judge ns' },
            { key: 'garbage', label: 'garbage B' },
          ],
          rows: cases.map(([name, chunks]) => {
            const { ns, bytes } = measure(judge(chunks), quick);
            const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
            return { hello: name, size, ns, garbage: bytes };
          }),
        },
      ],
    };
  },
};

function judge(chunks: readonly Buffer[]): Operation {
  const target = { host, ip: null };
  return () => {
    const parser = new ClientHelloParser();
    let result = parser.push(chunks[0] as Buffer);
    for (let at = 1; at < chunks.length; at++) result = parser.push(chunks[at] as Buffer);
    if (result.state !== 'hello') throw new Error(`the hello was not read: ${result.state}`);
    const verdict = judgeHello(result.hello, target);
    if (verdict !== 'ok') throw new Error(`the hello was refused: ${verdict}`);
    return verdict;
  };
}
