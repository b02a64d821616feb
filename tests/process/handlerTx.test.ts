import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { PoolClient } from '../../src/db/pool.ts'
import { handlerTx } from '../../src/process/handlerTx.ts'

/** Whether a statement through a handler's `tx` is refused. */
function isRefused(text: string): boolean {
  const sent: string[] = []
  const client = { query: (one: string) => void sent.push(one) } as unknown as PoolClient
  const tx = handlerTx(client)
  try {
    void tx.client.query(text)
  } catch (error) {
    assert.equal(tx.refused, error)
    assert.deepEqual(sent, [])
    return true
  }
  assert.equal(tx.refused, undefined)
  return false
}

describe('a statement that', () => {
  const ending = [
    'COMMIT',
    ' /* ours */ -- and\n rollback;',
    'ROLLBACK AND CHAIN',
    'rollback work',
    'BEGIN',
    'START  TRANSACTION ISOLATION LEVEL SERIALIZABLE',
    "PREPARE TRANSACTION 'x'",
    'ABORT',
    'SELECT 1; END',
    "INSERT INTO a VALUES ('it''s'); COMMIT; BEGIN",
  ]
  for (const text of ending)
    test(`ends the transaction is refused: ${JSON.stringify(text)}`, () => assert.ok(isRefused(text)))

  const harmless = [
    'ROLLBACK TO s',
    'ROLLBACK WORK TO SAVEPOINT s',
    'SAVEPOINT s',
    'DO $$ BEGIN PERFORM 1; END $$',
    'DO $x$ BEGIN RAISE NOTICE $$; COMMIT$$; END; $x$',
    "INSERT INTO a VALUES ('; COMMIT')",
    "INSERT INTO a VALUES (E'\\'; COMMIT')",
    'UPDATE a SET "; commit" = 1 -- ; COMMIT',
    'SELECT CASE WHEN true THEN 1 END',
    'PREPARE p AS SELECT 1',
    'SELECT begin, "end" FROM a WHERE start > 1',
  ]
  for (const text of harmless)
    test(`only looks so is sent: ${JSON.stringify(text)}`, () => assert.ok(!isRefused(text)))
})
