#!/bin/sh
//usr/bin/env true; f="$(readlink -f "$0")"; n="${f%/src/*}/node_modules/.bin/node"; [ -x "$n" ] || { n=node; node -e 'process.exit(process.features.typescript ? 0 : 1)' 2>/dev/null || { echo "sallyport: Node 24.18.1 or later is needed: run \`npm ci\` in ${f%/src/*}, which brings it, or install Node 24" >&2; exit 3; }; }; exec "$n" --disable-sigusr1 "$f" "$@"

// The second line is for the shell, to which it reads: a command that does nothing, then start the
// Node 24 that `npm ci` has brought (any Node that strips types where it has not). Started as
// `node src/main.ts` it is a comment. `--disable-sigusr1` because SIGUSR1 reopens the log here and
// must not open a debugger.
//
// How a command is added: a file `src/cli/<name>.ts` that exports
//
//     export function createCommand(io: Io): Command   // Command of 'commander', Io of './io.ts'
//
// and a row in `src/cli/program.ts` (name, summary, import). The file imports nothing that its
// command does not need; it is loaded only when its command runs. Inside:
//
//   - `new Command('name').description(…)`, then `addSettingsOptions(command)` of `./options.ts` for
//     `--config` and `--allowlists`, and `settingsFor(io, command.opts())` to get the `Settings`;
//   - an example: `.addHelpText('after', '\nExample:\n  …\n')`;
//   - output only through `io.stdout.write` and `io.stderr.write`; colours through `styles(io.stdout,
//     io.env)` of `./output.ts`, which honours NO_COLOR and terminals;
//   - exit status: `io.exitStatus = 1` for "the answer is no"; `throw new CommandError('sentence.', 2)`
//     for wrong usage, 3 for "could not start". Returning normally is 0. Nothing calls process.exit.

import process from 'node:process';
import { processIo } from './cli/io.ts';
import { run } from './cli/program.ts';

process.exitCode = await run(process.argv.slice(2), processIo());
