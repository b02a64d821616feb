import { loadavg } from 'node:os'
import { Client } from 'pg'
import { until } from '../support/until.ts'
import { LED_TASKS } from './config.ts'
import type { Fault } from './fault.ts'
import { RunScope } from './scope.ts'
import { setStage, startMachines } from './stage.ts'
import type { Stage } from './stage.ts'

/**
 * How long nobody is able to lead, for each way in which leadership changes, measured over and over on quiet stages: two
 * instances, one of which leads all four tasks.
 *
 * - *hand-over*: from the old leader's release to the new one's first act, as `leader_change.gap_ms` has it;
 * - *kill -9*, *frozen*: from the signal to the takeover;
 * - *server back*: from the moment the server accepts connections again until every task's leader has renewed its lease, or
 *   another has taken over.
 */
export interface Change {
  readonly name: string
  readonly title: string
  readonly promisedMs: number
  /** Stages side by side: what mostly waits need not wait alone. */
  readonly lanes: number
  readonly ownServer?: true
  /** Makes the change happen once; returns a sample for each task. */
  readonly happen: (stage: Stage) => Promise<number[]>
}

export const CHANGES: readonly Change[] = [
  {
    name: 'hand_over',
    title: 'hand-over (SIGTERM)',
    promisedMs: 250,
    lanes: 1,
    async happen(stage) {
      const { machines, pool } = stage
      const old = await leaderOfAll(stage)
      await machines.start()
      const since = await newestChange(stage)
      await machines.stop(old)
      await changes(stage, since)
      const { rows } = await pool.query<{ gap_ms: number; reason: string }>(
        'SELECT gap_ms, reason FROM service_ops.leader_change WHERE change_id > $1',
        [since],
      )
      const other = rows.find(({ reason }) => reason !== 'handed_over')
      if (other !== undefined) throw new Error(`a drain was answered by ${other.reason}`)
      return rows.map(({ gap_ms: ms }) => ms)
    },
  },
  {
    name: 'killed',
    title: 'takeover after kill -9',
    promisedMs: 3_000,
    lanes: 1,
    async happen(stage) {
      const old = await leaderOfAll(stage)
      await stage.machines.start()
      const since = await newestChange(stage)
      const at = await stage.machines.crash(old)
      return changes(stage, since, at)
    },
  },
  {
    name: 'frozen',
    title: 'takeover from a frozen leader (SIGSTOP)',
    promisedMs: 12_000,
    lanes: 4,
    async happen(stage) {
      const { machines } = stage
      const old = await leaderOfAll(stage)
      await machines.start()
      const since = await newestChange(stage)
      const at = old.kill('SIGSTOP')
      const samples = await changes(stage, since, at)
      old.kill('SIGKILL')
      await machines.left(old)
      return samples
    },
  },
  {
    name: 'server_back',
    title: 'PostgreSQL restarted: until every task is led again',
    promisedMs: 5_000,
    lanes: 2,
    ownServer: true,
    async happen({ server, directUrl }) {
      if (server === undefined) throw new Error('this needs a server of its own')
      await server.stop('fast')
      const starting = server.start()
      const client = await until('the server to accept connections', () => connected(directUrl))
      const backAt = Date.now()
      try {
        const samples = new Map<string, number>()
        await until(
          'every task to be led again',
          async () => {
            const { rows } = await client.query<{ task_name: string; ms: string }>(LED_SINCE_BOOT)
            for (const { task_name: task, ms } of rows)
              if (!samples.has(task)) samples.set(task, Math.max(0, Number(ms) - backAt))
            return samples.size === LED_TASKS.length
          },
          90_000,
        )
        return [...samples.values()]
      } finally {
        await client.end()
        await starting
      }
    },
  },
]

/** When each task's leader proved its life to this boot of the server for the first time, in ms of the common clock. */
const LED_SINCE_BOOT = `SELECT task_name, extract(epoch FROM greatest(renewed_at, acquired_at)) * 1000 AS ms
  FROM service_ops.background_task_leader
 WHERE greatest(renewed_at, acquired_at) > pg_postmaster_start_time() AND expires_at > clock_timestamp()`

/** Samples of one change, at least `count`. */
export async function measure(change: Change, count: number, say: (line: string) => void): Promise<number[]> {
  const samples: number[] = []
  const lane = async (seed: number): Promise<void> => {
    const scope = new RunScope()
    try {
      const stage = await setStage(scope, asFault(change), seed)
      await startMachines(stage, change.ownServer === true ? 2 : 1)
      while (samples.length < count) {
        samples.push(...(await change.happen(stage)))
        say(`${change.name}: ${samples.length} of ${count}, newest ${Math.round(samples.at(-1) ?? 0)} ms`)
      }
      for (const one of stage.machines.living) await stage.machines.stop(one)
    } finally {
      await scope.end()
    }
  }
  await Promise.all(Array.from({ length: change.lanes }, (_, i) => lane(i + 1)))
  return samples
}

export const load = (): string => loadavg()[0]?.toFixed(1) ?? ''

function asFault({ name, title, ownServer }: Change): Fault {
  return {
    name,
    title,
    ...(ownServer === true ? { ownServer: {} } : {}),
    happen: () => Promise.resolve(),
  }
}

async function connected(url: string): Promise<Client | undefined> {
  const client = new Client({ connectionString: url })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return client
  } catch {
    return undefined
  }
}

/** The instance that leads every task; the others were not there when it began. */
async function leaderOfAll({ machines }: Stage) {
  const [first] = await Promise.all(LED_TASKS.map((task) => machines.aLeader(task)))
  if (first === undefined) throw new Error('there are no tasks')
  return first
}

const newestChange = ({ number }: Stage): Promise<number> =>
  number('SELECT coalesce(max(change_id), 0) AS n FROM service_ops.leader_change')

/** Waits until every task has changed its leader; how long after `from` each did, by the server's clock. */
async function changes({ pool }: Stage, since: number, from = 0): Promise<number[]> {
  return until(
    'every task to have another leader',
    async () => {
      const { rows } = await pool.query<{ ms: string }>(
        `SELECT DISTINCT ON (task_name) extract(epoch FROM at) * 1000 AS ms FROM service_ops.leader_change
          WHERE change_id > $1 ORDER BY task_name, change_id`,
        [since],
      )
      return rows.length === LED_TASKS.length && rows.map(({ ms }) => Number(ms) - from)
    },
    120_000,
  )
}
