import { spawn, spawnSync } from 'node:child_process';
import type http from 'node:http';
import path from 'node:path';

const { PATH = '' } = process.env;

/**
 * Makes a repository with one commit on `main`, served by `gitSite`.
 *
 * @param root directory of the served repositories
 * @param name `tools.git`
 * @param file its only file, with this content
 */
export function makeRepository(root: string, name: string, file: string, content: string): void {
  const repository = path.join(root, name);
  const input = [
    'commit refs/heads/main',
    'committer Test <test@example.com> 1700000000 +0000',
    'data 5',
    'first',
    `M 644 inline ${file}`,
    `data ${Buffer.byteLength(content)}`,
    content,
    '',
  ].join('\n');
  git(root, ['init', '-q', '--bare', '-b', 'main', name]);
  git(repository, ['config', 'http.receivepack', 'true']);
  git(repository, ['fast-import', '--quiet'], input);
}

function git(cwd: string, args: readonly string[], input = ''): void {
  const run = spawnSync('git', args, { cwd, input, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`git ${args.join(' ')}: ${run.stderr}`);
}

/** Smart HTTP by git's own `http-backend`, as RFC 3875 (CGI) has it called. */
export function gitSite(root: string): http.RequestListener {
  return (request, response) => {
    const [pathInfo = '', query = ''] = (request.url ?? '').split('?', 2);
    const { headers } = request;
    const backend = spawn('git', ['http-backend'], {
      env: {
        PATH,
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_CONFIG_NOSYSTEM: '1',
        PATH_INFO: pathInfo,
        QUERY_STRING: query,
        REQUEST_METHOD: request.method,
        CONTENT_TYPE: headers['content-type'],
        HTTP_CONTENT_ENCODING: headers['content-encoding'],
        GIT_PROTOCOL: String(headers['git-protocol'] ?? ''),
        REMOTE_USER: 'test',
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    request.pipe(backend.stdin);
    const output: Buffer[] = [];
    backend.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    backend.on('close', () => answer(Buffer.concat(output), response));
  };
}

/** RFC 3875 §6: header lines, of which `Status` is the status, an empty line, the body. */
function answer(output: Buffer, response: http.ServerResponse): void {
  const end = output.indexOf('\r\n\r\n');
  for (const line of output.toString('latin1', 0, end).split('\r\n')) {
    const [name = '', value = ''] = line.split(': ', 2);
    if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
    else response.setHeader(name, value);
  }
  response.end(output.subarray(end + 4));
}
