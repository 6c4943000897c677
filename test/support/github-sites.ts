import type http from 'node:http';
import { gitSite } from './git-site.ts';
import type { Sites } from './web-origin.ts';

/** Paths of github.com that lead to another host, as GitHub has them. */
const redirects: Readonly<Record<string, string>> = {
  '/acme/tools/archive/refs/heads/main.tar.gz':
    'https://codeload.github.com/acme/tools/tar.gz/refs/heads/main',
  '/acme/tools/releases/download/v1/tools.tgz':
    'https://release-assets.githubusercontent.com/github-production-release-asset/1?sig=00&se=1',
};

/**
 * GitHub with the repositories below `root`: smart HTTP that takes every push, redirects to the hosts of
 * archives and release files, and an API that says yes to everything.
 */
export function githubSites(root: string): Sites {
  const git = gitSite(root);
  return {
    'github.com': (request, response) => {
      const location = redirects[request.url ?? ''];
      if (location === undefined) return git(request, response);
      response.writeHead(302, { Location: location }).end();
    },
    'codeload.github.com': says('an archive'),
    'release-assets.githubusercontent.com': says('a file of a release'),
    'raw.githubusercontent.com': says('a file'),
    'api.github.com': says('{"ok":true}'),
  };
}

function says(text: string): http.RequestListener {
  return (request, response) => {
    request.resume();
    response.end(text);
  };
}
