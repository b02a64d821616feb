import type { ResolvedJob } from '../config/resolved.ts'
import type { Send } from '../config/types.ts'
import { JobTimedOut } from '../errors.ts'
import { startLimit } from '../kit/limit.ts'
import { cleanError } from '../telemetry/errorText.ts'
import { handlerLog, type Log } from '../telemetry/log.ts'
import { inJob } from '../telemetry/spans.ts'
import { traceHeaders } from '../telemetry/trace.ts'
import { unpack } from './envelope.ts'
import type { Sender } from './send.ts'
import type { HeldJob } from './workers.ts'

/** One run of a job's handler, within its limit and with a line at its begin and its end; throws what the handler threw. */
export async function runJob(options: {
  readonly job: ResolvedJob
  readonly held: HeldJob
  /** Aborted when the attempt is given back. */
  readonly given: AbortSignal
  readonly send: Sender
  readonly log: Log
}): Promise<void> {
  const { job, held, given, log } = options
  const start = performance.now()
  const { data, traceId } = unpack(held.data, held.rootId)
  const about = { job: job.name, job_id: held.id, attempt: held.retryCount + 1, trace_id: traceId }
  const elapsed = (): number => Math.round(performance.now() - start)
  const limit = new AbortController()
  const endLimit = startLimit(job.timeoutMs, () => limit.abort(new JobTimedOut(job.name, job.timeoutMs)))
  const signal = AbortSignal.any([given, limit.signal])
  // What a job sends is part of its own story.
  const send: Send = (name, sent, how) => options.send(name, sent, { traceId, ...how })
  log.event('job_started', `${job.name} started`, about)
  try {
    const context = {
      log: handlerLog(log, { task: job.name, trace_id: traceId }),
      signal,
      traceId,
      traceHeaders: () => traceHeaders(traceId),
      send,
    }
    await inJob(job.name, about.attempt, traceId, async () => {
      const handled = Promise.resolve(job.handle({ id: held.id, name: job.name, data }, context))
      await Promise.race([handled, rejectOnAbort(limit.signal)])
    })
    log.event('job_done', `${job.name} done`, { ...about, duration_ms: elapsed() })
  } catch (error) {
    // Given back: nobody failed, and nothing of this attempt is written any more.
    if (!given.aborted) {
      const failure = { ...about, ...cleanError(error), duration_ms: elapsed() }
      log.event('job_failed', `${job.name} failed: ${failure.text}`, failure)
    }
    throw error
  } finally {
    endLimit()
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  return promise
}
