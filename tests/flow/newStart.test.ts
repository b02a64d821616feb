import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { tidemark, type Outcome } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

const configOf = (table: string): string => `export default {
  pollers: { letters: { source: { table: '${table}', id: 'id', createdAt: 'at', payload: 'id' }, every: '1s', startFrom: 'beginning' } },
  processors: { work: { from: 'letters', contract: 'transactional',
    async handle({ messageId }, { tx }) { await tx.query('INSERT INTO effect VALUES ($1)', [messageId]) } } },
}`

/*
 * A person replays a range and gives a poller a new start, beside the process that polls: first in the same source, then in
 * another one, which the process refuses until it is told where to begin.
 */
test('replay and reset in the hands of a person, beside an instance that works', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-new-start-'))
  t.after(() => rm(folder, { recursive: true }))
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE letter (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE parcel (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE effect (id text PRIMARY KEY);
    INSERT INTO letter VALUES (1, now() - interval '1 hour'), (2, now() - interval '1 hour')`)
  const file = join(folder, 'tidemark.config.mjs')
  const cli = async (table: string, ...args: string[]): Promise<Outcome> => {
    await writeFile(file, configOf(table))
    return tidemark([...args, '--config', file], { env: { DATABASE_URL: database.url } })
  }
  const effects = (...ids: number[]): Promise<unknown> =>
    until(`effects of ${ids.join(', ')}`, async () => {
      const { rows } = await pool.query<{ id: number }>('SELECT id::integer FROM effect ORDER BY 1')
      return ids.every((id) => rows.some((row) => row.id === id))
    })
  const instance = await startInstance(t, { databaseUrl: database.url, config: configOf('letter') })
  await effects(1, 2)

  await t.test('a backfill is found by a dry run and taken in by --apply', async () => {
    // The first sweep has been; the next one comes in an hour.
    await instance.said('sweep_completed')
    await until('the edge to be past it', async () => {
      const { rows } = await pool.query(
        `SELECT FROM service_ops.integration_poll_watermark WHERE edge > now() - interval '1 hour' AND isfinite(edge)`,
      )
      return rows.length === 1
    })
    await pool.query(
      `INSERT INTO letter VALUES (3, '2026-01-01 10:00+00'), (4, '2026-01-01 11:00+00'), (5, '2026-01-01 12:00+00')`,
    )
    await pool.query(
      `UPDATE service_ops.background_task SET forgotten_before = '2026-01-01 11:00+00' WHERE task_name = 'letters'`,
    )
    const range = ['--from', '2026-01-01T00:00:00Z', '--to', '2026-01-01T12:00:00Z']
    const dry = await cli('letter', 'replay', 'letters', ...range)
    assert.equal(dry.code, 0, dry.stderr)
    assert.equal(
      dry.stdout,
      `letters: not in the inbox: 2 of 2 rows from 2026-01-01T00:00:00Z to 2026-01-01T12:00:00Z
  1 never taken in: 4
  1 older than 2026-01-01 11:00:00+00, which retention has forgotten: 3
    nobody can know whether they were processed, so they are left out without --include-forgotten
  nothing was changed; --apply takes in 1, --apply --include-forgotten all 2
`,
    )
    assert.match(
      (await cli('letter', 'replay', 'letters', ...range, '--apply')).stdout,
      / {2}1 row taken in\n$/,
    )
    await effects(4)
    const rest = await cli('letter', 'replay', 'letters', ...range)
    assert.match(rest.stdout, /^letters: not in the inbox: 1 of 2 /)
    assert.match(rest.stdout, /nothing was changed; --apply --include-forgotten takes them in\n$/)
    const all = await cli('letter', 'replay', 'letters', ...range, '--apply', '--include-forgotten', '--json')
    const told = JSON.parse(all.stdout) as Record<string, unknown>
    assert.deepEqual([told['not_in_inbox'], told['missing'], told['forgotten']], [1, 0, 1])
    assert.deepEqual([told['first_forgotten'], told['inserted'], told['applied']], [['3'], 1, true])
    await effects(3)
  })

  await t.test('a reset lets the leader go on from there, at once', async () => {
    const { stdout, stderr, code } = await cli('letter', 'reset', 'letters', '--from', '2026-01-01T11:30:00Z')
    assert.equal(code, 0, stderr)
    assert.match(
      stdout,
      /^letters starts anew at 2026-01-01 11:30:00\+00 in public\.letter; its edge was .*\n {2}to be read: 3 rows .* 2 of which/,
    )
    await effects(5)
    await pool.query('INSERT INTO letter VALUES (6)')
    await effects(6)
  })

  await t.test(
    'a source that changed is refused with the command that mends it, and starts by itself after it',
    async () => {
      const early = await cli('parcel', 'reset', 'letters', '--from', 'beginning')
      assert.equal(early.code, 1)
      assert.match(
        early.stderr,
        /was not reset: .* leads it and still reads public\.letter.*stop the instances/,
      )
      instance.kill('SIGTERM')
      await instance.exited
      const green = await startInstance(t, { databaseUrl: database.url, config: configOf('parcel') })
      const { reason } = await green.said('task_failed_to_start')
      assert.match(String(reason), /Give it a new start there with `tidemark reset letters --from T/)
      await pool.query('INSERT INTO parcel VALUES (1), (20)')
      for (const flags of [[], ['--apply']]) {
        const range = ['--from', '2026-01-01T00:00:00Z', '--to', '2099-01-01T00:00:00Z']
        const foreign = await cli('parcel', 'replay', 'letters', ...range, ...flags)
        assert.deepEqual([foreign.code, foreign.stdout], [1, ''])
        assert.equal(foreign.stderr, `tidemark: ${String(reason)}\n`)
      }
      assert.equal((await pool.query("SELECT FROM effect WHERE id = '20'")).rows.length, 0)
      const done = await cli('parcel', 'reset', 'letters', '--from', 'beginning')
      assert.equal(done.code, 0, done.stderr)
      assert.match(done.stderr, /1 rows of public\.parcel have ids that letters took in before/)
      await green.said('task_started', { task: 'letters' })
      await effects(20)
      const verified = await cli('parcel', 'verify')
      assert.equal(verified.code, 0, verified.stdout)
    },
  )

  await t.test('what cannot be is said with the flag and what it takes', async () => {
    const say = async (...args: string[]): Promise<[number | null, string]> => {
      const { code, stderr } = await cli('parcel', ...args)
      return [code, stderr]
    }
    const [zoneless, zonelessSaid] = await say(
      'replay',
      'letters',
      '--from',
      '2026-01-01T10:00:00',
      '--to',
      '2026-01-02T10:00:00Z',
    )
    assert.equal(zoneless, 64)
    assert.match(zonelessSaid, /--from.*is a time with its zone/)
    const [turned, turnedSaid] = await say(
      'replay',
      'letters',
      '--from',
      '2026-01-02T10:00:00Z',
      '--to',
      '2026-01-02T11:00:00+01:00',
    )
    assert.deepEqual([turned, /--to is not later than --from/.test(turnedSaid)], [64, true])
    const [unknown, unknownSaid] = await say('reset', 'leters', '--from', 'now')
    assert.equal(unknown, 78)
    assert.match(unknownSaid, /pollers\.leters.*which has letters/)
    const [future, futureSaid] = await say('reset', 'letters', '--from', '2099-01-01T00:00:00Z')
    assert.deepEqual([future, /lies in the future/.test(futureSaid)], [1, true])
    const [work, workSaid] = await say('reset', 'work', '--from', 'now')
    assert.deepEqual(
      [work, /a poller, and work is a processor; the config has letters/.test(workSaid)],
      [78, true],
    )
    const [bare, bareSaid] = await say('replay', 'letters')
    assert.deepEqual(
      [bare, bareSaid],
      [64, "error: required and not given: '--from <time>' and '--to <time>'\n"],
    )
    const [noDay] = await say('reset', 'letters', '--from', '2026-02-30T00:00:00Z')
    assert.equal(noDay, 64)
  })
})
