/** Orders of events that lost rows once, each played on purpose. Each throws Violation when a row is lost. */
import type { PassFence } from '../../src/tables/watermark.ts'
import { until } from '../support/until.ts'
import { Violation } from './invariants.ts'
import type { Stage } from './named.ts'

export type NamedSchedule = (stage: Stage) => Promise<void>

/**
 * now() of the second transaction is the arrival of the message. While the first one waits, it is the candidate's
 * living; its end closes the candidate, although a transaction with an earlier now() goes on.
 */
export const twoInOneMessage: NamedSchedule = async (stage) => {
  const writer = await stage.session('writer')
  let fence = await stage.pass(await stage.lead())
  const [first, second] = [await stage.world.closeGate(), await stage.world.closeGate()]
  const wait = (gate: number): string => `SELECT pg_advisory_xact_lock_shared(${gate})`
  writer.send(
    `BEGIN; ${stage.insert()}; ${wait(first)}; COMMIT; BEGIN; ${stage.insert()}; ${wait(second)}; COMMIT`,
  )
  await stage.settle()
  fence = await stage.pass(fence)
  fence = await stage.pass(fence)
  await stage.world.openGate(first)
  await stage.settle()
  fence = await stage.pass(fence)
  fence = await stage.pass(fence)
  await stage.world.openGate(second)
  await stage.settle()
  await stage.look()
  await stage.everythingIsTakenIn(fence)
}

/** The same, and the second transaction is prepared: its session is idle when the first one's end closes the candidate. */
export const secondOfOneMessageIsPrepared: NamedSchedule = async (stage) => {
  const writer = await stage.session('writer')
  let fence = await stage.pass(await stage.lead())
  const gate = await stage.world.closeGate()
  const gid = `${stage.world.name} second`
  writer.send(
    `BEGIN; ${stage.insert()}; SELECT pg_advisory_xact_lock_shared(${gate}); COMMIT; ` +
      `BEGIN; ${stage.insert()}; PREPARE TRANSACTION '${gid}'`,
  )
  await stage.settle()
  fence = await stage.pass(fence)
  fence = await stage.pass(fence)
  await stage.world.openGate(gate)
  await stage.settle()
  fence = await stage.pass(fence)
  fence = await stage.pass(fence)
  writer.send(`COMMIT PREPARED '${gid}'`)
  await stage.settle()
  await stage.look()
  await stage.everythingIsTakenIn(fence)
}

/** now() of the chained transaction is the arrival of COMMIT AND CHAIN, before the commit itself was over. */
export const chainAfterSlowCommit: NamedSchedule = async (stage) => {
  const writer = await stage.session('writer')
  let fence = await stage.pass(await stage.lead())
  const gate = await stage.world.closeGate()
  for (const text of ['BEGIN', stage.insert(gate)]) {
    writer.send(text)
    await stage.settle()
  }
  writer.send('COMMIT AND CHAIN')
  await stage.settle()
  fence = await stage.pass(fence)
  fence = await stage.pass(fence)
  await stage.world.openGate(gate)
  await stage.settle()
  fence = await stage.pass(fence)
  fence = await stage.pass(fence)
  for (const text of [stage.insert(), 'COMMIT']) {
    writer.send(text)
    await stage.settle()
  }
  await stage.look()
  await stage.everythingIsTakenIn(fence)
}

/** A prepared transaction outlives the session that made it, and shows in pg_locks with no pid at all. */
export const sessionEndedAfterPrepare: NamedSchedule = async (stage) => {
  const writer = await stage.session('writer', 'unseen')
  const heir = await stage.session('heir', 'unseen')
  let fence = await stage.pass(await stage.lead())
  const gid = `${stage.world.name} orphan`
  for (const text of ['BEGIN', stage.insert(), `PREPARE TRANSACTION '${gid}'`]) {
    writer.send(text)
    await stage.settle()
  }
  await stage.world.admin.query('SELECT pg_terminate_backend($1)', [writer.pid])
  const left = 'SELECT FROM pg_stat_activity WHERE pid = $1'
  await until(
    'the backend to be gone',
    async () => (await stage.world.admin.query(left, [writer.pid])).rowCount === 0,
  )
  for (let i = 0; i < 3; i += 1) fence = await stage.pass(fence)
  heir.send(`COMMIT PREPARED '${gid}'`)
  await stage.settle()
  await stage.look()
  await stage.everythingIsTakenIn(fence)
}

/** What a step of the clock leaves behind is an edge and a candidate in the future, and nothing else: they are put there. */
async function stepBack({ world: { admin } }: Stage, by: string): Promise<void> {
  await admin.query(
    'UPDATE service_ops.integration_poll_watermark SET edge = clock_timestamp() + $1::interval',
    [by],
  )
  await admin.query('UPDATE service_ops.poll_candidate SET cand_ts = clock_timestamp() + $1::interval', [by])
}

