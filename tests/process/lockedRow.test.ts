import { test } from 'node:test'
import { createPool } from '../../src/db/pool.ts'
import { until } from '../support/until.ts'
import { closeAtEnd, inbox, INSTANCE, processorOn } from './fixture.ts'

/** Without a limit for locks of its own, as behind a pooler that passes none on, the statement's is all there is. */
const LIMITS = {
  'the lock limit': { statementTimeoutMs: 10_000, lockTimeoutMs: 300 },
  'the statement limit': { statementTimeoutMs: 1_000, lockTimeoutMs: 0 },
}

for (const [name, limits] of Object.entries(LIMITS)) {
  test(`an outcome whose row somebody has locked waits alone after ${name}: the others are written, and it is when the row is free`, async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const pool = createPool({
      url,
      applicationName: `tidemark:${INSTANCE}`,
      connectTimeoutMs: 5_000,
      limits: { ...limits, idleInTransactionMs: 10_000 },
      max: 10,
    })
    closeAtEnd(t, pool)
    const go = Promise.withResolvers<undefined>()
    const processor = processorOn(t, pool, {
      kind: 'external',
      async handle({ messageId }) {
        if (messageId.startsWith('held')) await go.promise
        if (messageId.endsWith('bad')) throw new Error('no')
      },
    })
    await send('held', 'held, bad')
    processor.start()
    await become({ held: 'PROCESSING 1', 'held, bad': 'PROCESSING 1' })
    const other = await sql.connect()
    try {
      await other.query(
        `BEGIN; SELECT FROM service_ops.integration_inbox WHERE message_id LIKE 'held%' FOR UPDATE`,
      )
      go.resolve(undefined)
      await until('both outcomes to wait', () => processor.state.pendingOutcomes === 2)
      await send('a', 'b', 'bad', 'c', 'd', 'e', 'f')
      processor.wake()
      const done = Object.fromEntries(['a', 'b', 'c', 'd', 'e', 'f'].map((id) => [id, 'DONE 1']))
      await become({ ...done, bad: 'DEAD 3', held: 'PROCESSING 1', 'held, bad': 'PROCESSING 1' })
    } finally {
      await other.query('ROLLBACK')
      other.release()
    }
    await become({ held: 'DONE 1', 'held, bad': 'DEAD 3' })
    await until('no outcome to be left', () => processor.state.pendingOutcomes === 0)
  })
}
