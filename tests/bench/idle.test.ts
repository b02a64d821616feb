import assert from 'node:assert/strict'
import test from 'node:test'
import { countStatements } from '../../scripts/bench/idle/count.ts'
import { idleOf, idleText, idleVerdicts } from '../../scripts/bench/idle/report.ts'

/** As the server writes them when its lines begin so and all statements are logged. */
const LOG = [
  '@@tidemark:one@@LOG:  statement: BEGIN',
  '@@tidemark:one@@LOG:  execute <unnamed>: SELECT t.task_name, t.paused_by\n  FROM service_ops.background_task t WHERE t.paused;',
  '@@tidemark:one@@DETAIL:  parameters: $1 = pgboss',
  '@@tidemark:one@@LOG:  statement: BEGIN; SET LOCAL lock_timeout = 30000; UPDATE pgboss.version SET cron_on = now()',
  "@@tidemark:one@@LOG:  execute q: SELECT round(date_part('epoch', pgboss.job_now()) * 1000) as time",
  '@@psql@@LOG:  statement: SELECT count(*) FROM pgboss.job',
  '@@count@@LOG:  statement: SELECT 1',
].join('\n')

test('statements of instances are counted, each as whose it is', () => {
  const { totals, daily, lines } = countStatements(LOG)
  assert.deepEqual(totals, { tidemark: 2, 'pg-boss': 2 })
  assert.equal(daily, 1)
  assert.ok(lines.some(({ whose, what }) => whose === 'tidemark' && /^control\./.test(what)))
  assert.ok(lines.some(({ what }) => what === 'UPDATE pgboss.version SET cron_on = now()'))
})

const counts = (tidemark: number) => ({ lines: [], totals: { tidemark, 'pg-boss': 100 }, daily: 40 })

test('more statements a second than allowed are a limit missed, pg-boss and its daily pass included', () => {
  const within = idleOf({ counts: counts(200), seconds: 60, rssMb: null, bareRssMb: null })
  assert.equal(within.perSecond, 5)
  assert.deepEqual(
    idleVerdicts(within).map(({ reached }) => reached),
    [true],
  )
  const [above] = idleVerdicts(idleOf({ counts: counts(201), seconds: 60, rssMb: null, bareRssMb: null }))
  assert.equal(above?.reached, false)
})

test('memory is judged by what is above a bare Node process', () => {
  const verdicts = (rssMb: number) =>
    idleVerdicts(idleOf({ counts: counts(0), seconds: 60, rssMb, bareRssMb: 45 })).map(
      ({ reached }) => reached,
    )
  assert.deepEqual(verdicts(135), [true, true])
  assert.deepEqual(verdicts(136), [true, false])
  const text = idleText(idleOf({ counts: counts(0), seconds: 60, rssMb: 136, bareRssMb: 45 }))
  assert.match(text, /memory: 136 MB, bare Node 45 MB/)
  assert.match(text, /MISSED: idle: 91 MB above bare Node \(at most 90 MB\)/)
})
