import type { Queryable } from '../../db/pool.ts'
import { readAttempts } from '../../tables/attempt.ts'
import type { MessageAttempt } from '../../tables/attempt.ts'
import type { WholeMessage } from '../../tables/dashboardMessages.ts'
import { readTrace } from '../../tables/trace.ts'
import type { StoryLine } from '../../tables/trace.ts'

/** What happened to a message besides what its row says. */
export interface Story {
  readonly attempts: readonly MessageAttempt[]
  /** All that has the message's trace. */
  readonly trace: readonly StoryLine[]
}

export async function readStory(db: Queryable, message: WholeMessage): Promise<Story> {
  const [attempts, trace] = await Promise.all([
    readAttempts(db, String(message.inbox_id)),
    readTrace(db, message.trace_id),
  ])
  return { attempts, trace }
}
