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
