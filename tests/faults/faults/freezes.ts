import { until } from '../../support/until.ts'
import type { Instance } from '../../support/instance.ts'
import { inWorkAt, keepBusy, pastSince } from '../atWork.ts'
import { LED_TASKS, SOURCES } from '../config.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'

/** The lease is 10 s by default, and stand-bys look every second. */
const LEASE_MS = 10_000
const HANDLER_MS = 1_500

const AGAIN =
  'an external handler stood still past its lease; its message was taken back, and it ended after it woke'

/** Stops it while handlers are at work on it. */
async function freezeInHandler(stage: Stage, victim: Instance): Promise<number> {
  await keepBusy(stage, victim, HANDLER_MS)
  victim.kill('SIGSTOP')
  const at = performance.now()
  // A stopped process ends nothing, so these are what it had at that moment.
  if ((await inWorkAt(stage, victim)) === 0) throw new Error('the frozen instance had nothing in work')
  return at
}

/**
 * Stops it while a page of its poller is under way: the page meets a row that somebody else is just taking in, and
 * waits for him. When he gives up, the page is written, and nobody is there to hear of it.
 */
async function freezeInPass({ pool }: Stage, victim: Instance, poller: string): Promise<number> {
  const other = await pool.connect()
  try {
    await other.query('BEGIN')
    const { rows } = await other.query<{ id: string }>(
      `SELECT nextval(pg_get_serial_sequence($1, 'id'))::text AS id`,
      [poller],
    )
    const id = rows[0]?.id
    await other.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) VALUES ($1, $2, 'taken in by somebody else')`,
      [poller, id],
    )
    await pool.query(`INSERT INTO ${poller} (id) OVERRIDING SYSTEM VALUE VALUES ($1)`, [id])
    await until('a page to be under way', async () => {
      const waiting = await pool.query(
        `SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock' AND query LIKE '%integration_poll_watermark%'`,
        [`tidemark:${victim.id}`],
      )
      return waiting.rows.length > 0
    })
    victim.kill('SIGSTOP')
    return performance.now()
  } finally {
    await other.query('ROLLBACK')
    other.release()
  }
}

function frozen(seconds: number): Fault {
  const ms = seconds * 1000
  const outlastsLease = ms > LEASE_MS
  return {
    name: `frozen_for_${seconds}_s`,
    title: `SIGSTOP to a leader for ${seconds} s, in the middle of a pass or of handlers (odd seeds)`,
    ...(outlastsLease ? { isLong: true, mayRunAgain: AGAIN } : {}),
    async happen(stage, random) {
      const { machines } = stage
      const task = random.pick(SOURCES)
      const victim = await machines.aLeader(task)
      const at = await (stage.seed % 2 === 1
        ? freezeInHandler(stage, victim)
        : freezeInPass(stage, victim, task))
      const frozenAt = Date.now()
      if (outlastsLease) {
        await until(
          'somebody else to lead every task',
          async () =>
            (await Promise.all(LED_TASKS.map((each) => machines.leader(each)))).every(
              (leader) => leader !== undefined && leader !== victim,
            ),
          60_000,
        )
      }
      await pastSince(at, ms)
      if (victim.lines.some((line) => line.at > frozenAt)) throw new Error('the frozen instance went on')
      const wokenAt = victim.kill('SIGCONT')
      await until('the frozen one to wake', () => victim.lines.some((line) => line.at >= wokenAt))
      if (!outlastsLease) return
      await victim.said('leader_lost', { task })
    },
  }
}

const BLOCKED_MS = 20_000

const blocked: Fault = {
  name: 'event_loop_blocked_for_20_s',
  title: `A handler does not give the event loop back for ${BLOCKED_MS / 1000} s`,
  isLong: true,
  mayRunAgain: AGAIN,
  async happen(stage, random) {
    const { machines, pool, number } = stage
    const source = random.pick(SOURCES)
    const { rows } = await pool.query<{ id: string }>(
      `INSERT INTO ${source} (payload) VALUES (jsonb_build_object('behave', 'block', 'ms', $1::integer)) RETURNING id`,
      [BLOCKED_MS],
    )
    const id = rows[0]?.id
    const owner = async () =>
      (
        await pool.query<{ locked_by: string | null }>(
          'SELECT locked_by FROM service_ops.integration_inbox WHERE source = $1 AND message_id = $2',
          [source, id],
        )
      ).rows[0]?.locked_by ?? undefined
    const first = await until('somebody to claim it', owner)
    const claimedAt = Date.now()
    const victim = machines.living.find((one) => one.id === first)
    if (victim === undefined) throw new Error(`${first} has it, and does not live`)
    await until(
      'another to do it',
      () =>
        number(
          `SELECT count(*) AS n FROM service_ops.integration_inbox WHERE source = $1 AND message_id = $2 AND status = 'DONE' AND claim > 1`,
          [source, id],
        ).then((n) => n === 1),
      60_000,
    )
    await until('it to go on', () => victim.lines.some((line) => line.at > claimedAt + BLOCKED_MS), 60_000)
    const meanwhile = victim.lines.filter(
      ({ at }) => at > claimedAt + LEASE_MS / 2 && at < claimedAt + BLOCKED_MS - LEASE_MS / 2,
    )
    if (meanwhile.length > 0) throw new Error('its event loop was not blocked')
  },
}

export const FREEZES: readonly Fault[] = [frozen(5), frozen(20), frozen(60), blocked]
