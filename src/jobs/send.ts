import { createHash, randomUUID } from 'node:crypto'
import type { Db, SendOptions as BossSendOptions } from 'pg-boss'
import type { ResolvedJob } from '../config/resolved.ts'
import { parseDuration } from '../config/durations.ts'
import type { SendOptions } from '../config/types.ts'
import type { Queryable } from '../db/pool.ts'
import { JobInvalid, JobUnknown } from '../errors.ts'
import { acceptTraceId, newTraceId } from '../telemetry/trace.ts'
import { activeSpan } from '../telemetry/tracer.ts'
import type { Boss } from './boss.ts'
import { pack } from './envelope.ts'
import { jobQueue } from './queues.ts'

/*
 * Sending: one INSERT into the job's queue, on our own pool or within somebody's transaction, which then owns the job: it is
 * there when that commits, and nothing has been sent when it does not.
 *
 * Every queue of a user's job has the policy `exclusive`: one job a key, queued, active or waiting for a retry. A tick has
 * the empty key, so that ticks never overlap. What is sent without a key to a job without a schedule gets one of its own.
 */

/** Sends a job; `db` is the transaction to do it in. */
export type Sender = (
  job: string,
  data: unknown,
  options?: SendOptions,
  db?: Queryable,
) => Promise<string | null>

/** What pg-boss keeps in an integer column. */
const MOST_PRIORITY = 2_147_483_647
/** What an index entry can hold, with room for the queue's name. */
const MOST_KEY_BYTES = 1_024
/** A job for later than this is a mistake, in milliseconds. */
const LATEST_MS = 100 * 365 * 86_400_000

export function createSender(boss: Pick<Boss, 'pg'>, jobs: readonly ResolvedJob[]): Sender {
  const known = new Map(jobs.map((job) => [job.name, job]))
  return async (name, data, options = {}, db) => {
    const job = known.get(name)
    if (job === undefined) throw new JobUnknown(name, [...known.keys()])
    refuseUnknown(name, options)
    // Whoever sends within a span of OpenTelemetry sends in its trace.
    const traceId =
      options.traceId === undefined ? (activeSpan()?.traceId ?? newTraceId()) : acceptTraceId(options.traceId)
    if (traceId === undefined)
      throw new JobInvalid(name, 'traceId', 'is not a trace id: 1 to 128 of A-Z, a-z, 0-9 and ._:-')
    const sent = pack(name, data === undefined ? null : data, traceId)
    const how = {
      ...optionsFor(job, options),
      id: jobIdIn(traceId),
      ...(db === undefined ? {} : { db: inTransaction(db) }),
    }
    return boss.pg.send(jobQueue(name), sent, how)
  }
}

const OPTIONS: readonly string[] = [
  'startAfter',
  'priority',
  'singletonKey',
  'traceId',
] satisfies (keyof SendOptions)[]

/** A misspelt key would be sent without one. */
function refuseUnknown(job: string, options: SendOptions): void {
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name))
  if (unknown !== undefined)
    throw new JobInvalid(job, unknown, `is not an option: they are ${OPTIONS.join(', ')}`)
}

function optionsFor(job: ResolvedJob, options: SendOptions): BossSendOptions {
  const { startAfter, priority, singletonKey } = options
  if (priority !== undefined && (!Number.isInteger(priority) || Math.abs(priority) > MOST_PRIORITY))
    throw new JobInvalid(job.name, 'priority', `is not a whole number of at most ${MOST_PRIORITY}`)
  return {
    ...(startAfter === undefined ? {} : { startAfter: startTime(job.name, startAfter) }),
    ...(priority === undefined ? {} : { priority }),
    ...keyFor(job, singletonKey),
  }
}

function keyFor(job: ResolvedJob, key: string | undefined): { singletonKey?: string } {
  if (key === undefined) return job.schedule === null ? { singletonKey: randomUUID() } : {}
  const isFit =
    typeof key === 'string' &&
    key !== '' &&
    key.isWellFormed() &&
    !key.includes('\0') &&
    Buffer.byteLength(key) <= MOST_KEY_BYTES
  if (!isFit) throw new JobInvalid(job.name, 'singletonKey', `is not a text of 1 to ${MOST_KEY_BYTES} bytes`)
  return { singletonKey: key }
}

/** A span is counted by the database's clock, in whole seconds. */
function startTime(job: string, startAfter: NonNullable<SendOptions['startAfter']>): Date | number {
  const span = startAfter instanceof Date ? startAfter.getTime() - Date.now() : parseDuration(startAfter)
  if (span === undefined || !(span < LATEST_MS))
    throw new JobInvalid(job, 'startAfter', "is neither a Date nor a span such as '30s', '5m' or '1h'")
  return startAfter instanceof Date ? startAfter : Math.ceil(span / 1000)
}

/**
 * A fresh id for a job that is sent in a trace: a UUID of version 8, whose first 60 bits are of the trace's hash, so that
 * `service_ops.trace()` finds the jobs of a trace by pg-boss's primary key; 62 are random.
 */
export function jobIdIn(traceId: string): string {
  const hash = createHash('sha256').update(traceId).digest('hex')
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(12, 15)}${randomUUID().slice(18)}`
}

function inTransaction(db: Queryable): Db {
  return { executeSql: (text, values) => db.query<Record<string, unknown>>(text, values) }
}
