/**
 * Registration: every task of this process is checked and entered in `background_task`, which gives it its number.
 *
 * A poller whose source cannot be read safely, or whose table or cursor columns changed under the same name, does not
 * start; it says why, and the rest of the process goes on without it (refused.ts tries it again).
 *
 * *Rows of `background_task` are lost while it runs*: those of what runs here are entered again, without a look at the
 * sources, since what was checked runs. Pollers keep their numbers, which their watermarks have as well.
 */
import { createHash } from 'node:crypto'
import type { ResolvedConfig, ResolvedJob, ResolvedPoller, ResolvedProcessor } from '../config/resolved.ts'
import type { Pool, Queryable } from '../db/pool.ts'
import { errorClass, sqlState } from '../db/sqlstate.ts'
import { withTransaction } from '../db/transaction.ts'
import { PermissionMissing, SourceChanged, SourceInvalid, StartFromRequired } from '../errors.ts'
import { requireSameSource } from '../ingest/sameSource.ts'
import { checkSource } from '../ingest/sourceCheck.ts'
import type { CheckedSource } from '../ingest/sourceCheck.ts'
import type { PreparedSource } from '../ingest/sourceSql.ts'
import { shownUrl } from '../process/deliver/address.ts'
import { beginLowWater } from '../tables/lowWater.ts'
import { countOlder, UNDATED_MOST } from '../tables/source.ts'
import { findTask, lockRegistry, registerTask } from '../tables/task.ts'
import type { TaskRecord } from '../tables/task.ts'
import { cleanError, cleanText } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import type { Persist } from './persist.ts'

export interface RegisteredPoller {
  readonly poller: ResolvedPoller
  readonly source: PreparedSource
  readonly latenessMs: number
}

/** A poller that did not start, and why. */
export interface RefusedPoller {
  readonly poller: ResolvedPoller
  readonly reason: string
  readonly error: unknown
}

export interface Registered {
  readonly pollers: readonly RegisteredPoller[]
  readonly refused: readonly RefusedPoller[]
  readonly processors: readonly ResolvedProcessor[]
  readonly jobs: readonly ResolvedJob[]
}

/** Enters all tasks in the order pollers, processors, jobs: the first poller of a new database is number 1. */
export async function registerAll(
  pool: Pool,
  config: ResolvedConfig,
  release: string,
  log: Log,
  persist: Persist = (_, step) => step(),
): Promise<Registered> {
  const pollers: RegisteredPoller[] = []
  const refused: RefusedPoller[] = []
  for (const poller of config.pollers) {
    const entered = await persist(`to register ${poller.name}`, () => enterOrRefuse(pool, poller, release))
    if ('reason' in entered) {
      refused.push(entered)
      sayRefused(log, poller.name, entered.reason, entered.error)
    } else {
      pollers.push(entered.registered)
      sayFindings(log, poller, entered.checked)
    }
  }
  const others = [
    ...config.processors.map((processor) => processorRecord(processor, release)),
    ...config.jobs.map((job) => jobRecord(job, release)),
  ]
  for (const record of others)
    await persist(`to register ${record.name}`, () => enter(pool, () => Promise.resolve(record)))
  return { pollers, refused, processors: config.processors, jobs: config.jobs }
}

/** Enters again those of these tasks that are not known any more. A known one is left as whoever entered it last has it. */
export async function enterLost(
  pool: Pool,
  { pollers, processors, jobs }: Omit<Registered, 'refused'>,
  release: string,
): Promise<void> {
  const records = [
    ...pollers.map(({ poller, source }) => pollerRecord(poller, source, release)),
    ...processors.map((processor) => processorRecord(processor, release)),
    ...jobs.map((job) => jobRecord(job, release)),
  ]
  await withTransaction(pool, async (client) => {
    await lockRegistry(client)
    for (const record of records)
      if (!(await findTask(client, record.name)).registered) await registerTask(client, record)
  })
}

interface EnteredPoller {
  readonly registered: RegisteredPoller
  readonly checked: CheckedSource
}

/** What is about its source alone, a lock on it too, refuses a poller; the start goes on without it. */
async function enterOrRefuse(
  pool: Pool,
  poller: ResolvedPoller,
  release: string,
): Promise<EnteredPoller | RefusedPoller> {
  try {
    return await enterPoller(pool, poller, release)
  } catch (error) {
    const reason = whyNotStarted(error)
    if (reason === undefined) throw error
    return { poller, reason, error }
  }
}

/** Checks a poller's source and enters the poller; throws what keeps it from starting. */
export async function enterPoller(
  pool: Pool,
  poller: ResolvedPoller,
  release: string,
): Promise<EnteredPoller> {
  const checked = await checkSource(pool, poller.source)
  const { source, latenessMs } = checked
  await enter(pool, async (db) => {
    await lookAtPoller(db, poller, source)
    return pollerRecord(poller, source, release)
  })
  return { registered: { poller, source, latenessMs }, checked }
}

