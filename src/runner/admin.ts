import { withTransaction } from '../db/transaction.ts'
import type { Pool, PoolClient } from '../db/pool.ts'
import { MessageRefused, MessageUnknown } from '../errors.ts'
import type { AdminPort } from '../http/adminPort.ts'
import { askForPass, requirePollable } from '../jobs/requestPass.ts'
import { actAs, recordAction, setPaused } from '../tables/control.ts'
import { announceInserted } from '../tables/inbox.ts'
import { countMessages, discardBatch, retryBatch } from '../tables/operator.ts'

/** What each takes, as the statements in operator.sql have it. */
const TAKES = { retry: ['DEAD', 'FAILED', 'DISCARDED'], discard: ['NEW', 'FAILED', 'DEAD'] } as const

/** What operators do by HTTP, on the database of this instance; `pool` throws while there is none. */
export function createAdmin(pool: () => Pool): AdminPort {
  function acting<T>(who: string, act: (client: PoolClient) => Promise<T>): Promise<T> {
    return withTransaction(pool(), async (client) => {
      await actAs(client, { who, how: 'http' })
      return act(client)
    })
  }
  return {
    pause: (task, paused, who) =>
      acting(who, async (client) => (await setPaused(client, task, paused)).action),
    async poll(poller, who) {
      await requirePollable(pool(), poller)
      const action = await acting(who, (client) => recordAction(client, 'poll', poller))
      await askForPass(pool(), poller)
      return action
    },
    change: (verb, id, who) =>
      acting(who, async (client) => {
        const filter = { ids: [id] }
        const { changed, sources } = await (verb === 'retry' ? retryBatch : discardBatch)(client, filter, [
          id,
        ])
        if (changed === 0) {
          const [found] = await countMessages(client, filter)
          if (found === undefined) throw new MessageUnknown(id)
          throw new MessageRefused(id, found.status, verb, TAKES[verb])
        }
        // In the same transaction: told when it is committed.
        if (verb === 'retry') for (const source of sources) await announceInserted(client, source)
        return recordAction(client, verb, `inbox ${id}`, { messages: changed })
      }),
  }
}
