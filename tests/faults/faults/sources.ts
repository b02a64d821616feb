import { Client } from 'pg'
import { until } from '../../support/until.ts'
import type { Random } from '../../properties/random.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'
import { SOURCES as POLLED } from '../config.ts'

/** The idle transaction of a stage. */
const held = new WeakMap<Stage, Client>()

/** Rows of one of these faults come in behind younger ones: without any, the writers have not straddled a pass. */
async function cameLate({ number }: Stage): Promise<void> {
  const late = await number('SELECT sum(late_rows_total) AS n FROM service_ops.integration_poll_watermark')
  if (late === 0) throw new Error('no row came in behind a younger one')
}

/** Longer than the passes are apart, so that transactions begin in one and end in another. */
const STRADDLE_MS = 1_800

function writersThat(kind: 'twoInOneMessage' | 'chain' | 'serializable', name: string, title: string): Fault {
  return {
    name,
    title,
    habits: { rate: 200, straddleMs: STRADDLE_MS, weights: { [kind]: 300 } },
    async happen(stage, random) {
      const { machines, flows } = stage
      await flows(60)
      // Another leader begins with another candidate, and without what the one before it knew.
      await machines.stop(await machines.aLeader(random.pick(POLLED)))
      await flows(60)
      await cameLate(stage)
    },
  }
}

/** Rows that are dated before the edge lie below it until the next sweep. */
const SWEPT = {
  what_was_found_meanwhile: 'what is dated before the edge is below it until a sweep has found it',
}

async function edgesAreFinite({ number }: Stage): Promise<void> {
  await until(
    'every edge to be proven once',
    async () =>
      (await number(
        'SELECT count(*) AS n FROM service_ops.integration_poll_watermark WHERE NOT isfinite(edge)',
      )) === 0,
  )
}

async function writeDated({ pool, flows }: Stage, random: Random, times: readonly string[]): Promise<void> {
  for (let i = 0; i < 8; i += 1) {
    for (const table of POLLED)
      await pool.query(`INSERT INTO ${table} (at) VALUES (${random.pick(times) ?? 'NULL'})`)
    await flows(10)
  }
}

/** Waits until all rows of this kind, of which there must be some, have their end. */
async function allDone({ number }: Stage, which: string): Promise<void> {
  const rows = `FROM source_row s LEFT JOIN service_ops.integration_inbox i USING (source, message_id) WHERE ${which}`
  if ((await number(`SELECT count(*) AS n ${rows}`)) < POLLED.length)
    throw new Error('no such row was written')
  await until(
    'all of these rows to be done',
    async () => (await number(`SELECT count(*) AS n ${rows} AND i.status IS DISTINCT FROM 'DONE'`)) === 0,
    60_000,
  )
}

