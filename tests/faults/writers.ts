import { Client } from 'pg'
import { pause } from '../../src/kit/pause.ts'
import { Random } from '../properties/random.ts'
import { SOURCES } from './config.ts'

/** How often a writer does what, as weights, and how much of it. */
export interface Habits {
  /** Rows a second, of all writers together. Default 120. */
  readonly rate?: number
  readonly weights?: Partial<Readonly<Record<Kind, number>>>
  /** Longest time that a long or prepared transaction stays open. Default 1,500 ms. */
  readonly longMs?: number
  /** Longest time that a message of two transactions, a chained or a serializable one takes. Default 400 ms. */
  readonly straddleMs?: number
  /** One row in this many has a handler that fails once. Default 25; 0: none. */
  readonly failOneIn?: number
}

type Kind =
  | 'single'
  | 'batch'
  | 'long'
  | 'rolledBack'
  | 'savepoint'
  | 'prepared'
  | 'twoInOneMessage'
  | 'chain'
  | 'serializable'

const WEIGHTS: Readonly<Record<Kind, number>> = {
  single: 30,
  batch: 14,
  long: 12,
  rolledBack: 6,
  savepoint: 6,
  prepared: 6,
  twoInOneMessage: 6,
  chain: 5,
  serializable: 5,
}

const WRITERS = 6
const ROWS_AT_MOST = 6
const AGAIN_MS = 100

export interface Writers {
  /** Ends them: what is open is committed, what is prepared too. Resolves when nothing is open any more. */
  stop(): Promise<void>
}

/**
 * Somebody else's sessions, which write to the three sources at a steady rate. Their transactions overlap and end in
 * every way there is. Time of a row is its transaction's, so that many commit behind rows that are younger.
 *
 * A writer whose connection is lost goes on with another; what it had not committed is lost with it, as it should be.
 */
export function startWriters(url: string, name: string, seed: number, habits: Habits = {}): Writers {
  const stopped = new AbortController()
  const work = Array.from({ length: WRITERS }, (_, i) => {
    const random = new Random(seed * WRITERS + i)
    return writer(url, `${name}_${i}`, random, habits, stopped.signal)
  })
  return {
    async stop() {
      stopped.abort()
      await Promise.all(work)
      await settlePrepared(url, name)
    },
  }
}

async function writer(
  url: string,
  name: string,
  random: Random,
  habits: Habits,
  stopped: AbortSignal,
): Promise<void> {
  const { rate = 120 } = habits
  let prepared = 0
  const over = (): boolean => stopped.aborted
  while (!over()) {
    const client = new Client({ connectionString: url, application_name: `writer:${name}` })
    client.on('error', () => undefined)
    try {
      await client.connect()
      while (!over()) {
        const rows = random.between(1, ROWS_AT_MOST)
        const gid = `${name}:${process.pid}:${(prepared += 1)}`
        await write(client, random, habits, rows, gid, stopped)
        await pause((rows * WRITERS * 1000 * (0.5 + random.next())) / rate, stopped)
      }
    } catch {
      await pause(AGAIN_MS, stopped)
    } finally {
      await client.end().catch(() => undefined)
    }
  }
}

async function write(
  client: Client,
  random: Random,
  habits: Habits,
  rows: number,
  gid: string,
  stopped: AbortSignal,
): Promise<void> {
  const kind = random.weighted({ ...WEIGHTS, ...habits.weights })
  const insert = () => insertText(random, habits, rows)
  const straddled = (): number => (random.next() * (habits.straddleMs ?? 400)) / 1000
  const held = () => pause(random.next() * (habits.longMs ?? 1_500), stopped)
  switch (kind) {
    case 'single':
    case 'batch':
      await client.query(insert())
      return
    case 'long':
      await client.query('BEGIN')
      if (random.chance(0.5)) await client.query(insert())
      await held()
      await client.query(insert())
      await client.query('COMMIT')
      return
    case 'rolledBack':
      await client.query(`BEGIN; ${insert()}`)
      await held()
      await client.query('ROLLBACK')
      return
    case 'savepoint':
      await client.query(`BEGIN; ${insert()}; SAVEPOINT s; ${insert()}; ROLLBACK TO s; ${insert()}`)
      await client.query('COMMIT')
      return
    case 'prepared':
      await client.query(`BEGIN; ${insert()}; PREPARE TRANSACTION '${gid}'`)
      await held()
      await client.query(`${random.chance(0.8) ? 'COMMIT' : 'ROLLBACK'} PREPARED '${gid}'`)
      return
    case 'twoInOneMessage': {
      // now() of the second is the arrival of the message, before the first one's end.
      const seconds = straddled()
      await client.query(
        `BEGIN; ${insert()}; SELECT pg_sleep(${seconds}); COMMIT; BEGIN; ${insert()}; SELECT pg_sleep(${seconds}); COMMIT`,
      )
      return
    }
    case 'chain':
      await client.query(`BEGIN; ${insert()}`)
      await client.query(`SELECT pg_sleep(${straddled()}); COMMIT AND CHAIN`)
      await client.query(`SELECT pg_sleep(${straddled()}); ${insert()}`)
      await client.query('COMMIT')
      return
    case 'serializable':
      await client.query(`BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM orders; ${insert()}`)
      await client.query(`SELECT pg_sleep(${straddled()})`)
      await client.query('COMMIT')
  }
}

function insertText(random: Random, { failOneIn = 25 }: Habits, rows: number): string {
  const table = random.pick(SOURCES)
  const values = Array.from({ length: rows }, () =>
    failOneIn > 0 && random.between(1, failOneIn) === 1 ? `('{"behave":"throw","failures":1}')` : `('{}')`,
  )
  return `INSERT INTO ${table} (payload) VALUES ${values.join(', ')}`
}

/** What writers prepared and could not end, since the server or their connection was away. */
async function settlePrepared(url: string, name: string): Promise<void> {
  const client = new Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    const { rows } = await client.query<{ gid: string }>(
      'SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, $1)',
      [`${name}_`],
    )
    for (const { gid } of rows) await client.query(`COMMIT PREPARED ${client.escapeLiteral(gid)}`)
  } finally {
    await client.end()
  }
}
