import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { scrape } from '../support/exposition.ts'
import type { Scrape } from '../support/exposition.ts'
import { promtool, promtoolMissing } from '../support/promtool.ts'
import { silentUnder } from '../support/recording.ts'
import { startPrometheus } from '../support/prometheus.ts'
import { until } from '../support/until.ts'

/** `npm run test:long`: ten minutes of the demo as it is without an alert, and alerts by the rules as they are. */
const LONG = process.env['TIDEMARK_LONG'] === '1'
const HEALTHY_S = LONG ? 600 : 20
const FIRES_MS = LONG ? 1_200_000 : 60_000

/** Recorded so often, and laid a minute apart (support/recording.ts): an hour of samples in the long form, of every ten seconds. */
const RECORD_MS = HEALTHY_S * (LONG ? 1000 / 60 : 1000 / 15)

const RULE_FILE = resolve(import.meta.dirname, '../../ops/alerts.yml')
const RULES = readFileSync(RULE_FILE, 'utf8')
const ALERTS = Array.from(RULES.matchAll(/alert: (\w+)/g), ([, name = '']) => name)

/**
 * The same rules in a hurry, under other names: what they wait for and look back on is seconds instead of minutes. The expressions are
 * those of the file; tests of the times themselves are ops/alerts.test.yml.
 */
const HASTY = RULES.replaceAll('alert: Tidemark', 'alert: Hasty')
  .replace('name: tidemark', 'name: hasty')
  .replaceAll(/for: \d+m/g, 'for: 8s')
  .replaceAll('[5m]', '[20s]')

/** In a hurry one attempt in twenty, which fails on purpose, is too rarely one in twenty of a short window: there are more of them. */
const ENV: Record<string, string> = LONG
  ? { OPS_PORT: '0' }
  : { OPS_PORT: '0', DEMO_RATE: '20', LEADER_HEARTBEAT_SECONDS: '1', LEADER_LEASE_SECONDS: '4' }

test(
  'a real Prometheus sees nothing in the health of the demo, and that nobody leads and that a backlog is stuck when that is so',
  { skip: promtoolMissing },
  async (t) => {
    const database = await createDatabase(t, { migrated: false })
    const sql = database.pool()
    const instances = await Promise.all(
      ['one', 'two'].map(() => startInstance(t, { databaseUrl: database.url, env: ENV })),
    )
    await Promise.all(instances.map((instance) => instance.said('ready')))
    // The second address is the operators': where OPS_PORT is set the metrics are there alone.
    const targets = instances.map(
      (instance) => new URL(String(instance.of('http_listening')[1]?.['address'])).host,
    )
    await until('a leader of each task', async () => {
      const { rows } = await sql.query<{ n: string }>(
        'SELECT count(*) AS n FROM service_ops.background_task_leader',
      )
      return rows[0]?.n === '2'
    })

    const prometheus = await startPrometheus(t, { targets, rules: LONG ? [RULES] : [RULES, HASTY] })
    await until('both to be scraped', async () => (await prometheus.value('sum(up)')) === 2)
    const since = performance.now()
    const recorded = new Map(targets.map((target): [string, Scrape[]] => [target, []]))
    await until(
      `${HEALTHY_S} s of health`,
      async () => {
        assert.deepEqual(await prometheus.firing(), [])
        for (const [target, scrapes] of recorded)
          if (performance.now() - since >= scrapes.length * RECORD_MS)
            scrapes.push(await scrape(`http://${target}`))
        return performance.now() - since > HEALTHY_S * 1000
      },
      HEALTHY_S * 1000 + 30_000,
    )
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-recorded-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'recorded.test.yml')
    writeFileSync(file, silentUnder({ scrapes: recorded, everyMs: RECORD_MS }, ALERTS, RULE_FILE))
    assert.match(promtool(['test', 'rules', file]), /SUCCESS/)

    assert.equal(await prometheus.value('sum(tidemark_is_leader)'), 2)
    const done = await prometheus.value('sum(increase(tidemark_messages_processed_total[15s]))')
    assert.ok((done ?? 0) > 20, `${done ?? 0} done in 15 s`)

    const names = LONG ? ['TidemarkBacklogStuck', 'TidemarkNoLeader'] : ['HastyBacklogStuck', 'HastyNoLeader']
    const [stuck = '', noLeader = ''] = names
    await sql.query(
      `UPDATE service_ops.background_task SET paused = true WHERE task_name = 'clinical_ops_processor'`,
    )
    await until(stuck, async () => (await prometheus.firing()).includes(stuck), FIRES_MS)
    assert.ok(!(await prometheus.firing()).includes(noLeader), 'a pause is no loss of the lead')

    const locker = await database.client()
    await locker.query('BEGIN; LOCK TABLE service_ops.background_task_leader IN ACCESS EXCLUSIVE MODE')
    await until(noLeader, async () => (await prometheus.firing()).includes(noLeader), FIRES_MS)
    await locker.query('ROLLBACK')
    await until('a leader', async () => (await prometheus.value('max(tidemark_is_leader)')) === 1)
  },
)
