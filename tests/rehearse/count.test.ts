import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { resolveConfig } from '../../src/config/validate.ts'
import { sqlPath } from '../../src/db/folder.ts'
import { countRest, countSource } from '../../src/rehearse/count.ts'
import type { SourceCount } from '../../src/rehearse/count.ts'
import { createDatabase } from '../support/database.ts'

const handle = (): void => undefined
const source = { table: 'source', id: 'id', createdAt: 'at', where: 'id % 10 <> 0' }

const CONFIGS: Record<'transactional' | 'external' | 'none', TidemarkConfig> = {
  transactional: {
    pollers: { p: { source } },
    processors: { x: { from: 'p', contract: 'transactional', handle } },
  },
  external: { pollers: { p: { source } }, processors: { x: { from: 'p', contract: 'external', handle } } },
  none: { pollers: { p: { source } } },
}

/** Five messages that went as they should; each test then changes what it is about. */
async function world(t: TestContext, contract: keyof typeof CONFIGS) {
  const pool = (await createDatabase(t)).pool()
  await pool.query(readFileSync(sqlPath('rehearse/1_tables.sql'), 'utf8'))
  await pool.query(`
    CREATE TABLE source (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    INSERT INTO source SELECT generate_series(1, 5);
    INSERT INTO tidemark_rehearsal.written SELECT 'p', id FROM source;
    INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, status, attempts, claim, processed_at)
    SELECT 'p', id, 't' || id, 'DONE', 1, 1, now() FROM source;`)
  if (contract === 'transactional')
    await pool.query(`INSERT INTO tidemark_rehearsal.effect SELECT 'p', id, 'm' FROM source`)
  if (contract === 'external')
    await pool.query(
      `INSERT INTO tidemark_rehearsal.handler_run (source, message_id, machine, outcome) SELECT 'p', id, 'm', 'done' FROM source`,
    )
  const config = resolveConfig(CONFIGS[contract])
  return {
    query: (text: string) => pool.query(text),
    rest: () => countRest(pool, config),
    count: async (): Promise<SourceCount> => {
      const [poller] = config.pollers
      assert.ok(poller !== undefined)
      return countSource(pool, config, poller, '2026-01-01', '2026-01-02')
    },
  }
}

const NONE = { count: 0, first: [] }
const one = (id: string) => ({ count: 1, first: [id] })

/** A run of an external handler that began and has this outcome. */
const ran = (id: number, outcome: 'done' | 'failed' | 'interrupted' | null): string =>
  `INSERT INTO tidemark_rehearsal.handler_run (source, message_id, machine, outcome) VALUES ('p', '${id}', 'm', ${outcome === null ? 'NULL' : `'${outcome}'`})`

