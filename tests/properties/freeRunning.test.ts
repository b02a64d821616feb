import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { runFreely } from './freeRunning.ts'
import { World } from './world.ts'

const TRANSACTIONS_EACH = 40

test('no row is lost and none is made up when writers and pollers run freely', async (t) => {
  const world = await World.create((await createDatabase(t)).url)
  t.after(() => world.close())
  const { look, takeovers, fenced, edgeMoves } = await runFreely(world, 1, TRANSACTIONS_EACH)
  assert.equal(look.taken, look.rows)
  assert.ok(takeovers > 3 && fenced > 3, 'leaders were ousted in the middle of their work')
  assert.ok(edgeMoves > 3, 'the edge moved while writers were at work')
  t.diagnostic(
    `${look.rows} rows, ${takeovers} takeovers, ${fenced} passes refused, ${edgeMoves} moves of the edge`,
  )
})