export const SOURCES: readonly Fault[] = [
  writersThat(
    'twoInOneMessage',
    'two_transactions_in_a_message',
    'Writers send two transactions in one message: both have the time of its arrival',
  ),
  writersThat('chain', 'commit_and_chain', 'Writers chain transactions: COMMIT AND CHAIN'),
  writersThat('serializable', 'serializable_writers', 'Writers are SERIALIZABLE, and leave locks behind'),
  {
    name: 'equal_timestamps',
    title: 'Thousands of rows at one microsecond, and the leader is stopped and killed among their pages',
    limits: { pageSize: 20 },
    mayRunAgain: 'a handler was at work when its leader was killed',
    mayBurn: 'the same',
    async happen({ machines, pool, number, flows }, random) {
      const rows = random.between(1_500, 2_500)
      const before = await machines.aLeader('orders')
      await pool.query('INSERT INTO orders SELECT FROM generate_series(1, $1)', [rows])
      const taken = (): Promise<number> =>
        number(
          `SELECT count(*) AS n FROM service_ops.integration_inbox WHERE source = 'orders' AND source_created_at =
             (SELECT at FROM orders GROUP BY at ORDER BY count(*) DESC LIMIT 1)`,
        )
      const some = random.between(20, 300)
      await until('some of them to be taken in', async () => (await taken()) >= some)
      before.kill('SIGSTOP')
      const whole = await taken()
      if (whole === rows) throw new Error('all rows were taken in before their leader could be killed')
      await machines.crash(before)
      await machines.start()
      const next = await machines.aLeader('orders')
      await machines.stop(next)
      await until('all of them to be taken in', async () => (await taken()) === rows, 60_000)
      await flows(100)
    },
  },
  {
    name: 'future_timestamps',
    title: 'Rows dated a minute, a day and a thousand years ahead, among all others',
    async happen({ pool, number, flows }, random) {
      for (let i = 0; i < 12; i += 1) {
        const ahead = random.pick(['5 seconds', '1 minute', '1 day', '1000 years'])
        for (const table of POLLED)
          await pool.query(`INSERT INTO ${table} (at) VALUES (now() + $1::interval)`, [ahead])
        await flows(10)
      }
      await until(
        'rows of the future to be done',
        async () =>
          (await number(
            `SELECT count(*) AS n FROM service_ops.integration_inbox
              WHERE source_created_at > now() + interval '30 seconds' AND status = 'DONE'`,
          )) > 0,
      )
      if ((await number(`SELECT count(*) AS n FROM orders WHERE at > now() + interval '30 seconds'`)) === 0)
        throw new Error('no row lies in the future')
    },
  },
  {
    name: 'held_transactions',
    title: 'An idle and a prepared transaction held for the whole run, and an hour of rows behind them',
    async prepare(stage) {
      const { pool, directUrl, scope } = stage
      const holder = new Client({ connectionString: directUrl, application_name: 'writer:held' })
      holder.on('error', () => undefined)
      await holder.connect()
      scope.after(() => holder.end())
      held.set(stage, holder)
      await holder.query('BEGIN; INSERT INTO orders DEFAULT VALUES; INSERT INTO calls DEFAULT VALUES')
      const [prepared] = [await pool.connect()]
      try {
        await prepared.query(`BEGIN; INSERT INTO tally DEFAULT VALUES; PREPARE TRANSACTION 'held'`)
      } finally {
        prepared.release()
      }
      for (const [table, rows] of [
        ['orders', 600],
        ['calls', 200],
        ['tally', 200],
      ] as const)
        await pool.query(
          `INSERT INTO ${table} (at) SELECT now() - n * interval '3600 s' / $1 FROM generate_series(1, $1) n`,
          [rows],
        )
    },
    async happen(stage, random) {
      const { machines, pool, number, flows } = stage
      const passes = (): Promise<number> => number('SELECT count(*) AS n FROM service_ops.poll_run')
      await flows(100)
      await machines.stop(await machines.aLeader(random.pick(POLLED)))
      const before = await passes()
      await until('passes under other leaders', async () => (await passes()) > before + 9, 60_000)
      const past = await number(
        `SELECT count(*) AS n FROM service_ops.integration_poll_watermark w
          WHERE w.edge > (SELECT min(xact_start) FROM pg_stat_activity WHERE application_name = 'writer:held')`,
      )
      if (past > 0) throw new Error('an edge has passed a transaction that is open')
      await held.get(stage)?.query('COMMIT')
      await pool.query(`COMMIT PREPARED 'held'`)
      await until(
        'the edge to go on',
        async () =>
          (await number(
            `SELECT count(*) AS n FROM service_ops.integration_poll_watermark WHERE edge > now() - interval '30 s'`,
          )) === POLLED.length,
      )
    },
  },
  {
    name: 'delivered_twice',
    title: 'A source without a key has ids twice: in one statement, and again later',
    limits: { pageSize: 25 },
    async prepare({ pool }) {
      for (const table of POLLED) await pool.query(`ALTER TABLE ${table} DROP CONSTRAINT ${table}_pkey`)
    },
    async happen({ pool, number, flows }, random) {
      for (let i = 0; i < 8; i += 1) {
        for (const table of POLLED)
          await pool.query(
            `INSERT INTO ${table} (id, payload) OVERRIDING SYSTEM VALUE
             SELECT t.id, t.payload FROM (SELECT * FROM ${table} ORDER BY at DESC LIMIT $1) t, generate_series(1, 2)`,
            [random.between(5, 30)],
          )
        await flows(20)
      }
      const ids = await number('SELECT count(*) - count(DISTINCT id) AS n FROM orders')
      if (ids === 0) throw new Error('no id is there twice')
    },
  },
  {
    name: 'infinite_timestamps',
    title: "Rows dated 'infinity', and rows dated '-infinity' from before the first start",
    // Once retention has forgotten anything, it has forgotten '-infinity'.
    limits: { startFrom: 'beginning' },
    async prepare({ pool }) {
      for (const table of POLLED)
        await pool.query(`INSERT INTO ${table} (at) VALUES ('-infinity'), ('-infinity')`)
    },
    async happen(stage, random) {
      await writeDated(stage, random, ["'infinity'"])
      await allDone(stage, 'NOT isfinite(s.at)')
    },
  },
  {
    name: 'missing_timestamps',
    inShortForm: true,
    title: 'Rows whose time is NULL',
    limits: { sweep: '1s' },
    async happen(stage, random) {
      await writeDated(stage, random, ['NULL'])
      await allDone(stage, 's.at IS NULL')
    },
  },
  {
    name: 'backfilled',
    inShortForm: true,
    title: 'Rows dated minutes, hours and days before the edge, as a backfill or an import writes them',
    limits: { sweep: '1s' },
    without: SWEPT,
    async happen(stage, random) {
      await edgesAreFinite(stage)
      await writeDated(
        stage,
        random,
        ['1 minute', '1 hour', '5 days'].map((ago) => `now() - interval '${ago}'`),
      )
      await allDone(stage, "s.at < now() - interval '50 seconds'")
      const found = await stage.number('SELECT sum(found_total) AS n FROM service_ops.poll_sweep')
      if (found === 0) throw new Error('no sweep has found any of them: they were not behind the edge')
    },
  },
]
