import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { Client } from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { PauseUntold, TaskUnknown } from '../../src/errors.ts'
import { actAs, setPaused } from '../../src/tables/control.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

/* What a pause leaves behind, whoever makes it. */

async function world(t: TestContext) {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release)
    VALUES (1, 'arrivals', 'poller', true, '', '1'), (2, 'reader', 'processor', false, '', '1')`)
  const { rows } = await sql.query<{ me: string }>('SELECT session_user AS me')
  const me = rows[0]?.me ?? ''
  return {
    database,
    sql,
    me,
    actions: async () =>
      (
        await sql.query<Record<string, unknown>>(
          'SELECT who, how, action, target, detail FROM service_ops.operator_action ORDER BY action_id',
        )
      ).rows,
    task: async (name: string) =>
      (
        await sql.query<Record<string, unknown>>(
          `SELECT paused, paused_by, paused_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS stamped
             FROM service_ops.background_task WHERE task_name = $1`,
          [name],
        )
      ).rows[0],
  }
}

test('an UPDATE is stamped, recorded and told, once for each change', async (t) => {
  const { database, sql, me, actions, task } = await world(t)
  const listener = await database.client()
  const heard: (string | undefined)[] = []
  listener.on('notification', ({ payload }) => heard.push(payload))
  await listener.query('LISTEN tidemark_control')
  await sql.query('UPDATE service_ops.background_task SET paused = true')
  await sql.query('UPDATE service_ops.background_task SET paused = true, release = 2')
  assert.deepEqual(await task('reader'), { paused: true, paused_by: me, stamped: true })
  await sql.query(`UPDATE service_ops.background_task SET paused = false WHERE task_name = 'reader'`)
  assert.deepEqual(await task('reader'), { paused: false, paused_by: null, stamped: null })
  await until('the notes', () => heard.length === 3)
  assert.deepEqual(heard, ['arrivals', 'reader', 'reader'])
  const by = { who: me, how: 'sql', detail: { role: me } }
  assert.deepEqual(await actions(), [
    { ...by, action: 'pause', target: 'arrivals' },
    { ...by, action: 'pause', target: 'reader' },
    { ...by, action: 'resume', target: 'reader' },
  ])
})

test('whoever pauses by SQL may say for whom; the role stands beside it', async (t) => {
  const { sql, me, actions, task } = await world(t)
  await sql.query(
    `UPDATE service_ops.background_task SET paused = true, paused_by = 'ann, ticket 7' WHERE task_name = 'reader'`,
  )
  assert.equal((await task('reader'))?.['paused_by'], 'ann, ticket 7')
  assert.deepEqual(await actions(), [
    { who: 'ann, ticket 7', how: 'sql', action: 'pause', target: 'reader', detail: { role: me } },
  ])
})

test('a role that may write that one column can pause, and writes no records of its own making', async (t) => {
  const { database, sql, actions } = await world(t)
  const role = `${database.name}_operator`
  await sql.query(`CREATE ROLE ${role} LOGIN PASSWORD 'may-pause'; GRANT USAGE ON SCHEMA service_ops TO ${role};
                   GRANT SELECT, UPDATE (paused) ON service_ops.background_task TO ${role}`)
  t.after(() => sql.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`).catch(() => undefined))
  const url = new URL(database.url)
  url.username = role
  url.password = 'may-pause'
  const client = new Client({ connectionString: url.href })
  await client.connect()
  try {
    await client.query(`SET tidemark.how = 'http'`)
    await client.query(`SET tidemark.who = 'somebody else'`)
    await client.query(`UPDATE service_ops.background_task SET paused = true WHERE task_name = 'reader'`)
    await assert.rejects(
      client.query(`SELECT service_ops.record_action('pause', 'arrivals')`),
      /permission denied/,
    )
    await client.query('CREATE TEMPORARY TABLE own (task_name text, paused boolean, paused_by text)')
    for (const name of ['tell_pause', 'stamp_pause'])
      await assert.rejects(
        client.query(
          `CREATE TRIGGER forge AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION service_ops.${name}()`,
        ),
        /permission denied for function/,
      )
  } finally {
    await client.end()
  }
  // Settings can be made by anybody; the role cannot be chosen.
  assert.deepEqual(
    (await actions()).map(({ detail }) => detail),
    [{ role }],
  )
})

test('the trigger that writes records does so for no other table, whoever has put it there', async (t) => {
  const { sql, actions } = await world(t)
  await sql.query(`CREATE TABLE own (task_name text, paused boolean, paused_by text);
                   CREATE TRIGGER forge AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION service_ops.tell_pause()`)
  await assert.rejects(
    sql.query(`INSERT INTO own VALUES ('reader', false, 'ann')`),
    /tell_pause\(\) is for service_ops\.background_task alone, and was put on public\.own/,
  )
  assert.deepEqual(await actions(), [])
})

test('of two who pause at once one makes the change, and the other is told by whom; both are on record', async (t) => {
  const { database, sql, actions } = await world(t)
  const [ann, bob] = [await database.client(), await database.client()]
  for (const [client, who] of [
    [ann, 'ann'],
    [bob, 'bob'],
  ] as const) {
    await client.query('BEGIN')
    await actAs(client, { who, how: 'cli' })
  }
  const first = await setPaused(ann, 'reader', true)
  const second = setPaused(bob, 'reader', true)
  await until('the second to wait', async () => {
    const { rowCount } = await sql.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    return rowCount === 1
  })
  await ann.query('COMMIT')
  const { changed, paused_by: by } = await second
  await bob.query('COMMIT')
  assert.deepEqual([first.changed, changed, by], [true, false, 'ann'])
  assert.deepEqual(
    (await actions()).map(({ who, how, action }) => [who, how, action]),
    [
      ['ann', 'cli', 'pause'],
      ['bob', 'cli', 'pause'],
    ],
  )
})

test('an unknown name is an error that has the known ones', async (t) => {
  const { sql } = await world(t)
  await assert.rejects(setPaused(sql, 'raeder', true), (error) => {
    assert.ok(error instanceof TaskUnknown)
    assert.deepEqual(error.known, ['arrivals', 'reader'])
    assert.match(error.message, /no task named "raeder": there are arrivals, reader/)
    return true
  })
})

test('without the triggers a pause is refused with the remedy, which makes them again', async (t) => {
  const { database, sql, actions } = await world(t)
  await sql.query(`DROP TRIGGER stamp_pause ON service_ops.background_task;
                   DROP TRIGGER tell_pause ON service_ops.background_task`)
  await assert.rejects(setPaused(sql, 'reader', true), PauseUntold)
  await sql.query('UPDATE service_ops.background_task SET paused = false')
  const log = { event: () => undefined }
  await migrate({ url: database.url, log, lockWaitMs: 30_000, statementTimeoutMs: 120_000, repair: true })
  await sql.query(`UPDATE service_ops.background_task SET paused = true WHERE task_name = 'reader'`)
  assert.equal((await actions()).length, 1)
})
