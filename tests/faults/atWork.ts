import type { Instance } from '../support/instance.ts'
import { until } from '../support/until.ts'
import { noted } from './stage.ts'
import type { Stage } from './stage.ts'

/** Enough that every instance has some, whoever claims first. */
const ROWS_EACH = 12
/** After this long without any they were done elsewhere: more are written. */
const AGAIN_MS = 4_000

/** What an instance has in work of rows whose handlers take their time. */
export async function inWorkAt({ number }: Stage, { id }: Instance): Promise<number> {
  return number(
    `SELECT count(*) AS n FROM service_ops.integration_inbox
      WHERE locked_by = $1 AND status = 'PROCESSING' AND payload ->> 'behave' = 'slow'`,
    [id],
  )
}

/** External handlers that noted that they began and have not noted an end. */
function handlersAtWork({ notes }: Stage): number {
  const all = noted(notes)
  return all.filter(({ kind }) => kind === 'began').length - all.filter(({ kind }) => kind === 'ended').length
}

/** Writes rows whose handlers take `ms`, until this instance has some of them in work. */
export async function keepBusy(stage: Stage, one: Instance, ms: number): Promise<void> {
  let writtenAt = Number.NEGATIVE_INFINITY
  await until(
    `handlers to be at work on ${one.id}`,
    async () => {
      if (performance.now() - writtenAt > AGAIN_MS) {
        await writeSlow(stage, ms)
        writtenAt = performance.now()
      }
      return (await inWorkAt(stage, one)) > 0
    },
    60_000,
  )
}

/** Writes rows whose handlers take `ms`, and waits until external ones have begun, on whatever instance. */
export async function handlersBegin(stage: Stage, ms: number): Promise<void> {
  await writeSlow(stage, ms)
  await until('external handlers to be at work', () => handlersAtWork(stage) > 0)
}

/** Rows of every source whose handlers take `ms`. */
async function writeSlow({ pool }: Stage, ms: number): Promise<void> {
  await pool.query(
    `WITH s AS (SELECT jsonb_build_object('behave', 'slow', 'ms', $1::integer) AS payload FROM generate_series(1, $2::integer)),
          o AS (INSERT INTO orders (payload) SELECT payload FROM s), c AS (INSERT INTO calls (payload) SELECT payload FROM s)
     INSERT INTO tally (payload) SELECT payload FROM s`,
    [ms, ROWS_EACH],
  )
}

/** Waits until it is so long ago. */
export async function pastSince(at: number, ms: number): Promise<void> {
  await until(`${ms} ms to be over`, () => performance.now() - at >= ms, ms + 30_000)
}