/** Rows written after a step are older than the edge, and the next pass must take them in all the same. */
export const clockSteppedBack: NamedSchedule = async (stage) => {
  const { admin } = stage.world
  stage.slackMs = 2_000
  const writer = await stage.session('writer')
  let fence = await stage.pass(await stage.lead())
  fence = await stage.pass(fence)
  await stepBack(stage, '4 s')
  for (let i = 0; i < 3; i += 1) {
    writer.send(stage.insert())
    await stage.settle()
    fence = await stage.pass(fence)
    const { rows } = await admin.query<{ future: boolean }>(
      'SELECT coalesce(proven > clock_timestamp(), false) AS future FROM service_ops.integration_poll_watermark',
    )
    if (rows[0]?.future !== false) throw new Violation('unsafe', 'something is proven past now()')
    await stage.look()
  }
  const { edge } = await stage.look()
  await until('the clock to catch up and the edge to go on', async () => {
    fence = await stage.pass(fence)
    return (await stage.look()).edge !== edge
  })
}

/** A transaction that began after the step goes on while passes come and go, until its row is older than all they re-read. */
export const longTransactionAfterStep: NamedSchedule = async (stage) => {
  const { admin } = stage.world
  stage.slackMs = 100
  const writer = await stage.session('writer')
  let fence = await stage.pass(await stage.lead())
  fence = await stage.pass(fence)
  await stepBack(stage, '1 hour')
  for (const text of ['BEGIN', stage.insert()]) {
    writer.send(text)
    await stage.settle()
  }
  await until('the row to be older than the slack, twice', async () => {
    fence = await stage.pass(fence)
    const { rows } = await admin.query<{ old: boolean }>(
      "SELECT xact_start < clock_timestamp() - interval '0.3 s' AS old FROM pg_stat_activity WHERE pid = $1",
      [writer.pid],
    )
    return rows[0]?.old === true
  })
  writer.send('COMMIT')
  await stage.settle()
  fence = await stage.pass(fence)
  await stage.look()
  await until('the row to be read no more, now that it is proven', async () => {
    fence = await stage.pass(fence)
    const { rows } = await admin.query<{ beyond: boolean }>(
      `SELECT c.scan_from > (SELECT max(created_at) FROM ${stage.world.table('bigint')}) AS beyond FROM service_ops.poll_candidate c`,
    )
    return rows[0]?.beyond === true
  })
}

/** A pass after the step proves its rows and reads none of them: who begins the next one must not take them for read. */
const unreadAfterStep =
  (next: (stage: Stage, fence: PassFence) => Promise<PassFence>): NamedSchedule =>
  async (stage) => {
    const { admin } = stage.world
    let fence = await stage.pass(await stage.lead())
    fence = await stage.pass(fence)
    await stepBack(stage, '1 hour')
    fence = await stage.pass(fence)
    await admin.query(stage.insert())
    // The candidate has to be younger than the row first.
    await until('a pass to prove the row', async () => {
      const begun = await stage.begin(fence)
      if (begun === undefined) throw new Error('refused')
      fence = { ...fence, pass: begun.pass }
      const { rows } = await admin.query<{ proven: boolean }>(
        `SELECT coalesce(w.proven > (SELECT max(created_at) FROM ${stage.world.table('bigint')}), false) AS proven
           FROM service_ops.integration_poll_watermark w`,
      )
      return rows[0]?.proven === true
    })
    await stage.pass(await next(stage, fence))
    await stage.look()
  }

export const unreadByItself = unreadAfterStep((_stage, fence) => Promise.resolve(fence))
export const unreadByFormerLeader = unreadAfterStep((stage) => stage.lead())

/**
 * The clock stepped back and has caught up by the next pass, so that nothing shows but the pass's own clock. A transaction
 * that began in between, with a time before the candidate, is prepared: neither the candidate's list nor the floor has it.
 */
