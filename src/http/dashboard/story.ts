import type { Queryable } from '../../db/pool.ts'
import { errorClass } from '../../db/sqlstate.ts'
import type { ErrorClass } from '../../db/sqlstate.ts'
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

/** The table is gone, or not ours to read: the trace says so in its own place. */
const UNREAD: ReadonlySet<ErrorClass> = new Set(['missing_table', 'missing_column', 'permission'])

export async function readStory(db: Queryable, message: WholeMessage): Promise<Story> {
  const [attempts, trace] = await Promise.all([
    readAttempts(db, String(message.inbox_id)).catch((error: unknown) => {
      if (!UNREAD.has(errorClass(error))) throw error
      return []
    }),
    readTrace(db, message.trace_id),
  ])
  return { attempts, trace }
}
