/**
 * Intake of one instance: what HTTP asks of it, and the upkeep of what came in. The way of a message is
 * http/intake.ts ─▶ ingest/gather.ts ─▶ inbox, and then the processors are woken as after a page of a poller.
 */
import type { ResolvedConfig, ResolvedIntake } from '../config/resolved.ts'
import type { Settings } from '../config/settings.ts'
import type { Pool } from '../db/pool.ts'
import type { Pressure } from '../db/pressure.ts'
import { errorClass } from '../db/sqlstate.ts'
import type { ErrorClass } from '../db/sqlstate.ts'
import { IntakeRefused, IntakeTooSlow } from '../errors.ts'
import type { Hindrance, IntakeAnswer, IntakePort } from '../http/intakePort.ts'
import type { Readiness } from '../http/statusPort.ts'
import { createGatherer } from '../ingest/gather.ts'
import { UPKEEP_QUEUE } from '../jobs/upkeep.ts'
import type { Duty } from '../jobs/upkeep.ts'
import { forgetFinishedTaken } from '../process/forgetTaken.ts'
import type { Walk } from '../process/retention.ts'
import { takeMessages } from '../tables/intake.ts'
import { cleanError } from '../telemetry/errorText.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/metrics/meter.ts'
import { GO_ON_MS, retentionEveryMs } from './duties.ts'

/** Attempts of a message whose source has no processor in this instance's config. */
const DEFAULT_ATTEMPTS = 10

export interface IntakeOptions {
  readonly config: Pick<ResolvedConfig, 'intakes' | 'processors'>
  readonly settings: Pick<Settings, 'intakeToken'>
  readonly log: Log
  readonly meter: Pick<Meter, 'takenIn' | 'intakeAnswered'>
  readonly readiness: () => Readiness
  /** Undefined before there is a connection. */
  readonly pool: () => Pool | undefined
  /** Undefined before the parts run. */
  readonly work: () => { readonly pressure: Pressure; announce(source: string): void } | undefined
}

/**
 * What HTTP is given; undefined where the config has no intake. It asks everything anew at each request, and so may be made
 * before anything has started.
 */
export function createIntake(options: IntakeOptions): IntakePort | undefined {
  const { config, log, meter, readiness, pool, work } = options
  if (config.intakes.length === 0) return undefined
  const attempts = new Map(
    config.processors.flatMap(({ from, maxAttempts }) =>
      from.map((source) => [source, maxAttempts] as const),
    ),
  )
  const gatherer = createGatherer(async (rows, apart) => {
    const db = pool()
    if (db === undefined) throw new Error('not connected yet')
    const taken = await takeMessages(db, rows, apart)
    for (const source of new Set(taken.map((one) => one.source))) work()?.announce(source)
    return taken
  })
  sayDoors(options)

  /** Why a statement failed, where coming again may help; it always may, but for messages that cannot be kept. */
  function later(error: unknown): IntakeAnswer {
    if (error instanceof IntakeTooSlow) return { kind: 'later', ...SLOW }
    const kind = errorClass(error)
    if (kind === 'pool_exhausted' || kind === 'too_many_connections') {
      // Of nothing else: it keeps processors from claiming, who are not hindered by a statement of ours.
      work()?.pressure.refused(error)
      return { kind: 'later', ...SHORT }
    }
    log.event('intake_failed', `messages could not be taken in: ${cleanError(error).text}`, cleanError(error))
    return { kind: 'later', ...(SLOW_CLASSES.has(kind) ? SLOW : AWAY) }
  }

  const doors = new Map(
    config.intakes.map(({ name, maxBodyBytes, secret }) => [name, { maxBodyBytes, secret }]),
  )
  return {
    doors,
    answered: (source, status) => meter.intakeAnswered(doors.has(source) ? source : 'unknown', status),
    hindrance() {
      const ready = readiness()
      if (ready === 'database_unavailable') return AWAY
      if (ready !== 'ready') return { error: ready, message: 'Service not ready, please retry' }
      // Only when connections are refused. That all are out for a moment is ordinary: a statement waits for its turn.
      return work()?.pressure.state === 'refused' ? SHORT : undefined
    },
    async take({ limitMs, ...request }) {
      try {
        const maxAttempts = attempts.get(request.source) ?? DEFAULT_ATTEMPTS
        const taken = await gatherer.submit({ ...request, maxAttempts }, limitMs)
        meter.takenIn(request.source, taken.accepted)
        return { kind: 'taken', ...taken }
      } catch (error) {
        if (error instanceof IntakeRefused) return { kind: 'refused', reason: error.reason }
        return later(error)
      }
    },
  }
}

const AWAY: Hindrance = { error: 'database_unavailable', message: 'The database is away, please retry' }
const SHORT: Hindrance = { error: 'busy', message: 'Database connections are short, please retry' }
/** The database is there, and somebody was in the way for too long. */
const SLOW_CLASSES: ReadonlySet<ErrorClass> = new Set([
  'timeout',
  'lock_timeout',
  'deadlock',
  'serialization',
])

const SLOW: Hindrance = { error: 'timeout', message: 'The database has not answered in time, please retry' }

/** What is open, and what is not, with the remedy. */
function sayDoors({ config, settings, log }: IntakeOptions): void {
  for (const { name, secret } of config.intakes) {
    if (settings.intakeToken !== undefined || secret !== null) continue
    const msg =
      `${name} is off, nobody can send to /inbox/${name}: set INTAKE_TOKEN (16 characters at least) in the environment, ` +
      `or intakes.${name}.signature in the config`
    log.event('intake_off', msg, { source: name })
  }
}

/** Forgets what was sent to an intake and is finished long enough. */
export function intakeDuty(pool: Pool, log: Log, { name, retentionMs }: ResolvedIntake): Duty {
  let walk: Walk | undefined
  return {
    name: `retention.${name}`,
    queue: `${UPKEEP_QUEUE}.${name}`,
    everyMs: retentionEveryMs(retentionMs),
    async run(signal) {
      const slice = await forgetFinishedTaken({ db: pool, intake: name, retentionMs, signal, walk })
      walk = slice.walk
      if (slice.forgotten > 0)
        log.event('messages_forgotten', `${name}: ${slice.forgotten} finished messages forgotten`, {
          source: name,
          messages: slice.forgotten,
        })
      return slice.isThrough ? undefined : GO_ON_MS
    },
  }
}
