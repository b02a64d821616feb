import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tidemark } from '../../cli/tidemark.ts'
import { until } from '../../support/until.ts'
import { configText, SOURCES as POLLED } from '../config.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'

const SHORT = { retention: '3s', sweep: '1s', startFrom: 'beginning' }

/** Rows that were processed and are not in the inbox any more. */
const FORGOTTEN = `SELECT count(*) AS n FROM source_row s WHERE s.forgotten
  AND NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.source = s.source AND i.message_id = s.message_id)`

async function moreIsForgotten({ number }: Stage, rows: number): Promise<void> {
  const before = await number(FORGOTTEN)
  await until(
    `${rows} more rows to be forgotten`,
    async () => (await number(FORGOTTEN)) >= before + rows,
    60_000,
  )
}

/** Waits until each source was swept by a sweep that began after this. */
async function swept({ pool, number }: Stage): Promise<void> {
  const { rows } = await pool.query<{ now: string }>('SELECT clock_timestamp()::text AS now')
  await until(
    'every source to be swept',
    async () =>
      (await number('SELECT count(*) AS n FROM service_ops.poll_sweep WHERE swept_at > $1::timestamptz', [
        rows[0]?.now,
      ])) === POLLED.length,
    60_000,
  )
}

/** The watermark's row is lost while its leader works, and made again. */
async function loseWatermark({ pool, machines }: Stage, poller: string): Promise<void> {
  const before = machines.count('watermark_created')
  await pool.query('DELETE FROM service_ops.integration_poll_watermark WHERE poller = $1', [poller])
  await until('the watermark to be made again', () => machines.count('watermark_created') > before)
}

/** As an operator would, who is afraid that something was skipped: everything since yesterday. */
async function replayAll({ scope, url, number }: Stage, poller: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-replay-'))
  scope.after(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'tidemark.config.mjs')
  writeFileSync(file, configText(SHORT))
  const day = 86_400_000
  const range = [
    '--from',
    new Date(Date.now() - day).toISOString(),
    '--to',
    new Date(Date.now() + day).toISOString(),
  ]
  const { code, stdout, stderr } = await tidemark(
    ['replay', poller, ...range, '--apply', '--config', file, '--json'],
    {
      env: { DATABASE_URL: url },
    },
  )
  if (code !== 0) throw new Error(`replay ended with ${code}: ${stderr}`)
  const said = JSON.parse(stdout) as { readonly forgotten?: { readonly rows?: number } | number }
  if ((await number(FORGOTTEN)) > 0 && !/forgotten/.test(JSON.stringify(said)))
    throw new Error(`replay says nothing of what is forgotten: ${stdout}`)
}

export const RETENTION: readonly Fault[] = [
  {
    name: 'retention',
    title: 'Retention of 3 s before and during the loss of watermarks, replays and sweeps; then it is raised',
    isLong: true,
    limits: SHORT,
    // Passes may read again what was written in the last two minutes, which is kept that long: there are rows of before.
    async prepare({ pool }) {
      for (const table of POLLED)
        await pool.query(
          `INSERT INTO ${table} (at) SELECT now() - n * interval '1 second' FROM generate_series(600, 1, -1) n`,
        )
    },
    async happen(stage, random) {
      const { machines, flows } = stage
      await moreIsForgotten(stage, 60)
      for (const poller of POLLED) {
        await loseWatermark(stage, poller)
        if (random.chance(0.5))
          await machines.stop(await machines.aLeader(poller)).then(() => machines.start())
        await replayAll(stage, poller)
        await swept(stage)
      }
      await moreIsForgotten(stage, 30)
      // A release that keeps everything for a week must not fetch back what the one before it has forgotten.
      const limits = { ...SHORT, retention: '7d' }
      for (const old of machines.living) {
        await machines.start({ release: 'green', limits })
        await machines.stop(old)
      }
      const poller = random.pick(POLLED)
      await loseWatermark(stage, poller)
      await replayAll(stage, poller)
      await swept(stage)
      await flows(40)
    },
  },
]
