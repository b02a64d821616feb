import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { freePort } from '../support/port.ts'
import { until } from '../support/until.ts'

const TOKEN = 'a-token-of-more-than-16'

/** Every message has an effect in the transaction of its DONE; a second one for the same id would be seen. */
const CONFIG = `
  export default {
    intakes: { orders: {} },
    processors: { packing: { from: 'orders', contract: 'transactional', async handle({ messageId, payload }, { tx }) {
      await tx.query('INSERT INTO effect VALUES ($1, $2)', [messageId, payload.n])
    } } },
  }`

interface Answer {
  readonly accepted: number
  readonly duplicates: number
  readonly trace_id: string
}

/** A sender as senders are: whatever is not a 202 is sent again. */
async function deliver(address: string, messages: readonly object[]): Promise<Answer> {
  return until('a request to be taken in', async () => {
    try {
      const response = await fetch(`${address}/inbox/orders`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
        body: JSON.stringify(messages),
        signal: AbortSignal.timeout(5_000),
      })
      const answer: unknown = await response.json()
      // Of a 202 it is this.
      if (response.status === 202) return answer as Answer
      assert.equal(response.status, 503, JSON.stringify(answer))
      assert.ok(response.headers.has('retry-after'))
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
    }
    return undefined
  })
}

test('what is sent while instances are stopped and killed is processed once each', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query('CREATE TABLE effect (id text, n int)')
  const port = await freePort()
  const start = () =>
    startInstance(t, {
      databaseUrl: database.url,
      config: CONFIG,
      env: { PORT: String(port), INTAKE_TOKEN: TOKEN, LOG_LEVEL: 'warn' },
    })
  let instance = await start()
  const address = `http://127.0.0.1:${port}`
  const SENDERS = 8
  const REQUESTS = 60
  const SIZE = 5
  let sent = 0

  const sender = async (who: number): Promise<void> => {
    for (let request = 0; request < REQUESTS; request += 1) {
      // Every third request is one that was sent before, and every id is sent by two.
      const at = (request % 3 === 2 ? request - 1 : request) * SIZE
      const messages = Array.from({ length: SIZE }, (_, i) => ({
        message_id: `${who % (SENDERS / 2)}-${at + i}`,
        group_key: `group ${who}`,
        payload: { n: at + i },
      }))
      const answer = await deliver(address, messages)
      assert.equal(answer.accepted + answer.duplicates, SIZE)
      sent += 1
    }
  }
  const restarts = async (): Promise<void> => {
    for (const [signal, after] of [
      ['SIGTERM', 0.3],
      ['SIGKILL', 0.6],
    ] as const) {
      await until(`${after} of the requests`, () => sent >= SENDERS * REQUESTS * after, 120_000)
      instance.kill(signal)
      const { code } = await instance.exited
      if (signal === 'SIGTERM') assert.equal(code, 0)
      instance = await start()
    }
  }
  await Promise.all([restarts(), ...Array.from({ length: SENDERS }, (_, who) => sender(who))])

  const ids = (SENDERS / 2) * (REQUESTS - REQUESTS / 3) * SIZE
  await until('everything to be done', async () => {
    const { rows } = await pool.query<{ n: number }>(
      `SELECT count(*)::int AS n FROM service_ops.integration_inbox WHERE status = 'DONE'`,
    )
    return rows[0]?.n === ids
  })
  const { rows } = await pool.query(
    'SELECT count(*)::int AS effects, count(DISTINCT id)::int AS ids FROM effect',
  )
  assert.deepEqual(rows, [{ effects: ids, ids }])
  const { code, stdout } = await tidemark(['verify'], { env: { DATABASE_URL: database.url } })
  assert.equal(code, 0, stdout)
})
