import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { readSettings } from '../../src/config/settings.ts'
import { openPools } from '../../src/runner/foundation.ts'
import { join } from '../../src/runner/membership.ts'
import { recordingLog } from '../process/fixture.ts'
import { createDatabase } from '../support/database.ts'
import { relay } from '../support/relay.ts'
import { until } from '../support/until.ts'

test('what a heartbeat learns is passed on: what is paused, a sentinel that nobody sees held, and that the database is there', async (t) => {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, paused)
    VALUES (1, 'still', 'poller', true, '', '1', true)`)
  // The sentinel's way alone is cut.
  const way = await relay(t, database.url)
  await way.open()
  const settings = readSettings({ DATABASE_URL: database.url })
  const identity = { instanceId: 'one', holder: randomUUID() }
  let answers = 0
  const pools = openPools(settings, { url: database.url, pooling: 'none', session: undefined }, identity, 1, {
    asked: () => (answered) => void (answers += Number(answered)),
    failed: () => undefined,
    broke: () => undefined,
  })
  const learned: string[][] = []
  const { log } = recordingLog()
  const joined = join({
    settings,
    identity,
    session: { url: way.url },
    pools,
    tasks: ['still'],
    now: () => ({ state: 'ready', circuits: [] }),
    onPaused: (paused) => void learned.push([...paused.keys()]),
    onTakenBack: () => undefined,
    log,
  })
  t.after(async () => {
    await joined.stop()
    await joined.leave()
    await Promise.all([pools.work.end(), pools.reserved.end(), pools.pulse.end()])
  })
  await until('it to be learned', () => learned.length > 0)
  assert.deepEqual(learned[0], ['still'])
  assert.ok(answers > 0, 'an answer is a sign of life')

  const holders = async (): Promise<number[]> =>
    (
      await sql.query<{ pid: number }>(
        `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
            AND (classid::bigint << 32) | objid::bigint = hashtextextended('tidemark:sentinel:' || $1::uuid, 0)`,
        [identity.holder],
      )
    ).rows.map(({ pid }) => pid)
  const first = await until('the sentinel', async () => (await holders())[0])
  way.freeze()
  await sql.query('SELECT pg_terminate_backend($1)', [first])
  way.thaw()
  const since = performance.now()
  await until('it to be taken anew', async () => (await holders()).some((pid) => pid !== first))
  const tookMs = performance.now() - since
  t.diagnostic(`taken anew after ${Math.round(tookMs)} ms`)
  // By its own asking it would learn of this after 10 s, and 5 s in which nothing answers.
  assert.ok(tookMs < 9_000, `${Math.round(tookMs)} ms`)
})
