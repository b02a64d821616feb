import type { Queryable } from '../../db/pool.ts'
import { readAttempts } from '../../tables/attempt.ts'
import { readTrace } from '../../tables/trace.ts'
import type { WholeMessage } from '../../tables/dashboardMessages.ts'

/** A claim of a message that did not end DONE. Times are ISO 8601 text. */
export interface StoryAttempt {
  readonly claim: number
  readonly attempt: number
  readonly instance_id: string | null
  readonly started_at: string | null
  readonly ended_at: string
  readonly outcome: string
  readonly error: string | null
}

/** A line of `tidemark trace`. */
export interface TraceLine {
  readonly at: string
  readonly since_start_ms: number | null
  readonly what: string
  readonly who: string | null
  readonly detail: string | null
}

/** What happened to a message besides what its row says; undefined: this schema keeps no record of it. */
export interface Story {
  readonly attempts: readonly StoryAttempt[] | undefined
  readonly trace: readonly TraceLine[] | undefined
}

/** @returns what is known of the message beside its row */
export async function readStory(db: Queryable, message: WholeMessage): Promise<Story> {
  const [attempts, trace] = await Promise.all([
    readAttempts(db, String(message.inbox_id)),
    readTrace(db, message.trace_id),
  ])
  return { attempts, trace }
}
