import { Command, CommanderError } from 'commander'
import { OWN_PACKAGE } from '../config/packageFacts.ts'
import { SetupInvalid } from '../errors.ts'
import { inboxVerb } from './commands/inbox.ts'
import { migrateVerb } from './commands/migrate.ts'
import { pauseVerb, resumeVerb } from './commands/pause.ts'
import { pollVerb } from './commands/poll.ts'
import { rehearseVerb } from './commands/rehearse.ts'
import { replayVerb } from './commands/replay.ts'
import { resetVerb } from './commands/reset.ts'
import { sqlVerb } from './commands/sql.ts'
import { startVerb } from './commands/start.ts'
import { statusVerb } from './commands/status.ts'
import { verifyVerb } from './commands/verify.ts'
import { wakeVerb } from './commands/wake.ts'
import { EXIT } from './exitCodes.ts'
import { messageOf } from './message.ts'
import { complain } from './terminal.ts'
import type { Ending } from './verb.ts'

/*
 * The command line: the only reader of argv and the only place that sets an exit code. A verb leaves its code in
 * `ending`; what it throws becomes one line on stderr.
 */

function program(ending: Ending): Command {
  const tidemark = new Command('tidemark')
    .description(
      'Polling jobs on Postgres that skip nothing, repeat nothing and run through every deploy and crash.',
    )
    .version(OWN_PACKAGE.version)
    .showSuggestionAfterError()
  const verbs = [
    ...[startVerb, migrateVerb, statusVerb, verifyVerb, sqlVerb, pollVerb, inboxVerb],
    ...[pauseVerb, resumeVerb, replayVerb, resetVerb, wakeVerb, rehearseVerb],
  ]
  for (const verb of verbs) tidemark.addCommand(verb(ending))
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
    await program(ending).parseAsync(argv)
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