describe('the count', () => {
  for (const contract of ['transactional', 'external', 'none'] as const) {
    test(`finds nothing where all went as it should (${contract})`, async (t) => {
      const { count, rest } = await world(t, contract)
      const { written, done, lost, doubled, run_again: again, attempts_burned: burned } = await count()
      assert.deepEqual([written, done, lost, doubled, again, burned], [5, 5, NONE, NONE, NONE, NONE])
      assert.deepEqual(await rest(), { written: 5, missing: 0, open: 0, retrying: 0 })
    })
  }

  test('a row that was committed and is not in the inbox is lost, unless the poller’s condition leaves it out', async (t) => {
    const { query, count, rest } = await world(t, 'transactional')
    await query(`INSERT INTO source VALUES (6), (10)`)
    await query(`INSERT INTO tidemark_rehearsal.written VALUES ('p', '6'), ('p', '10')`)
    assert.deepEqual((await count()).lost, one('6'))
    assert.equal((await rest()).missing, 1)
  })

  test('a message that is neither finished nor waits for another try is lost, where somebody processes it', async (t) => {
    for (const contract of ['transactional', 'none'] as const) {
      const { query, count, rest } = await world(t, contract)
      await query(
        `UPDATE service_ops.integration_inbox SET status = 'NEW', attempts = 0, processed_at = NULL WHERE message_id = '2'`,
      )
      await query(`DELETE FROM tidemark_rehearsal.effect WHERE message_id = '2'`)
      assert.deepEqual((await count()).lost, contract === 'none' ? NONE : one('2'))
      assert.equal((await rest()).open, contract === 'none' ? 0 : 1)
    }
  })

  test('DONE without an effect is lost, and a second effect, or one without DONE, is doubled', async (t) => {
    const { query, count } = await world(t, 'transactional')
    await query(`DELETE FROM tidemark_rehearsal.effect WHERE message_id = '1'`)
    await query(`INSERT INTO tidemark_rehearsal.effect VALUES ('p', '3', 'm')`)
    await query(
      `UPDATE service_ops.integration_inbox SET status = 'FAILED', next_attempt_at = now(), processed_at = NULL, last_error = 'Error: no' WHERE message_id = '4'`,
    )
    const found = await count()
    assert.deepEqual(found.lost, one('1'))
    assert.deepEqual(found.doubled, { count: 2, first: ['3', '4'] })
    assert.equal(found.retrying, 1)
    assert.deepEqual(found.given_up, [{ status: 'FAILED', error: 'Error: no', messages: 1, example: '4' }])
  })

  test('a second run of an external handler is doubled, unless a failure, a kill or a drain explains it', async (t) => {
    const { query, count } = await world(t, 'external')
    await query(ran(1, 'done'))
    await query(ran(2, 'failed'))
    await query(ran(3, null))
    await query(ran(4, 'interrupted'))
    await query(ran(5, 'done'))
    await query(`INSERT INTO tidemark_rehearsal.cut_off VALUES ('p', '5', 'i')`)
    const found = await count()
    assert.deepEqual(found.doubled, one('1'))
    assert.deepEqual(found.run_again, { count: 3, first: ['3', '4', '5'] })
  })

  test('an attempt is burned unless the handler failed or its process died', async (t) => {
    const { query, count } = await world(t, 'transactional')
    await query(`UPDATE service_ops.integration_inbox SET attempts = 2 WHERE message_id IN ('1', '2', '3')`)
    await query(`INSERT INTO tidemark_rehearsal.handler_failure VALUES ('p', '2')`)
    await query(`INSERT INTO tidemark_rehearsal.cut_off VALUES ('p', '3', 'i')`)
    assert.deepEqual((await count()).attempts_burned, one('1'))
  })

  test('the longest silence lies between two passes, or before the first, or after the last', async (t) => {
    const pool = (await createDatabase(t)).pool()
    await pool.query(`
      INSERT INTO service_ops.poll_run (poller, due_at, started_at, outcome, term, instance_id)
      SELECT 'p', at, at, outcome, 1, 'i' FROM (VALUES
        (timestamptz '2026-01-01 00:00:02Z', 'ran'), ('2026-01-01 00:00:03Z', 'late'), ('2026-01-01 00:00:05Z', 'failed'),
        ('2026-01-01 00:00:08.5Z', 'backstop')) r(at, outcome)`)
    await pool.query(readFileSync(sqlPath('rehearse/1_tables.sql'), 'utf8'))
    await pool.query('CREATE TABLE source (id int PRIMARY KEY, at timestamptz)')
    const config = resolveConfig(CONFIGS.none)
    const [poller] = config.pollers
    assert.ok(poller !== undefined)
    const silence = async (from: string, to: string): Promise<unknown> => {
      const { passes, longest_silence_ms: ms } = await countSource(pool, config, poller, from, to)
      return [passes, ms]
    }
    assert.deepEqual(await silence('2026-01-01 00:00:01Z', '2026-01-01 00:00:09Z'), [3, 5500])
    assert.deepEqual(await silence('2025-12-31 23:59:00Z', '2026-01-01 00:00:09Z'), [3, 62_000])
    assert.deepEqual(await silence('2026-01-01 00:00:01Z', '2026-01-01 00:01:08.5Z'), [3, 60_000])
  })
})
