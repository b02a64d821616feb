import type { TestContext } from 'node:test'
import type { Pool } from 'pg'
import { createDatabase } from '../../support/database.ts'
import { startInstance } from '../../support/instance.ts'
import type { Instance } from '../../support/instance.ts'
import { until } from '../../support/until.ts'

const TOKEN = 'the-token-of-a-sender'

/**
 * Two pollers with processors, one of them with slots and one exclusive; a poller whose rows nobody processes; two intakes, of which
 * one waits for a processor that is held; a job that is held. What is slow never ends, what is bad is DEAD at once, and what
 * fails later is tried again in an hour.
 */
const CONFIG = `
  const handle = async ({ payload: { kind } }, { signal }) => {
    if (kind === 'bad' || kind === 'later') throw new TypeError('no such item')
    if (kind === 'slow') await new Promise((_, end) => signal.addEventListener('abort', () => end(signal.reason)))
  }
  const source = (table, groupKey) => ({ source: { table, id: 'id', createdAt: 'at', payload: ['kind'], groupKey }, every: '1s' })
  export default {
    pollers: { orders: source('arrival', 'shop'), notes: source('note'), drafts: source('draft') },
    intakes: { letters: {}, parcels: {} },
    processors: {
      packer: { from: 'orders', contract: 'external', slots: { perKey: 2 }, timeout: '1h', maxAttempts: 1, handle },
      reader: { from: ['notes', 'letters'], contract: 'external', exclusive: true, timeout: '1h', backoff: { base: '1h', max: '1h' }, handle },
      porter: { from: 'parcels', contract: 'external', handle },
    },
    jobs: { digest: { cron: '0 3 1 1 *', async handle() {} } },
  }`

const TABLES = ['arrival', 'note', 'draft']
  .map(
    (name) =>
      `CREATE TABLE ${name} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), kind text, shop text);`,
  )
  .join('\n')

export const LETTERS = 2
export const PARCELS = 3

export interface FrozenWorld {
  readonly url: string
  readonly sql: Pool
  /** Those that live: one of each release. One was drained, and one is frozen. */
  readonly living: readonly Instance[]
}

/** A busy system at rest: everything that can be there is there, and nothing moves any more but the clock. */
export async function frozenWorld(t: TestContext): Promise<FrozenWorld> {
  const database = await createDatabase(t)
  const sql = database.pool()
  await sql.query(TABLES)
  const start = (RELEASE: string) =>
    startInstance(t, {
      databaseUrl: database.url,
      config: CONFIG,
      env: { INTAKE_TOKEN: TOKEN, DASHBOARD: 'public', RELEASE },
    })
  const [old, frozen] = await Promise.all([start('blue'), start('green')])
  await Promise.all([old.said('ready'), frozen.said('ready')])
  const living = await Promise.all([start('blue'), start('green')])
  await Promise.all(living.map((one) => one.said('ready')))
  old.kill('SIGTERM')
  frozen.kill('SIGSTOP')
  await old.exited
  await untilLed(sql, living)

  const hold = (...names: string[]) =>
    sql.query('UPDATE service_ops.background_task SET paused = true WHERE task_name = ANY ($1)', [names])
  await hold('porter', 'digest')
  for (const one of living) for (const task of ['porter', 'digest']) await one.said('task_paused', { task })
  const write = (table: string, kind: string, shop: string, count: number) =>
    sql.query(`INSERT INTO ${table} (kind, shop) SELECT $1, $2 FROM generate_series(1, $3::integer)`, [
      kind,
      shop,
      count,
    ])
  await write('arrival', 'good', 'a', 7)
  await write('arrival', 'bad', 'a', 2)
  await write('arrival', 'slow', 'b', 4)
  await write('arrival', 'slow', 'c', 1)
  await write('note', 'good', 'x', 5)
  await write('note', 'later', 'x', 3)
  await write('note', 'slow', 'x', 2)
  await write('draft', 'good', 'x', 6)
  for (let n = 1; n <= LETTERS; n += 1) await send(living, 'letters', n)
  for (let n = 1; n <= PARCELS; n += 1) await send(living, 'parcels', n)
  await until('everything to be where it stays', async () => {
    const { rows } = await sql.query<{ at: string }>(
      `SELECT string_agg(format('%s %s %s', source, status, n), ', ' ORDER BY source, status) AS at
         FROM (SELECT source, status, count(*) AS n FROM service_ops.integration_inbox GROUP BY 1, 2) g`,
    )
    return rows[0]?.at === AT_REST
  })
  await sql.query(
    `UPDATE service_ops.integration_inbox SET created_at = created_at - interval '90 minutes' WHERE source = 'parcels' AND message_id = '1'`,
  )
  await hold('orders', 'notes', 'drafts')
  for (const one of living)
    for (const task of ['orders', 'notes', 'drafts']) await one.said('task_paused', { task })
  await until('the frozen one to be lost', async () => {
    const { rows } = await sql.query(`SELECT FROM service_ops.instance_status WHERE state = 'lost'`)
    return rows.length === 1
  })
  return { url: database.url, sql, living }
}

const AT_REST =
  'drafts NEW 6, letters DONE 2, notes DONE 5, notes FAILED 3, notes PROCESSING 2, orders DEAD 2, orders DONE 7, ' +
  'orders NEW 2, orders PROCESSING 3, parcels NEW 3'

async function send(living: readonly Instance[], source: string, n: number): Promise<void> {
  const { address = '' } = living[n % living.length] ?? {}
  const response = await fetch(`${address}/inbox/${source}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ message_id: String(n), payload: { kind: 'good' } }),
  })
  if (response.status !== 202) throw new Error(`the intake said ${response.status}`)
}

/** Until what the other two led is led by one that lives. */
async function untilLed(sql: Pool, living: readonly Instance[]): Promise<void> {
  await until('every led task to have a leader that lives', async () => {
    const { rows } = await sql.query(
      `SELECT FROM service_ops.background_task_leader WHERE expires_at > clock_timestamp() AND instance_id = ANY ($1)`,
      [living.map(({ id }) => id)],
    )
    return rows.length === LED
  })
}

/** Three pollers and one exclusive processor. */
const LED = 4
