import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import type {
  BatchProcessorConfig,
  ExternalProcessorConfig,
  HandlerContext,
  Message,
  TidemarkConfig,
  TransactionalProcessorConfig,
} from '../../src/config/types.ts'
import { sqlPath } from '../../src/db/folder.ts'
import { createPool } from '../../src/db/pool.ts'
import { HandlerTimeout } from '../../src/errors.ts'
import { Interrupted } from '../../src/process/interruption.ts'
import { observe } from '../../src/rehearse/observe.ts'
import { createDatabase } from '../support/database.ts'

const message = (messageId: string, source = 'p'): Message => ({
  inboxId: messageId,
  source,
  messageId,
  payload: {},
  groupKey: null,
  attempts: 1,
  maxAttempts: 10,
  traceId: 't',
  sourceCreatedAt: null,
})

const silent = (): void => undefined
const contextOf = (signal: AbortSignal): HandlerContext => ({
  log: { debug: silent, info: silent, warn: silent, error: silent },
  signal,
  traceId: 't',
  traceHeaders: () => ({}),
  send: () => Promise.resolve(null),
})

async function world(t: TestContext) {
  const database = await createDatabase(t, { migrated: false })
  const client = await database.client()
  await client.query(readFileSync(sqlPath('rehearse/1_tables.sql'), 'utf8'))
  const limits = { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionMs: 0 }
  const records = createPool({
    url: database.url,
    applicationName: 'r',
    connectTimeoutMs: 10_000,
    limits,
    max: 2,
  })
  t.after(() => records.end())
  const observed = <P extends TransactionalProcessorConfig | ExternalProcessorConfig | BatchProcessorConfig>(
    processor: P,
  ): P => {
    const config: TidemarkConfig = { processors: { x: processor } }
    // What is observed keeps its form.
    return observe(config, records, 'here').processors?.['x'] as P
  }
  return {
    client,
    observed,
    controller: new AbortController(),
    effects: async () =>
      (
        await client.query<Record<string, string>>(
          'SELECT source, message_id, machine FROM tidemark_rehearsal.effect',
        )
      ).rows,
    failures: async () =>
      (
        await client.query<{ id: string }>(
          'SELECT message_id AS id FROM tidemark_rehearsal.handler_failure ORDER BY 1',
        )
      ).rows.map(({ id }) => id),
    runs: async () =>
      (
        await client.query<{ run: string }>(
          `SELECT concat_ws(' ', source, message_id, coalesce(outcome, '-')) AS run FROM tidemark_rehearsal.handler_run ORDER BY run_id`,
        )
      ).rows.map(({ run }) => run),
  }
}

const thrown = new Error('no')
const throws = (): never => {
  throw thrown
}

describe('a transactional handler', () => {
  const run = async (
    t: TestContext,
    handle: TransactionalProcessorConfig['handle'],
    end: 'COMMIT' | 'ROLLBACK',
  ) => {
    const w = await world(t)
    const x = w.observed<TransactionalProcessorConfig>({ from: 'p', contract: 'transactional', handle })
    await w.client.query('BEGIN')
    const context = { ...contextOf(w.controller.signal), tx: w.client }
    const error = await Promise.resolve(x.handle(message('1'), context)).catch((caught: unknown) => caught)
    await w.client.query(end)
    return { ...w, error }
  }

  test('has its effect in its own transaction', async (t) => {
    const committed = await run(t, silent, 'COMMIT')
    assert.deepEqual(await committed.effects(), [{ source: 'p', message_id: '1', machine: 'here' }])
    const rolledBack = await run(t, silent, 'ROLLBACK')
    assert.deepEqual(await rolledBack.effects(), [])
  })

  test('that throws has failed, and throws what it threw', async (t) => {
    const failed = await run(t, throws, 'ROLLBACK')
    assert.equal(failed.error, thrown)
    assert.deepEqual([await failed.effects(), await failed.failures()], [[], ['1']])
  })
})

describe('an external handler', () => {
  test('has a run from before it begins, whose outcome is written at its end', async (t) => {
    const { observed, controller, runs, failures } = await world(t)
    let during: string[] = []
    const good = observed<ExternalProcessorConfig>({
      from: 'p',
      contract: 'external',
      handle: async () => void (during = await runs()),
    })
    await good.handle(message('1'), contextOf(controller.signal))
    assert.deepEqual([during, await runs()], [['p 1 -'], ['p 1 done']])
    const bad = observed<ExternalProcessorConfig>({ from: 'p', contract: 'external', handle: throws })
    await assert.rejects(async () => bad.handle(message('2'), contextOf(controller.signal)), thrown)
    assert.deepEqual([await runs(), await failures()], [['p 1 done', 'p 2 failed'], ['2']])
  })

  test('that is interrupted is told apart from one whose time was up, which fails once', async (t) => {
    for (const [reason, outcome, failed] of [
      [new Interrupted('drain'), 'interrupted', []],
      [new HandlerTimeout(1), 'failed', ['1']],
    ] as const) {
      const { observed, controller, runs, failures } = await world(t)
      const x = observed<ExternalProcessorConfig>({
        from: 'p',
        contract: 'external',
        handle() {
          controller.abort(reason)
          throw thrown
        },
      })
      await assert.rejects(async () => x.handle(message('1'), contextOf(controller.signal)), thrown)
      assert.deepEqual([await runs(), await failures()], [[`p 1 ${outcome}`], failed])
    }
  })
})

describe('a batch handler', () => {
  test('has a run a message, of whatever source, with its own outcome', async (t) => {
    const { observed, controller, runs, failures } = await world(t)
    const outcomes: ('done' | { failed: unknown })[] = ['done', { failed: 'no' }]
    const x = observed<BatchProcessorConfig>({ from: ['p', 'q'], handleBatch: () => outcomes })
    const returned = await x.handleBatch([message('1'), message('1', 'q')], contextOf(controller.signal))
    assert.equal(returned, outcomes)
    assert.deepEqual([await runs(), await failures()], [['p 1 done', 'q 1 failed'], ['1']])
  })

  test('that throws has failed for all, one that returns nothing is done for all', async (t) => {
    const { observed, controller, runs } = await world(t)
    const context = contextOf(controller.signal)
    const bad = observed<BatchProcessorConfig>({ from: 'p', handleBatch: throws })
    await assert.rejects(async () => bad.handleBatch([message('1'), message('2')], context), thrown)
    await observed<BatchProcessorConfig>({ from: 'p', handleBatch: silent }).handleBatch(
      [message('3')],
      context,
    )
    assert.deepEqual(await runs(), ['p 1 failed', 'p 2 failed', 'p 3 done'])
  })
})

test('nothing is forgotten while it is to be counted, and the rest of a config stays as it is', async (t) => {
  const { client } = await world(t)
  const jobs = { j: { cron: '* * * * *', handle: silent } }
  const source = { table: 's', id: 'id', createdAt: 'at' }
  const pollers = { short: { source, retention: '1m' }, long: { source, retention: '30d' } } as const
  const seen = observe({ pollers, jobs }, client, 'here')
  assert.equal(seen.jobs, jobs)
  assert.deepEqual(seen.pollers, {
    short: { source, retention: 7 * 86_400_000 },
    long: { source, retention: 30 * 86_400_000 },
  })
})
