import type { Queryable } from '../db/pool.ts'
import { readTraceparents } from '../tables/trace.ts'
import { claimed, rememberParent } from '../telemetry/spans.ts'
import { findTracer } from '../telemetry/tracer.ts'
import type { InWork } from './inWork.ts'

/**
 * Where an SDK listens, asks what each claimed message came with, so that its handler's span is a child of that, and tells of
 * the claim. Without one there is nothing to ask. A database that does not answer now costs the link, and no message.
 */
export async function traceClaim(
  db: Queryable,
  processor: string,
  messages: readonly InWork[],
  askedAt: number,
): Promise<void> {
  if (findTracer() === undefined || messages.length === 0) return
  const ids = messages.map(({ claim }) => claim.inboxId)
  const parents = await readTraceparents(db, ids).catch(() => new Map<string, string>())
  for (const { message } of messages) {
    const traceparent = parents.get(message.inboxId)
    if (traceparent !== undefined) rememberParent(message, traceparent)
  }
  claimed(
    processor,
    messages.map(({ message }) => message),
    askedAt,
  )
}
