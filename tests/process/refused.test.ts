import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DatabaseError } from 'pg'
import type { QueryResult } from 'pg'
import { createOutcomes } from '../../src/process/outcomes.ts'
import { until } from '../support/until.ts'
import { INSTANCE, recordingLog } from './fixture.ts'

const said = (code: string) => Object.assign(new DatabaseError('no', 0, 'error'), { severity: 'ERROR', code })

const answer = (rows: readonly Record<string, unknown>[]) => ({ rows, rowCount: rows.length }) as QueryResult

test('where every failure is refused for what it is, one a second is tried again, and all are written once they may be', async (t) => {
  const asked = { failed: 0, locked: 0 }
  let refuses = true
  const outcomes = createOutcomes(
    {
      // Which statement it is, its own words tell: a message that is DONE is the one whose row somebody holds.
      query: (text: string, values: readonly unknown[] = []): Promise<never> => {
        const refuse = (code: string): Promise<never> => Promise.reject(said(code))
        if (text.includes('SKIP LOCKED')) {
          asked.locked += 1
          return Promise.resolve(answer([{ inbox_id: 'held' }]) as never)
        }
        if (text.includes(`SET status = 'DONE'`)) return refuse('55P03')
        asked.failed += 1
        if (refuses) return refuse('23514')
        const ids = values[1] as string[]
        return Promise.resolve(answer(ids.map((id) => ({ inbox_id: id, status: 'FAILED' }))) as never)
      },
    },
    INSTANCE,
    recordingLog().log,
  )
  t.after(() => outcomes.stop())
  outcomes.done({ inboxId: 'held', claim: 1 }, () => undefined)
  const failures = Array.from({ length: 8 }, (_, i) =>
    outcomes.failed({ inboxId: `bad ${i}`, claim: 1, error: 'no', waitMs: 0 }),
  )
  // The row that stays locked is looked at once a second.
  await until('four looks', () => asked.locked >= 4)
  // 8, 4, 2, then each alone, and then one a second: 3 + 8 + 4.
  assert.ok(asked.failed >= 11 && asked.failed <= 16, `${asked.failed} statements`)
  refuses = false
  assert.deepEqual(await Promise.all(failures), Array(8).fill('FAILED'))
})
