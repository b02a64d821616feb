import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { broken, groupsText } from '../../scripts/bench/groups/report.ts'
import type { Figures, Load } from '../../scripts/bench/groups/trial.ts'
import { benchSql } from '../../scripts/bench/statements.ts'
import { createDatabase } from '../support/database.ts'

const main = resolve(import.meta.dirname, '../../scripts/bench/groups.ts')
const run = promisify(execFile)

const SMALL = [
  // So many that slots are full while the process is killed.
  ['--messages', '1000'],
  ['--tenants', '4'],
  ['--processes', '2'],
  // One may come just as its handlers have ended; three of them do not.
  ['--kills', '3'],
  ['--every', '1'],
].flat()

test('a small run of both: killed processes lose nothing, every slot is there afterwards, and ours never had more than its limit', async () => {
  const { stdout } = await run(process.execPath, [main, ...SMALL, '--json'])
  const { load, figures } = JSON.parse(stdout) as { load: Load; figures: Figures[] }
  assert.deepEqual(
    figures.map(({ contestant }) => contestant),
    ['Tidemark', 'pg-boss'],
  )
  for (const { contestant, messages, done, lost, starts, cut, held, perSecond } of figures) {
    assert.deepEqual({ done, lost, held }, { done: messages, lost: 0, held: 0 }, contestant)
    assert.ok(messages > 1000 && starts >= messages + cut, contestant)
    assert.ok(cut > 0, `no handler of ${contestant} was at work when its process was killed`)
    assert.ok(perSecond > 0, contestant)
  }
  const [ours] = figures
  assert.ok(ours)
  assert.equal(ours.most, 2)
  assert.equal(ours.startsAbove, 0)
  assert.deepEqual(broken(ours, load), [])
})

test('handlers of one tenant at once are counted by their beginnings and ends, the killed ones until they are gone', async (t) => {
  const pool = (await createDatabase(t)).pool()
  await pool.query('CREATE SCHEMA bench')
  await pool.query(benchSql('make_groups'))
  await pool.query(
    `INSERT INTO bench.visit (side, process, tenant, message, entered_at, left_at)
     SELECT s, p, t, m, timestamptz '2026-01-01' + e * interval '1 s', timestamptz '2026-01-01' + l * interval '1 s'
       FROM (VALUES ('ours', 'a', 'one',  1, 0, 4), ('ours', 'a', 'one',  2, 1, 5), ('ours', 'b', 'one',  3, 4, 6),
                    ('them', 'c', 'one',  1, 0, 4), ('them', 'c', 'one',  2, 1, 5), ('them', 'd', 'one',  3, 2, 6),
                    ('them', 'd', 'two',  4, 0, 9), ('them', 'd', 'two',  5, 3, NULL)) v(s, p, t, m, e, l)`,
  )
  const count = async (side: string, from = 0): Promise<unknown> =>
    (await pool.query(benchSql('at_once'), [side, 2, from])).rows[0]
  const within = { startsAbove: 0, tenantsAbove: 0, secondsAbove: 0 }
  assert.deepEqual(await count('ours'), { most: 2, starts: 3, tenantsFull: 1, ...within })
  assert.deepEqual(await count('ours', 3), { most: 1, starts: 1, tenantsFull: 0, ...within })
  const above = { startsAbove: 1, tenantsAbove: 1, secondsAbove: 2 }
  assert.deepEqual(await count('them'), { most: 3, starts: 5, tenantsFull: 2, ...above })
  const runs = async (): Promise<unknown> => (await pool.query(benchSql('runs'), ['them', ['d']])).rows[0]
  assert.deepEqual(await runs(), { ended: 4, again: 0, againUnkilled: 0, cut: 0 })
  await pool.query(benchSql('cut'), ['them', 'd'])
  await pool.query(
    `INSERT INTO bench.visit (side, process, tenant, message, left_at) VALUES ('them', 'e', 'two', 5, now()), ('them', 'e', 'one', 1, now())`,
  )
  assert.deepEqual(await runs(), { ended: 5, again: 2, againUnkilled: 1, cut: 1 })
})

test('what is broken is named: too many at once, lost messages, slots that are not given back', () => {
  const load: Load = { tenants: 5, messages: 9, processes: 2, kills: 1, everyMs: 1_000, limitMs: 1_000 }
  const held: Figures = {
    contestant: 'Tidemark',
    version: '1.2.3',
    settings: 'so',
    promise: 'never',
    most: 2,
    starts: 10,
    startsAbove: 0,
    tenantsAbove: 0,
    secondsAbove: 0,
    messages: 9,
    done: 9,
    lost: 0,
    cut: 1,
    again: 1,
    againUnkilled: 0,
    held: 0,
    tenantsFull: 5,
    seconds: 1,
    perSecond: 9,
  }
  assert.deepEqual(broken(held, load), [])
  assert.deepEqual(broken({ ...held, most: 3, lost: 2, held: 1, tenantsFull: 4 }, load), [
    'Tidemark had 3 handlers of one tenant at once (at most 2)',
    'Tidemark lost 2 messages',
    'Tidemark still holds 1 slots',
    'Tidemark has lost slots of 1 tenants',
  ])
  const text = groupsText(load, [held, { ...held, contestant: 'pg-boss', most: 7 }])
  assert.match(text, /5 tenants, 9 messages .* one killed every 1 s, 1 in all/)
  assert.match(text, /at once, at most \(limit 2\) +│ 2 +│ 7 /)
  assert.match(text, /Tidemark 1\.2\.3: so\n {2}it promises: “never”/)
})
