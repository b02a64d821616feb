import assert from 'node:assert/strict'
import test from 'node:test'
import type { Client } from 'pg'
import { sampleHistory } from '../../src/tables/history.ts'
import { readNumbers } from '../../src/tables/metrics.ts'
import type { SystemNumbers } from '../../src/tables/metrics.ts'
import { createDatabase } from '../support/database.ts'
import { explaining } from './explaining.ts'

/*
 * What is counted of the whole system every few seconds and every minute may cost what is open, and not what lies in the inbox:
 * whatever the statistics say, and also where a source has no mark, since nobody works on it. Rows, not times: a walk over what
 * is finished sees many times more.
 */

const FINISHED = 20_000
const DEAD = 500
const OPEN = 1_000
/** Of the source that is filled and not worked on, the oldest of all. */
const LONELY = 300
/** So much is looked at for it, and for one without a mark: more than it has. */
const LOOK = 500
/** A dozen plan nodes see each message. */
const ROWS_A_MESSAGE = 20
/** The statements also read tasks, instances, leaders and marks. */
const OTHER_ROWS = 1_000

const ASKED = { stuckAfterS: new Map([['sent', 60]]), otherStuckAfterS: 600, keys: 20, look: LOOK }

for (const statistics of ['none', 'of an empty inbox', 'of a full inbox'] as const) {
  test(`counting what is open sees little more than that; statistics: ${statistics}`, async (t) => {
    const client = await (await createDatabase(t)).client()
    await client.query('ALTER TABLE service_ops.integration_inbox SET (autovacuum_enabled = off)')
    if (statistics === 'of an empty inbox') await client.query('ANALYZE service_ops.integration_inbox')
    await fill(client)
    if (statistics === 'of a full inbox') await client.query('ANALYZE service_ops.integration_inbox')
    const handled = { rows: 0 }
    const db = explaining(client, (rows) => (handled.rows = rows))
    const most = (OPEN + DEAD + LONELY + LOOK) * ROWS_A_MESSAGE + OTHER_ROWS

    const numbers = await readNumbers(db, ASKED)
    assert.deepEqual(depthsOf(numbers), {
      'busy NEW': OPEN - 1,
      'busy PROCESSING': 1,
      'busy DEAD': DEAD,
      'lonely NEW': LONELY,
      'sent NEW': 2,
    })
    t.diagnostic(`numbers: ${handled.rows} rows`)
    assert.ok(handled.rows <= most, `numbers: ${handled.rows} rows`)

    handled.rows = 0
    await sampleHistory(db, LOOK)
    t.diagnostic(`sample: ${handled.rows} rows`)
    assert.ok(handled.rows <= most, `sample: ${handled.rows} rows`)
    const { rows } = await client.query<{ key: string; value: number }>(
      `SELECT key, value FROM service_ops.history_minute WHERE name = 'backlog' ORDER BY key`,
    )
    assert.deepEqual(Object.fromEntries(rows.map(({ key, value }) => [key, value])), {
      'busy DEAD': DEAD,
      'busy NEW': OPEN - 1,
      'busy PROCESSING': 1,
      'waiting NEW': 1,
    })
  })
}

function depthsOf({ depths }: SystemNumbers): Record<string, number> {
  return Object.fromEntries(
    depths.flatMap(({ source, status, messages }) =>
      messages === 0 || source === 'waiting' ? [] : [[`${source} ${status}`, messages] as const],
    ),
  )
}

/**
 * One source that is worked on, with what is finished and what is open behind its mark; one that is filled alone and has a mark
 * from long ago; one that came by intake, without a mark; and one whose processor has not moved a mark yet.
 */
async function fill(client: Client): Promise<void> {
  const insert = (source: string, status: string, count: number, dead = false) =>
    client.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id, payload, status, processed_at, next_attempt_at, locked_by, locked_at)
       SELECT $1, $2 || n, md5(n::text), '{"a": 1}', $2, CASE WHEN $2 = 'DONE' THEN now() END, CASE WHEN $4 THEN timestamptz 'infinity' END,
              CASE WHEN $2 = 'PROCESSING' THEN 'me' END, CASE WHEN $2 = 'PROCESSING' THEN now() END
         FROM generate_series(1, $3::integer) n`,
      [source, status, count, dead],
    )
  const mark = (source: string) =>
    client.query(
      `INSERT INTO service_ops.inbox_low_water (source, low) SELECT $1, coalesce(max(inbox_id), 0) FROM service_ops.integration_inbox`,
      [source],
    )
  await mark('lonely')
  await insert('lonely', 'NEW', LONELY)
  await insert('sent', 'NEW', 2)
  await insert('waiting', 'NEW', 1)
  await insert('busy', 'DONE', FINISHED)
  await insert('busy', 'DEAD', DEAD, true)
  await mark('busy')
  await insert('busy', 'NEW', OPEN - 1)
  await insert('busy', 'PROCESSING', 1)
  await client.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, sources) VALUES
      (1, 'working', 'processor', false, '', '', '{busy}'), (2, 'lonely', 'poller', true, '', '', NULL),
      (3, 'beginning', 'processor', false, '', '', '{waiting}')`)
  await client.query(`
    INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks)
    VALUES ('me', gen_random_uuid(), '', 'ready', '{working,lonely,beginning}')`)
}
