/**
 * The examination: each check by itself, one after the other, so that what one of them meets is no concern of the next.
 *
 * A check ends in one of three ways: it found *nothing*; it *found* something; it *could not run* (what it needs is not
 * there, or the database refused), which is no pass. With a database each check has a read-only transaction of its own,
 * which is rolled back: it holds the edge of the pollers no longer than one check lasts, and nothing can be written. A
 * database that goes away in between ends no examination: the checks that follow say that they could not run.
 */
import type { Client, QueryResultRow } from 'pg'
import { quoteIdentifier } from '../db/identifier.ts'
import type { Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import { PermissionMissing } from '../errors.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { CannotRun, type Check, type DoctorContext, type Finding } from './check.ts'
import { sql } from './statements.ts'

/** How one check ended. */
export interface Examined {
  readonly name: string
  readonly title: string
  readonly status: 'ok' | 'found' | 'not_run'
  readonly findings: readonly Finding[]
  /** Why it could not run, and what lets it; null where it ran. */
  readonly why: string | null
  readonly remedy: string | null
  /** What it needs does not exist for this app: it did not run, and need not. */
  readonly is_optional: boolean
}

/** What the examination is given besides its checks. */
export interface Patient extends Omit<DoctorContext, 'database'> {
  /** Open, and nobody else's; or why there is none. */
  readonly client: Client | CannotRun
}

/** A statement that takes longer is itself a finding; nobody at a terminal waits longer. */
const STATEMENT_LIMIT_MS = 15_000
/** Somebody's lock on a table is no reason to stand in its queue. */
const LOCK_LIMIT_MS = 2_000

/** Runs the checks in their order. `onBegin` is told of each before it runs. */
export async function examine(
  patient: Patient,
  checks: readonly Check[],
  onBegin?: (check: Check) => void,
): Promise<Examined[]> {
  const results: Examined[] = []
  for (const check of checks) {
    onBegin?.(check)
    results.push(await examineOne(patient, check))
  }
  return results
}

/** Whether nothing is wrong, as far as everything could be looked at. */
export function isClean(results: readonly Examined[]): boolean {
  return results.every(
    ({ status, findings, is_optional: isOptional }) =>
      (status !== 'not_run' || isOptional) && findings.every(({ severity }) => severity === 'note'),
  )
}

async function examineOne(patient: Patient, check: Check): Promise<Examined> {
  const { name, title } = check
  try {
    const findings = await withDatabase(patient, (database) => check.run({ ...patient, database }))
    const status = findings.some(({ severity }) => severity !== 'note') ? 'found' : 'ok'
    return { name, title, status, findings, why: null, remedy: null, is_optional: false }
  } catch (error) {
    const { message, remedy, isOptional } =
      error instanceof CannotRun ? error : obstacle(error, patient.client)
    return {
      name,
      title,
      status: 'not_run',
      findings: [],
      why: message,
      remedy,
      is_optional: isOptional,
    }
  }
}

/** What kept a check from looking that did not say so itself. */
function obstacle(error: unknown, client: Patient['client']): CannotRun {
  if (error instanceof PermissionMissing) {
    const grants = error.missing.map(({ grant }) => grant).join('; ')
    const objects = error.missing.map(({ object }) => object).join(', ')
    return new CannotRun(`role ${error.role} lacks rights on ${objects}`, grants, { cause: error })
  }
  const { class: className, text } = cleanError(error)
  const what = errorClass(error)
  const remedy = what === 'permission' ? grantsFor(client) : (REMEDY[what] ?? 'run it again')
  return new CannotRun(`${className}: ${text}`, remedy, { cause: error })
}

/** What a role needs to be told everything; what an instance needs besides, `rights` tells. */
function grantsFor(client: Patient['client']): string {
  const role =
    client instanceof CannotRun || client.user === undefined ? 'this role' : quoteIdentifier(client.user)
  return `GRANT USAGE ON SCHEMA service_ops, pgboss TO ${role}; GRANT SELECT ON ALL TABLES IN SCHEMA service_ops, pgboss TO ${role}`
}

const REMEDY: Readonly<Record<string, string>> = {
  missing_table: 'tidemark migrate (after a loss, with --repair)',
  missing_column: 'tidemark migrate',
  timeout: `it took longer than ${STATEMENT_LIMIT_MS / 1000} s: run it again when the database has less to do`,
  lock_timeout:
    'somebody holds a lock on a table: SELECT pid, query FROM pg_stat_activity WHERE wait_event_type = $$Lock$$',
  connection: 'see that the database is up, and run it again',
}

async function withDatabase<T>(
  { client }: Patient,
  fn: (database: () => Queryable) => Promise<T>,
): Promise<T> {
  const away = (why: CannotRun) => (): never => {
    throw why
  }
  if (client instanceof CannotRun) return fn(away(client))
  try {
    // Whatever the role's default is: each look is at what is committed by then.
    await client.query('BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY')
    await client.query(sql.set_limits, [`${STATEMENT_LIMIT_MS}ms`, `${LOCK_LIMIT_MS}ms`])
  } catch (error) {
    return fn(away(obstacle(error, client)))
  }
  try {
    return await fn(() => throughSavepoints(client))
  } finally {
    await client.query('ROLLBACK').catch(() => undefined)
  }
}

/** Each statement under a savepoint, since one that fails would refuse all that come after it in its transaction. */
function throughSavepoints(client: Client): Queryable {
  return {
    async query<R extends QueryResultRow>(text: string, values?: readonly unknown[]) {
      await client.query('SAVEPOINT look')
      try {
        const result = await client.query<R>(text, values === undefined ? undefined : [...values])
        await client.query('RELEASE look')
        return result
      } catch (error) {
        await client.query('ROLLBACK TO look').catch(() => undefined)
        throw error
      }
    },
  }
}
