import { findPooling, unlimited } from '../db/pooler.ts'
import { closeClient, openClient } from '../db/connection.ts'
import { errorClass, type ErrorClass } from '../db/sqlstate.ts'
import { EncodingUnfit, PoolerUnfit, ServerTooOld } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { CannotRun, fault, warning, type Check, type Finding, type Way, type Ways } from './check.ts'
import { sql } from './statements.ts'

/** Is there a database, and do the addresses lead to it as they should? */

export const database: Check = {
  name: 'database',
  title: 'The database answers, and is one that stays.',
  async run(context) {
    const { databaseUrl, machineId, dataDir } = context.settings
    const found: Finding[] = []
    if (databaseUrl === undefined && machineId !== null) {
      found.push(
        fault(
          `DATABASE_URL is not set on this machine (FLY_MACHINE_ID ${machineId}): it runs the embedded database, which is lost with the machine (TIDEMARK_DATA_DIR ${dataDir})`,
          'fly secrets set DATABASE_URL=postgres://… DIRECT_DATABASE_URL=postgres://…',
        ),
      )
    }
    await answers(() => context.database().query('SELECT 1'), found)
    return found
  },
}

/** That there is none is a finding of this check; of the others, that they could not run. */
async function answers(ask: () => Promise<unknown>, found: Finding[]): Promise<void> {
  try {
    await ask()
  } catch (error) {
    if (error instanceof CannotRun) found.push(fault(error.message, error.remedy))
    else found.push(fault(`the database does not answer: ${cleanError(error).text}`, 'see that it is up'))
  }
}

export const addresses: Check = {
  name: 'addresses',
  title: 'Sessions have an address on which they last, and every address leads to the same database.',
  async run(context) {
    context.database()
    const found: Finding[] = []
    const { work, session, apart } = await unfit(() => context.ways(), found)
    if (work === undefined || session === undefined) return found
    if (session.pooling === 'transaction') {
      found.push(
        fault(
          `${apart ? 'DIRECT_DATABASE_URL' : 'DATABASE_URL, and DIRECT_DATABASE_URL is not set,'} leads through a pooler in transaction mode: ` +
            'a dead leader is replaced when its lease is over and not at once, notifications are not heard, and nothing is migrated',
          "set DIRECT_DATABASE_URL to the database's direct address (fly secrets set DIRECT_DATABASE_URL=postgres://…)",
        ),
      )
    }
    if (work.missing.length > 0) {
      found.push(
        warning(
          `a pooler in ${work.pooling} mode stands before DATABASE_URL and takes no limits, and the role has no ${work.missing.join(', no ')}: a statement that hangs is ended by nobody but the instance`,
          work.missing
            .map((name) => `ALTER ROLE CURRENT_USER SET ${name} = '${LIMIT[name] ?? '30s'}'`)
            .join('; '),
        ),
      )
    }
    if (work.database !== session.database) {
      found.push(
        fault(
          `DATABASE_URL leads to ${work.database}, DIRECT_DATABASE_URL to ${session.database}: what one migrates and locks the other never sees`,
          'set both to the same database',
        ),
      )
    }
    return found
  },
}

const LIMIT: Readonly<Record<string, string>> = {
  statement_timeout: '30s',
  lock_timeout: '5s',
  idle_in_transaction_session_timeout: '10s',
}

const UNUSABLE: ReadonlySet<ErrorClass> = new Set(['connection', 'authentication', 'missing_database'])

async function unfit(look: () => Promise<Ways>, found: Finding[]): Promise<Partial<Ways>> {
  try {
    return await look()
  } catch (error) {
    if (error instanceof PoolerUnfit || error instanceof EncodingUnfit || error instanceof ServerTooOld)
      found.push(fault(error.message, remedyIn(error.message)))
    else if (UNUSABLE.has(errorClass(error)))
      // The other one has just answered.
      found.push(
        fault(
          `DIRECT_DATABASE_URL cannot be used: ${cleanError(error).text}`,
          'set it right, or leave it out',
        ),
      )
    else throw error
    return {}
  }
}

/** The messages of these errors end with what to do. */
function remedyIn(message: string): string {
  return (
    message.split('Remedy: ')[1] ?? 'make a database of its own for Tidemark: CREATE DATABASE … ENCODING UTF8'
  )
}

/** Looks at both addresses, over connections of its own, and leaves none open. */
export async function lookAtWays(url: string, directUrl: string, connectTimeoutMs: number): Promise<Ways> {
  const work = await lookAtWay(url, connectTimeoutMs)
  const apart = directUrl !== url
  return { work, session: apart ? await lookAtWay(directUrl, connectTimeoutMs) : work, apart }
}

async function lookAtWay(url: string, connectTimeoutMs: number): Promise<Way> {
  const look = { connectTimeoutMs }
  const pooling = await findPooling(url, look)
  const missing = pooling === 'none' ? [] : await unlimited(url, look)
  const limits = { statementTimeoutMs: connectTimeoutMs, lockTimeoutMs: 0, idleInTransactionMs: 0 }
  const client = await openClient({
    url,
    applicationName: 'tidemark:doctor',
    connectTimeoutMs,
    limits,
    startupOptions: false,
  })
  try {
    const { rows } = await client.query<{ database: string }>(sql.identity)
    return { pooling, missing, database: rows[0]?.database ?? '' }
  } finally {
    await closeClient(client)
  }
}
