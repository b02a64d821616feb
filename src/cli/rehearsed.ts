/*
 * The program of one machine of a rehearsal: `tidemark start` with its arguments, as any process runs it, but for handlers
 * that record their runs. It is started by rehearse/machine.ts alone, and ends with it: a rehearsal that was killed must
 * not leave a cluster behind.
 */
import { createPool } from '../db/pool.ts'
import { observe } from '../rehearse/observe.ts'
import { startVerb } from './commands/start.ts'
import { EXIT } from './exitCodes.ts'
import { messageOf } from './message.ts'
import { complain } from './terminal.ts'
import type { Ending } from './verb.ts'

/** Runs are recorded in round trips of a millisecond: a few connections keep up with any number of handlers. */
const CONNECTIONS = 4

const records = createPool({
  url: process.env['DATABASE_URL'] ?? '',
  applicationName: 'tidemark-rehearsal',
  connectTimeoutMs: 30_000,
  limits: { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionMs: 0 },
  startupOptions: false,
  max: CONNECTIONS,
})

process.on('disconnect', () => process.exit(EXIT.failed))

const ending: Ending = { code: EXIT.failed }
try {
  const machine = process.env['FLY_MACHINE_ID'] ?? ''
  await startVerb(ending, (config) => observe(config, records, machine)).parseAsync()
} catch (error) {
  complain(`tidemark: ${messageOf(error)}`)
}
process.exit(ending.code)
