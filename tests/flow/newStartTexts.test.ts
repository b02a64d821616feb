import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'

/** Rows 1 to 9, one a day from the first of May on; the edge is at noon of the fifth, and nobody leads. */
async function createDays(t: Scope) {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-texts-'))
  t.after(() => rm(folder, { recursive: true }))
  const database = await createDatabase(t)
  const pool = database.pool()
  const file = join(folder, 'tidemark.config.mjs')
  const cli = async (table: string, ...args: string[]): Promise<string> => {
    const source = `{ table: '${table}', id: 'id', createdAt: 'at' }`
    await writeFile(file, `export default { pollers: { notes: { source: ${source} } } }`)
    const done = await tidemark(args, { cwd: folder, env: { DATABASE_URL: database.url } })
    assert.equal(done.code, 0, done.stderr)
    return done.stdout
  }
  await pool.query(`
    CREATE TABLE note (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    INSERT INTO note SELECT n, timestamptz '2026-05-01 00:00+00' + (n - 1) * interval '1 day' FROM generate_series(1, 9) n;
    CREATE TABLE other AS TABLE note;
    ALTER TABLE other ADD PRIMARY KEY (id), ALTER at SET DEFAULT now(), ALTER at SET NOT NULL;
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release)
    VALUES (1, 'notes', 'poller', true, 'test', 'test')`)
  await cli('note', 'reset', 'notes', '--from', 'beginning')
  await pool.query(`UPDATE service_ops.integration_poll_watermark SET edge = '2026-05-05 12:00+00'`)
  const forget = (before: string): Promise<unknown> =>
    pool.query('UPDATE service_ops.background_task SET forgotten_before = $1', [before])
  return { cli, forget }
}

const MAY = ['replay', 'notes', '--from', '2026-05-01T00:00:00Z', '--to', '2026-06-01T00:00:00Z']

test('a dry run lists apart what the next pass takes in, and what the inbox has not is one number everywhere', async (t) => {
  const { cli, forget } = await createDays(t)
  await forget('2026-05-03 00:00+00')
  assert.equal(
    await cli('note', ...MAY),
    `notes: not in the inbox: 9 of 9 rows from 2026-05-01T00:00:00Z to 2026-06-01T00:00:00Z
  3 never taken in: 3, 4, 5
  4 from the edge 2026-05-05 12:00:00+00 on, not read yet, which the next pass takes in: 6, 7, 8, 9
  2 older than 2026-05-03 00:00:00+00, which retention has forgotten: 1, 2
    nobody can know whether they were processed, so they are left out without --include-forgotten
  nothing was changed; --apply takes in 7, --apply --include-forgotten all 9
`,
  )
  const told = JSON.parse(await cli('note', ...MAY, '--json')) as Record<string, unknown>
  assert.deepEqual(told, {
    ...{ poller: 'notes', from: '2026-05-01T00:00:00Z', to: '2026-06-01T00:00:00Z' },
    ...{ edge: '2026-05-05 12:00:00+00', looked: 9, not_in_inbox: 9, applied: false },
    ...{ missing: 3, first_missing: ['3', '4', '5'], waiting: 4, first_waiting: ['6', '7', '8', '9'] },
    ...{ forgotten: 2, first_forgotten: ['1', '2'], forgotten_before: '2026-05-03 00:00:00+00' },
  })
  const ahead = await cli('note', ...MAY.with(3, '2026-05-07T00:00:00Z'))
  assert.match(
    ahead,
    /inbox: 3 of 3 .*\n {2}3 from the edge .*\n {2}nothing was changed; the next pass takes them in\n$/,
  )
})

test('a reset that begins later than it was told says where, why, and how to take in the rest', async (t) => {
  const { cli, forget } = await createDays(t)
  await forget('2026-05-03 00:00:00.000001+00')
  const said = await cli('note', 'reset', 'notes', '--from', 'beginning')
  assert.match(
    said,
    /^notes starts anew at 2026-05-03 00:00:00\.000001\+00 in public\.note; its edge was 2026-05-05/,
  )
  assert.match(
    said,
    /asked for was the beginning; what is older than 2026-05-03 00:00:00\.000001\+00 may have been/,
  )
  assert.match(said, /left out: 3 rows from the beginning on that are not in the inbox; this takes them in:/)
  const [, command = ''] = /\n {4}tidemark (replay .*)\n/.exec(said) ?? []
  assert.equal(
    command,
    'replay notes --from beginning --to 2026-05-03T00:00:00.000001Z --apply --include-forgotten',
  )
  assert.match(await cli('note', ...command.split(' ')), / {2}3 rows taken in\n$/)
})

test('a reset into another source says what it leaves out there, and nothing where that is nothing', async (t) => {
  const { cli } = await createDays(t)
  const whole = await cli('other', 'reset', 'notes', '--from', 'beginning')
  assert.match(whole, /^notes starts anew at the beginning in public\.other; .*\n {2}to be read: 9 rows/)
  const back = await cli('note', 'reset', 'notes', '--from', '2026-05-04T00:00:00Z')
  const [, command = ''] = /is not taken in; this counts it:\n {4}tidemark (.*)\n/.exec(back) ?? []
  assert.match(await cli('note', ...command.split(' ')), /not in the inbox: 3 of 3 rows from the beginning/)
  const again = await cli('other', 'reset', 'notes', '--from', 'beginning', '--json')
  const told = JSON.parse(again) as Record<string, unknown>
  assert.deepEqual(told, {
    ...{
      poller: 'notes',
      source: 'public.other',
      edge: '2026-05-04 00:00:00+00',
      edge_before: '2026-05-04 00:00:00+00',
    },
    ...{ is_other_source: true, is_forgotten: true, skipped: 3, read: 6, known: 0 },
  })
})
