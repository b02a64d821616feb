import type { Instance } from '../../support/instance.ts'
import { until } from '../../support/until.ts'
import { SOURCES as POLLED } from '../config.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'

async function writeBehaving({ pool }: Stage, payload: Record<string, unknown>, rows: number): Promise<void> {
  for (const table of POLLED)
    await pool.query(`INSERT INTO ${table} (payload) SELECT $1::jsonb FROM generate_series(1, $2::integer)`, [
      JSON.stringify(payload),
      rows,
    ])
}

/** Messages whose handlers were written to behave so, and that have come to this end. */
async function ended({ number }: Stage, behave: string, status: string): Promise<number> {
  return number(
    `SELECT count(*) AS n FROM service_ops.integration_inbox WHERE payload ->> 'behave' = $1 AND status = $2`,
    [behave, status],
  )
}

/** The handler's own word for how a process ended. */
const EXITED = 7

export const HANDLERS: readonly Fault[] = [
  {
    name: 'handlers_throw',
    title: 'Every third handler throws, some of them three times',
    habits: { failOneIn: 3 },
    async happen(stage, random) {
      for (let i = 0; i < 4; i += 1) {
        await writeBehaving(stage, { behave: 'throw', failures: random.between(2, 3) }, 3)
        await stage.flows(40)
      }
      if (stage.machines.count('message_failed') < 20) throw new Error('hardly any handler has thrown')
    },
  },
  {
    name: 'handlers_hang',
    title: 'Handlers hang for ever, and are ended at their limit of 2 s',
    limits: { timeout: '2s' },
    async happen(stage, random) {
      const rows = random.between(3, 6)
      await writeBehaving(stage, { behave: 'hang', failures: 1 }, rows)
      await until(
        'those that hung to be done',
        async () => (await ended(stage, 'hang', 'DONE')) === rows * POLLED.length,
        60_000,
      )
      const cut = await stage.number(
        `SELECT count(*) AS n FROM service_ops.integration_inbox WHERE payload ->> 'behave' = 'hang' AND attempts = 2`,
      )
      if (cut < rows) throw new Error('hardly any handler was ended at its limit')
    },
  },
  {
    name: 'handlers_exit',
    title: 'Handlers end their process, which is started again as a platform would',
    mayRunAgain: 'handlers beside it were at work when the process ended',
    mayBurn: 'the same',
    async happen(stage, random) {
      const { machines, pool, flows } = stage
      const before = await ended(stage, 'exit', 'DONE')
      const sources = random.chance(0.5) ? POLLED : [...POLLED].reverse()
      for (const table of sources) {
        const gone = Promise.race(machines.living.map((one) => leaves(one)))
        await pool.query(`INSERT INTO ${table} (payload) VALUES ('{"behave":"exit","failures":1}')`)
        const code = await gone
        if (code !== EXITED) throw new Error(`a process ended with ${code}, and no handler has done it`)
        await machines.start()
        await flows(30)
      }
      await until(
        'those that ended their process to be done',
        async () => (await ended(stage, 'exit', 'DONE')) === before + sources.length,
        60_000,
      )
    },
  },
  {
    name: 'handlers_dead',
    inShortForm: true,
    title: 'Handlers that never succeed: their messages are DEAD after three attempts, and hold nobody up',
    limits: { maxAttempts: 3 },
    async happen(stage, random) {
      const rows = random.between(5, 10)
      await writeBehaving(stage, { behave: 'dead' }, rows)
      await until(
        'them to be DEAD',
        async () => (await ended(stage, 'dead', 'DEAD')) === rows * POLLED.length,
      )
      await stage.flows(40)
      const tooOften = await stage.number(
        `SELECT count(*) AS n FROM service_ops.integration_inbox WHERE status = 'DEAD' AND attempts <> 3`,
      )
      if (tooOften > 0)
        throw new Error(`${tooOften} messages are DEAD after another number of attempts than 3`)
    },
  },
]

async function leaves(one: Instance): Promise<number | null> {
  return (await one.exited).code
}
