import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { readSettings } from '../../src/config/settings.ts'
import type { Message, TidemarkConfig } from '../../src/config/types.ts'
import { resolveConfig } from '../../src/config/validate.ts'
import type { Pool } from '../../src/db/pool.ts'
import { watchPressure } from '../../src/db/pressure.ts'
import type { IntakeRequest } from '../../src/http/intakePort.ts'
import type { Readiness } from '../../src/http/statusPort.ts'
import { createRunner } from '../../src/runner.ts'
import type { Part } from '../../src/runner.ts'
import { createIntake } from '../../src/runner/intake.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { SILENT_METER } from '../../src/telemetry/metrics/meter.ts'
import { createDatabase } from '../support/database.ts'
import { programEnv } from '../support/programWay.ts'
import { keptLines } from '../telemetry/lines.ts'
import { until } from '../support/until.ts'

const TOKEN = 'a-token-of-more-than-16'

function world(t: TestContext, databaseUrl: string, config: TidemarkConfig) {
  const start = async (instanceId: string, only?: readonly Part[]) => {
    const runner = createRunner(config, {
      settings: readSettings({
        ...programEnv(databaseUrl),
        PORT: '0',
        HOST: '127.0.0.1',
        INTAKE_TOKEN: TOKEN,
      }),
      identity: { instanceId, holder: randomUUID() },
      log: createLog({ service: 'test', instanceId, level: 'critical' }),
      ...(only && { only }),
    })
    t.after(() => runner.stop())
    await runner.start()
    return runner.address ?? ''
  }
  const send = async (address: string, ids: readonly string[]) => {
    const response = await fetch(`${address}/inbox/orders`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'content-type': 'application/json',
        'x-trace-id': 'order-7',
      },
      body: JSON.stringify(ids.map((id) => ({ message_id: id, group_key: 'g', payload: { id } }))),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  return { start, send }
}

describe('an instance that only takes in', () => {
  test('tells those that process, and a message goes from one to the other with its trace', async (t) => {
    const database = await createDatabase(t)
    const done: Message[] = []
    const handle = (message: Message): void => void done.push(message)
    const config: TidemarkConfig = {
      intakes: { orders: {} },
      processors: { packing: { from: 'orders', contract: 'external', maxAttempts: 3, handle } },
    }
    const { start, send } = world(t, database.url, config)
    const listener = await database.client()
    const heard: (string | undefined)[] = []
    listener.on('notification', ({ payload }) => heard.push(payload))
    await listener.query('LISTEN tidemark_inbox')
    const door = await start('door', ['intake'])
    const hands = await start('hands', ['processors'])

    const { status, body } = await send(door, ['a'])
    assert.deepEqual([status, body['accepted'], body['trace_id']], [202, 1, 'order-7'])
    await until('the message to be handled', () => done.length === 1)
    const [message] = done
    assert.deepEqual(
      [
        message?.source,
        message?.messageId,
        message?.groupKey,
        message?.payload,
        message?.traceId,
        message?.sourceCreatedAt,
      ],
      ['orders', 'a', 'g', { id: 'a' }, 'order-7', null],
    )
    await until('the others to be told', () => heard.includes('orders'))
    assert.equal((await send(hands, ['b'])).status, 404)
    const status2 = (await (await fetch(`${door}/status`)).json()) as { processors: { sources: string[] }[] }
    assert.deepEqual(status2.processors[0]?.sources, ['orders'])
  })

  test('forgets what is finished for longer than its retention, and takes the same id in again then', async (t) => {
    const database = await createDatabase(t)
    const pool = database.pool()
    let runs = 0
    const { start, send } = world(t, database.url, {
      intakes: { orders: { retention: '1s' } },
      processors: { packing: { from: 'orders', contract: 'external', handle: () => void (runs += 1) } },
    })
    const address = await start('one')
    assert.equal((await send(address, ['a', 'b', 'newest'])).body['accepted'], 3)
    await until('all but the newest to be forgotten', async () => {
      const { rows } = await pool.query<{ message_id: string }>(
        'SELECT message_id FROM service_ops.integration_inbox',
      )
      return rows.length === 1 && rows[0]?.message_id === 'newest'
    })
    const { body } = await send(address, ['a', 'newest'])
    assert.deepEqual([body['accepted'], body['duplicates']], [1, 1])
    await until('it to be handled again', () => runs === 4)
  })
})

describe('when messages cannot be taken in', () => {
  /** An intake whose every statement fails so. */
  function failing(t: TestContext, error: Error) {
    const lines = keptLines()
    const log = createLog({ service: 'test', instanceId: 'i', sink: lines })
    const counts = { total: 0, idle: 0, waiting: 0 }
    const pool: Pool = {
      max: 10,
      counts,
      query: () => Promise.reject(error),
      prepared: () => Promise.reject(error),
      replan: () => undefined,
      connect: () => Promise.reject(error),
      reset: () => undefined,
      end: () => Promise.resolve(),
    }
    const pressure = watchPressure(pool, log)
    t.after(() => pressure.stop())
    let ready: Readiness = 'ready'
    const intake = createIntake({
      config: resolveConfig({ intakes: { orders: {} } }),
      settings: { intakeToken: TOKEN },
      log,
      meter: SILENT_METER,
      readiness: () => ready,
      pool: () => pool,
      work: () => ({ pressure, announce: () => undefined }),
    })
    assert.ok(intake)
    const request: IntakeRequest = {
      source: 'orders',
      turn: {},
      messages: [{ messageId: 'a', groupKey: null, payload: '1' }],
      bytes: 1,
      traceId: 't',
      traceparent: null,
      limitMs: 30_000,
    }
    return { intake, request, lines, pressure, become: (state: Readiness) => (ready = state) }
  }

  test('for want of connections, nobody asks for one for a while', async (t) => {
    const { intake, request } = failing(t, new Error('timeout exceeded when trying to connect'))
    assert.equal(intake.hindrance(), undefined)
    const answer = await intake.take(request)
    assert.deepEqual([answer.kind, 'error' in answer && answer.error], ['later', 'busy'])
    assert.equal(intake.hindrance()?.error, 'busy')
  })

  test('for a lock, senders are told so, and processors go on claiming', async (t) => {
    const locked = Object.assign(new Error('canceling statement due to lock timeout'), {
      code: '55P03',
      severity: 'ERROR',
    })
    const { intake, request, pressure } = failing(t, locked)
    const answer = await intake.take(request)
    assert.deepEqual([answer.kind, 'error' in answer && answer.error], ['later', 'timeout'])
    assert.deepEqual([pressure.state, intake.hindrance()], ['none', undefined])
  })

  test('for any other reason, senders are told to come again, and the log says why', async (t) => {
    const { intake, request, lines } = failing(t, new Error('Connection terminated unexpectedly'))
    const answer = await intake.take(request)
    assert.deepEqual([answer.kind, 'error' in answer && answer.error], ['later', 'database_unavailable'])
    assert.equal(lines.json.at(-1)?.['event'], 'intake_failed')
  })

  test('for the state that the instance is in, it says so', (t) => {
    const { intake, become } = failing(t, new Error('unused'))
    for (const state of ['starting', 'database_unavailable', 'schema_incompatible'] as const) {
      become(state)
      assert.equal(intake.hindrance()?.error, state)
    }
  })
})