export function sayRefused(log: Log, task: string, reason: string, error: unknown): void {
  const then = isMendable(error) ? '. It starts by itself once that is mended' : ', and restart'
  log.event('task_failed_to_start', `${task} failed to start: ${reason}${then}`, { task, reason })
}

/** Where to begin is said in the config, which is read at start; and counting a large table every 30 s is no trifle. */
export function isMendable(error: unknown): boolean {
  return !(error instanceof StartFromRequired)
}

/**
 * Why a poller alone cannot start; undefined when the error is about more than its source. Our own text is given whole,
 * since it ends with the remedy; a condition that does not parse or a right that is missing has PostgreSQL's.
 */
export function whyNotStarted(error: unknown): string | undefined {
  if (
    error instanceof SourceInvalid ||
    error instanceof PermissionMissing ||
    error instanceof SourceChanged ||
    error instanceof StartFromRequired
  ) {
    return cleanText(error.message)
  }
  return /^(42|22)/.test(sqlState(error) ?? '') ? cleanError(error).text : undefined
}

/** What was found out about a source that can be read. */
export function sayFindings(
  log: Log,
  { name, source, sweepMs }: ResolvedPoller,
  checked: CheckedSource,
): void {
  const { clientTimes, latenessMs, undated, nameless } = checked
  if (clientTimes !== null) {
    const minutes = latenessMs / 60_000
    const msg =
      `${name}: ${clientTimes}: the edge stays ${minutes} min back, so that no late row is lost; ` +
      '`lateness` in the config says otherwise'
    log.event('lateness_applied', msg, {
      task: name,
      lateness_s: latenessMs / 1000,
      reason: clientTimes,
    })
  }
  if (nameless > 0) {
    const msg =
      `${name}: ${nameless} of the newest rows of ${source.table}, whose ${source.id} is NULL, cannot be told from one another and ` +
      'wait in the source; give each an id of its own, and the column NOT NULL'
    log.event('rows_nameless', msg, { task: name, column: source.id, rows: nameless })
  }
  if (undated > 0) {
    const count = undated > UNDATED_MOST ? `more than ${UNDATED_MOST}` : undated
    const msg =
      `${name}: ${count} rows of ${source.table} whose ${source.createdAt} is NULL have no place in the order of a pass: only ` +
      `the sweep, every ${sweepMs / 60_000} min, takes such rows in; let the column have DEFAULT now() and be NOT NULL`
    log.event('rows_undated', msg, { task: name, column: source.createdAt, rows: undated })
  }
}

async function enter(pool: Pool, record: (db: Queryable) => Promise<TaskRecord>): Promise<void> {
  await withTransaction(pool, async (client) => {
    await lockRegistry(client)
    await registerTask(client, await record(client))
  })
}

/** Before a poller is entered: is it the one that its position was made for, and is a new one told where to begin? */
async function lookAtPoller(db: Queryable, poller: ResolvedPoller, source: PreparedSource): Promise<void> {
  const known = await findTask(db, poller.name)
  if (known.has_begun) {
    requireSameSource(poller.name, known, source)
    return
  }
  if (!known.registered) await beginLowWater(db, poller.name)
  if (poller.startFrom !== null) return
  const counted = countOlder(db, source.table, source.columns, poller.retentionMs)
  const older = await counted.catch((error: unknown) => {
    if (errorClass(error) === 'timeout') return null
    throw error
  })
  if (older !== 0) throw new StartFromRequired(poller.name, older, poller.retentionMs)
}

function pollerRecord(poller: ResolvedPoller, source: PreparedSource, release: string): TaskRecord {
  return {
    name: poller.name,
    kind: 'poller',
    led: true,
    intervalSeconds: poller.everyMs / 1000,
    sourceTable: source.table,
    sourceColumns: source.columns,
    sources: null,
    startFrom: poller.startFrom === null || poller.startFrom === 'beginning' ? null : poller.startFrom,
    configHash: digest(poller),
    release,
  }
}

function processorRecord(processor: ResolvedProcessor, release: string): TaskRecord {
  return {
    name: processor.name,
    kind: 'processor',
    led: processor.exclusive,
    intervalSeconds: null,
    sourceTable: null,
    sourceColumns: null,
    sources: processor.from,
    deliversTo: processor.work.kind === 'deliver' ? shownUrl(new URL(processor.work.url)) : null,
    startFrom: null,
    configHash: digest(processor),
    release,
  }
}

function jobRecord(job: ResolvedJob, release: string): TaskRecord {
  return {
    name: job.name,
    kind: 'job',
    led: false,
    intervalSeconds: null,
    sourceTable: null,
    sourceColumns: null,
    sources: null,
    startFrom: null,
    configHash: digest(job),
    release,
  }
}

/** Of what a config says, functions left out: two releases with the same digest have the same settings. */
function digest(config: object): string {
  return createHash('sha256').update(JSON.stringify(config)).digest('hex').slice(0, 16)
}
