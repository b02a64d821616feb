import { Command, CommanderError } from 'commander'
import { OWN_PACKAGE } from '../config/packageFacts.ts'
import { SetupInvalid } from '../errors.ts'
import { EXIT } from './exitCodes.ts'
import { messageOf } from './message.ts'
import { complain } from './terminal.ts'
import type { Ending } from './verb.ts'

/*
 * The command line: the only reader of argv and the only place that sets an exit code. A verb leaves its code in
 * `ending`; what it throws becomes one line on stderr.
 */

/** In the order of `--help`. Each is loaded when it is asked for: what the others need is time at a start, and memory after it. */
const VERBS: Readonly<Record<string, () => Promise<(ending: Ending) => Command>>> = {
  start: async () => (await import('./commands/start.ts')).startVerb,
  migrate: async () => (await import('./commands/migrate.ts')).migrateVerb,
  status: async () => (await import('./commands/status.ts')).statusVerb,
  verify: async () => (await import('./commands/verify.ts')).verifyVerb,
  sql: async () => (await import('./commands/sql.ts')).sqlVerb,
  doctor: async () => (await import('./commands/doctor.ts')).doctorVerb,
  poll: async () => (await import('./commands/poll.ts')).pollVerb,
  inbox: async () => (await import('./commands/inbox.ts')).inboxVerb,
  trace: async () => (await import('./commands/trace.ts')).traceVerb,
  pause: async () => (await import('./commands/pause.ts')).pauseVerb,
  resume: async () => (await import('./commands/pause.ts')).resumeVerb,
  replay: async () => (await import('./commands/replay.ts')).replayVerb,
  reset: async () => (await import('./commands/reset.ts')).resetVerb,
  wake: async () => (await import('./commands/wake.ts')).wakeVerb,
  rehearse: async () => (await import('./commands/rehearse.ts')).rehearseVerb,
  init: async () => (await import('./commands/init.ts')).initVerb,
}

/** @param asked the first word; one that is no verb is answered with all of them at hand */
async function program(ending: Ending, asked: string | undefined): Promise<Command> {
  const tidemark = new Command('tidemark')
    .description(
      'Polling jobs on Postgres that skip nothing, repeat nothing and run through every deploy and crash.',
    )
    .version(OWN_PACKAGE.version)
    .showSuggestionAfterError()
  const known = Object.entries(VERBS)
  const named = known.filter(([name]) => name === asked)
  for (const [, load] of named.length > 0 ? named : known) tidemark.addCommand((await load())(ending))
  keepExitCode(tidemark)
  return tidemark
}

/** A command throws instead of ending the process, so that the code is ours; so do the verbs below it. */
function keepExitCode(command: Command): void {
  command.exitOverride().allowExcessArguments(false)
  for (const below of command.commands) keepExitCode(below)
}

async function main(argv: readonly string[]): Promise<number> {
  const ending: Ending = { code: EXIT.done }
  try {
    await (await program(ending, argv[2])).parseAsync(argv)
    return ending.code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
    if (error instanceof SetupInvalid) {
      complain(error.message)
      return EXIT.config
    }
    complain(`tidemark: ${messageOf(error)}`)
    return EXIT.failed
  }
}

/** Output to a pipe may still be on its way, and `process.exit` would cut it off. */
function drained(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()))
}

// `tidemark sql … | head` closes the pipe early: that is the reader's right, and no fault of ours.
process.stdout.on('error', (error: Error & { code?: string }) => {
  if (error.code !== 'EPIPE') throw error
})

const code = await main(process.argv)
await Promise.all([drained(process.stdout), drained(process.stderr)])
// What a user's config left open (a timer, a client) must not keep a drained process alive.
process.exit(code)
