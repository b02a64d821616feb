/**
 * The same property without a scheduler: writers and pollers run as they please, on real connections, at full speed.
 *
 * What it adds to the stepped schedules is real concurrency: statements that overlap in the server, whole passes by
 * the product's own `runPass`, lock waits that nobody planned. What it lacks is a seed that replays it: the
 * decisions are seeded, their order is the machine's. Slack is the price of that: between the arrival of a message
 * and the moment that pg_stat_activity shows it a backend can be taken off its core, and only slack covers that.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { runPass } from '../../src/ingest/pass.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import { takeOver } from '../../src/tables/leader.ts'
import { readTail } from '../../src/tables/tail.ts'
import { Invariants, Violation } from './invariants.ts'
import type { Look } from './invariants.ts'
import { Random } from './random.ts'
import type { Session } from './session.ts'
import { POLLER } from './world.ts'
import type { World } from './world.ts'

const WRITERS = 6
const POLLERS = 3
const LEASE_MS = 3_600_000
/** Longer than a backend waits for a core on a busy machine, shorter than the transactions that are held open. */
const SLACK_MS = 500
const LONG_TRANSACTION_MS = 1_500
const PAGE_SIZE = 20
const LOOK_EVERY_MS = 10
const END_LIMIT_MS = 30_000

export interface FreeRun {
  readonly look: Look
  readonly takeovers: number
  readonly fenced: number
  readonly edgeMoves: number
}

/** Runs until each writer has made so many transactions and the edge is beyond the last row; throws Violation. */
export async function runFreely(world: World, seed: number, transactions: number): Promise<FreeRun> {
  await world.empty()
  const table = world.table('uuid')
  const source = await world.source('uuid')
  const stop = new AbortController()
  const counts = { takeovers: 0, fenced: 0 }
  const pollers = Array.from({ length: POLLERS }, async (_, i) => {
    const session = await world.session(`free poller ${i}`, 'seen')
    await poll(world, session, source, new Random(seed * 1_000 + i), counts, stop.signal)
  })
  const writers = Array.from({ length: WRITERS }, async (_, i) => {
    const session = await world.session(`free writer ${i}`, i % 2 === 0 ? 'seen' : 'unseen')
    await write(session, table, new Random(seed * 1_000 + 500 + i), transactions, `${world.name} ${i}`)
  })
  const watcher = watch(new Invariants(world.admin, table), Promise.all(writers))
  try {
    // A poller ends by itself only when it fails.
    const seen = await Promise.race([watcher, Promise.all(pollers).then(() => watcher)])
    return { ...seen, ...counts }
  } finally {
    stop.abort()
    await Promise.allSettled([...pollers, ...writers])
  }
}

/** Looks at the database all the time; once the writers are done, until the edge is beyond the last row. */
async function watch(
  invariants: Invariants,
  writers: Promise<unknown>,
): Promise<{ look: Look; edgeMoves: number }> {
  const state = { written: false }
  const done = writers.then(() => {
    state.written = true
  })
  let deadline = Infinity
  for (;;) {
    const { written } = state
    const look = await invariants.check()
    if (written) {
      await done
      deadline = Math.min(deadline, performance.now() + END_LIMIT_MS)
      if (look?.beyond === true) return { look, edgeMoves: invariants.edgeMoves }
      if (performance.now() > deadline)
        throw new Violation('stuck', `the edge does not move on: ${look?.edge ?? ''}`)
    }
    await Promise.race([delay(LOOK_EVERY_MS), written ? undefined : done])
  }
}

/** Leads, is ousted, does not know, goes on, is refused, and ousts the next one after a while. */
async function poll(
  world: World,
  { client }: Session,
  source: PreparedSource,
  random: Random,
  counts: { takeovers: number; fenced: number },
  signal: AbortSignal,
): Promise<void> {
  const me = { holder: randomUUID(), instanceId: 'free' }
  // Read through a function: the compiler cannot see that others change it.
  const stopped = (): boolean => signal.aborted
  while (!stopped()) {
    const won = await takeOver(client, POLLER, me, LEASE_MS, await world.leader(client))
    if (won?.pass == null) continue
    counts.takeovers += 1
    let pass = won.pass
    const tail = (at: string): Promise<unknown> =>
      readTail(client, source.tail, { poller: POLLER, holder: me.holder, term: won.term, pass: at }, 3)
    for (;;) {
      const { outcome } = await runPass({
        db: client,
        source,
        fence: { poller: POLLER, holder: me.holder, term: won.term, pass },
        slackMs: SLACK_MS,
        sinceMs: 0,
        pageSize: PAGE_SIZE,
        maxAttempts: 3,
        signal,
        onBegun: (begun) => (pass = begun),
        onInserted: () => undefined,
        onRefusedRow: () => undefined,
        onRemade: () => undefined,
        onClockStepped: () => undefined,
        // As an insert does that is announced while a pass is made.
        beforePage: async () => {
          if (random.chance(0.5)) await tail(pass)
        },
      })
      if (outcome === 'fenced') break
      if (stopped()) return
      await delay(random.between(0, 10))
      // As after an announcement, and as one that was ousted meanwhile does.
      await tail(pass)
    }
    counts.fenced += 1
    await delay(random.between(20, 300))
  }
}

async function write(
  { client }: Session,
  table: string,
  random: Random,
  transactions: number,
  name: string,
): Promise<void> {
  const insert = `INSERT INTO ${table} (payload) SELECT jsonb_build_object('n', n) FROM generate_series(1, 3) n`
  for (let i = 0; i < transactions; i += 1) {
    const kind = random.weighted({
      plain: 40,
      late: 10,
      savepoint: 10,
      rollback: 10,
      prepare: 10,
      message: 10,
      chain: 10,
    })
    if (kind === 'message') {
      await client.query(
        `BEGIN; ${insert}; SELECT pg_sleep(0.02); COMMIT; BEGIN; ${insert}; SELECT pg_sleep(0.02); COMMIT`,
      )
      continue
    }
    await client.query('BEGIN')
    // The time is now taken; the first write, and with it the xid, comes later.
    if (random.chance(0.5)) await delay(random.between(0, 30))
    await client.query(insert)
    if (kind === 'late') await delay(random.between(SLACK_MS, LONG_TRANSACTION_MS))
    if (kind === 'savepoint') await client.query(`SAVEPOINT s; ${insert}; ROLLBACK TO SAVEPOINT s; ${insert}`)
    if (kind === 'chain') await client.query(`COMMIT AND CHAIN; ${insert}`)
    if (kind !== 'prepare') {
      await client.query(kind === 'rollback' ? 'ROLLBACK' : 'COMMIT')
      continue
    }
    const gid = `${name} ${i}`
    await client.query(`PREPARE TRANSACTION '${gid}'`)
    await delay(random.between(0, LONG_TRANSACTION_MS))
    await client.query(`${random.chance(0.8) ? 'COMMIT' : 'ROLLBACK'} PREPARED '${gid}'`)
  }
}