const preparedAfterStep =
  (
    next: (stage: Stage, fence: PassFence, sinceMs: number) => Promise<PassFence>,
    open = false,
  ): NamedSchedule =>
  async (stage) => {
    const { admin } = stage.world
    stage.slackMs = 100
    const [writer, other] = [await stage.session('writer'), await stage.session('other')]
    if (open) {
      other.send('BEGIN')
      await stage.settle()
    }
    let fence: PassFence = await stage.pass(await stage.lead())
    const gid = `${stage.world.name} hidden`
    const begunAt = performance.now()
    for (const text of ['BEGIN', stage.insert(), `PREPARE TRANSACTION '${gid}'`]) {
      writer.send(text)
      await stage.settle()
    }
    await until('a second to pass', async () => {
      const { rows } = await admin.query<{ old: boolean }>(
        "SELECT prepared < clock_timestamp() - interval '1 s' AS old FROM pg_prepared_xacts WHERE gid = $1",
        [gid],
      )
      return rows[0]?.old === true
    })
    // What was noted before the step, as the clock has it that has caught up: the time is later, the list the same.
    await admin.query('UPDATE service_ops.poll_candidate SET cand_ts = clock_timestamp()')
    fence = await next(stage, fence, performance.now() - begunAt + 1_000)
    stage.sinceMs = stage.begunMs = 0
    if (open) {
      other.send('COMMIT')
      await stage.settle()
    }
    for (let i = 0; i < 2; i += 1) fence = await stage.pass(fence)
    writer.send(`COMMIT PREPARED '${gid}'`)
    await stage.settle()
    await stage.look()
    await stage.everythingIsTakenIn(fence)
  }

export const preparedAfterHiddenStep = preparedAfterStep((stage, fence, ms) => {
  stage.sinceMs = stage.begunMs = ms
  return stage.pass(fence)
})

/** The next pass is another leader's, who knows only for how long nobody can have made one. */
export const preparedAfterStepBeforeALead = preparedAfterStep(async (stage, _fence, ms) => {
  stage.sinceMs = ms
  return stage.pass(await stage.lead())
})

/** And it cannot close the candidate: what it knows must not be forgotten by the one after it. */
export const openThroughAStep = preparedAfterStep(async (stage, _fence, ms) => {
  stage.sinceMs = ms
  return stage.pass(await stage.lead())
}, true)

/**
 * A page of the old leader is sent while the takeover holds the row: it wakes when another leads, with a fresh row
 * and a snapshot from before, and is refused. So are the zombie's next statements.
 */
export const pageWaitedThroughTakeover: NamedSchedule = async (stage) => {
  const [old, writer] = [await stage.session('old leader'), await stage.session('writer')]
  writer.send(stage.insert())
  await stage.settle()
  const begun = await stage.begin(await stage.lead())
  if (begun === undefined) throw new Error('refused')
  const zombie = { ...(await currentFence(stage)), pass: begun.pass }
  stage.poller.send('BEGIN')
  await stage.settle()
  const fence = await stage.lead()
  let answer: unknown = 'none yet'
  old.start(
    () => stage.page(zombie, old),
    (page) => (answer = page),
  )
  await stage.settle()
  if (!old.waits) throw new Error('the page did not wait')
  stage.poller.send('COMMIT')
  await stage.settle()
  if (answer !== undefined) throw new Error('the page of an ousted leader was not refused')
  if ((await stage.begin(zombie, old)) !== undefined) throw new Error('the begin of a zombie was not refused')
  if ((await stage.page(zombie, old)) !== undefined) throw new Error('the page of a zombie was not refused')
  if ((await stage.look()).taken !== 0) throw new Error('an ousted leader wrote to the inbox')
  await stage.everythingIsTakenIn(fence)
}

/**
 * A page of the pass before waits while begin has the row, under the same holder and term. Between its snapshot and
 * begin's look a transaction commits: begin sees that it has ended, the page does not see its row. Only pass refuses.
 */
export const pageWaitedThroughBegin: NamedSchedule = async (stage) => {
  const [late, writer] = [await stage.session('late packet'), await stage.session('writer', 'unseen')]
  const led = await stage.lead()
  writer.send(`BEGIN; ${stage.insert()}`)
  await stage.settle()
  const begun = await stage.begin(led)
  if (begun === undefined) throw new Error('refused')
  const former = { ...led, pass: begun.pass }
  // One statement, as it is when the processor takes it off the core between its row lock and its look at pg_locks.
  stage.poller.send('BEGIN; SELECT FROM service_ops.integration_poll_watermark FOR UPDATE')
  await stage.settle()
  late.start(() => stage.page(former, late))
  await stage.settle()
  if (!late.waits) throw new Error('the page did not wait')
  writer.send('COMMIT')
  await stage.settle()
  const next = await stage.begin(former)
  stage.poller.send('COMMIT')
  await stage.settle()
  await stage.look()
  if (next === undefined) throw new Error('refused')
  await stage.everythingIsTakenIn({ ...former, pass: next.pass })
}

async function currentFence(stage: Stage): Promise<{ poller: string; holder: string; term: string }> {
  const { rows } = await stage.world.admin.query<{ poller: string; holder: string; term: string }>(
    'SELECT poller, holder, term FROM service_ops.integration_poll_watermark',
  )
  const [row] = rows
  if (row === undefined) throw new Error('there is no watermark')
  return row
}
