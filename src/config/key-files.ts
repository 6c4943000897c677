import { isAbsolute, join } from 'node:path';
import { MAX_KEY_SET_BYTES, readKeySet } from '../identity/key-set.ts';
import { describeFileError, type FileReader, isMissing } from './file-reader.ts';
import { type IssuerDefinition, issuerOf } from './issuers.ts';
import { type Problem, problemAt } from './problem.ts';

/**
 * Key files that no token could be checked with now. Warnings: they are read on their own when they
 * change, and without keys nothing is accepted. An absolute path may be one of another machine, so
 * that only a file that is there is judged. Never rejects.
 */
export async function keyFileProblems(
  directory: string,
  issuers: readonly IssuerDefinition[],
  reader: FileReader,
): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  for (const issuer of issuers) {
    // An empty path has been reported for what it is.
    if (issuer.keys.kind !== 'file' || issuer.keys.text === '') continue;
    const why = await keyFileProblem(directory, issuer, reader);
    if (why === null) continue;
    const message = `no token of the issuer \`${issuer.name}\` can be checked: ${why}`;
    const hint = 'Write its JWK Set there: `{"keys": […]}`, public keys alone.';
    problems.push(problemAt(issuer.keysAt, 'unusable-keys', message, hint));
  }
  return problems;
}

/** The end of a sentence, or null. */
async function keyFileProblem(
  directory: string,
  issuer: IssuerDefinition,
  reader: FileReader,
): Promise<string | null> {
  const { text } = issuer.keys;
  const path = isAbsolute(text) ? text : join(directory, text);
  try {
    if ((await reader.stat(path)).kind !== 'file') return `${text} is not a regular file`;
    const set = readKeySet(await reader.read(path, MAX_KEY_SET_BYTES + 1), issuerOf(issuer));
    return typeof set === 'string' ? `of ${text}, ${set}` : null;
  } catch (error) {
    if (isAbsolute(text) && isMissing(error)) return null;
    return `${text} cannot be read, ${describeFileError(error)}`;
  }
}
