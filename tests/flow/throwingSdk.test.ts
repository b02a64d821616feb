import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { readSettings } from '../../src/config/settings.ts'
import { createRunner } from '../../src/runner.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createDatabase } from '../support/database.ts'
import { receiver } from '../support/receiver.ts'
import { THROWING, throwingSdk } from '../support/spans.ts'
import { until } from '../support/until.ts'

const TOKEN = 'a-token-of-more-than-16'

for (const part of THROWING)
  test(`an OpenTelemetry SDK whose ${part} throws changes nothing: requests, passes, handlers, deliveries and jobs go on`, async (t) => {
    const sdk = throwingSdk(t, part)
    const database = await createDatabase(t)
    const sql = database.pool()
    await sql.query(`CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
      INSERT INTO arrival VALUES (1)`)
    const target = await receiver(t)
    const done: string[] = []
    const runner = createRunner(
      {
        intakes: { calls: {} },
        pollers: { arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' } },
        processors: {
          hook: { from: 'calls', deliver: { url: target.url, secret: target.secret } },
          reader: {
            from: 'arrivals',
            contract: 'external',
            handle: async (_message, { send }) => {
              await send('mail', 1)
            },
          },
        },
        jobs: {
          mail: { handle: (_job, context) => void done.push(Object.keys(context.traceHeaders()).join()) },
        },
      },
      {
        settings: readSettings({
          DATABASE_URL: database.url,
          PORT: '0',
          HOST: '127.0.0.1',
          INTAKE_TOKEN: TOKEN,
        }),
        identity: { instanceId: 'one', holder: randomUUID() },
        log: createLog({ service: 'test', instanceId: 'one', level: 'critical' }),
      },
    )
    t.after(() => runner.stop())
    await runner.start()
    const traceId = randomBytes(16).toString('hex')
    const answer = await fetch(`${runner.address ?? ''}/inbox/calls`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'content-type': 'application/json',
        traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01`,
      },
      body: JSON.stringify({ message_id: 'a', payload: {} }),
    })
    assert.deepEqual(
      [answer.status, ((await answer.json()) as { trace_id: string }).trace_id],
      [202, traceId],
    )
    await until('the job', () => done.length > 0)
    const states = async () =>
      (
        await sql.query<{ state: string }>(
          `SELECT source || ' ' || status || ' ' || attempts AS state FROM service_ops.integration_inbox ORDER BY 1`,
        )
      ).rows.map(({ state }) => state)
    await until('both to be done', async () => (await states()).every((state) => state.includes('DONE')))
    assert.deepEqual(await states(), ['arrivals DONE 1', 'calls DONE 1'])
    assert.deepEqual([target.arrivals.length, done.length], [1, 1])
    assert.ok(sdk.asked > 3, `asked ${sdk.asked} times`)
  })
