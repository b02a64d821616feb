import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { Pace } from '../../src/process/ahead.ts'
import { reclaimFrom } from '../../src/process/reclaim.ts'
import { claimMessages, countBegun, giveBackStrays, writeFailed } from '../../src/tables/inbox.ts'
import { until } from '../support/until.ts'
import { inbox, INSTANCE, processorOn, programPool, recordingLog, SOURCE } from './fixture.ts'
import { listened } from './listened.ts'

/* Claiming ahead of quick handlers, and what it costs whom when they turn slow, or their process ends. */

const QUICK = 2_000
const SLOW = 400
const CONCURRENCY = 4

/** Quick messages, and a backlog behind them whose handlers go on until they are released. */
async function turningSlow(t: TestContext) {
  const box = await inbox(t)
  const pool = programPool(t, box.url)
  const released = Promise.withResolvers<undefined>()
  const begun: string[] = []
  const claims: number[] = []
  const counted = listened(pool, async (text, ask) => {
    const result = await ask()
    if (text.includes('SKIP LOCKED') && result.rows.length > 0) claims.push(result.rows.length)
    return result
  })
  let isPaused = false
  const processor = processorOn(
    t,
    counted,
    {
      kind: 'external',
      handle: async ({ messageId }) => {
        if (messageId.startsWith('quick')) return
        begun.push(messageId)
        await released.promise
      },
    },
    { concurrency: CONCURRENCY },
    INSTANCE,
    undefined,
    () => isPaused,
  )
  await box.send(...names('quick', QUICK), ...names('slow', SLOW))
  return {
    ...box,
    pool,
    processor,
    begun,
    claims,
    release: () => released.resolve(undefined),
    pause: (): void => {
      isPaused = true
      processor.wake()
    },
    /** The places are taken, and some that were claimed have none. */
    waits: () =>
      until('some to wait', () => begun.length === CONCURRENCY && processor.state.inWork > CONCURRENCY),
    count: async (where: string): Promise<number> => {
      const { rows } = await box.sql.query<{ n: number }>(
        `SELECT count(*)::integer AS n FROM service_ops.integration_inbox WHERE ${where}`,
      )
      return rows[0]?.n ?? 0
    },
  }
}

const names = (kind: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${kind}-${String(i).padStart(4, '0')}`)

describe('what is claimed ahead of quick handlers', () => {
  test('is done with one attempt each, in a few claims', async (t) => {
    const { processor, claims, release, count } = await turningSlow(t)
    release()
    processor.start()
    await until('all to be done', () => processor.state.finished === QUICK + SLOW)
    assert.equal(await count(`status = 'DONE' AND attempts = 1 AND interruptions = 0`), QUICK + SLOW)
    assert.ok(claims.length < (QUICK + SLOW) / CONCURRENCY / 2, `${claims.length} claims`)
  })

  test('waits uncounted; what runs on is counted, and what waits for long is given back', async (t) => {
    const { processor, release, waits, count } = await turningSlow(t)
    processor.start()
    await waits()
    const running = `status = 'PROCESSING' AND attempts = 1 AND locked_at IS NOT NULL`
    await until('what runs to be counted', async () => (await count(running)) === CONCURRENCY)
    assert.equal(await count(`status = 'PROCESSING' AND attempts <> (locked_at IS NOT NULL)::integer`), 0)
    await until('the rest to be given back', () => processor.state.inWork === CONCURRENCY)
    assert.equal(await count(`status = 'PROCESSING'`), CONCURRENCY)
    assert.ok((await count(`status = 'NEW' AND attempts = 0 AND interruptions = 1`)) > 0)
    assert.deepEqual(
      new Set(processor.log.of('message_interrupted').map(({ reason }) => reason)),
      new Set(['no place was free']),
    )
    release()
    await until(
      'all to be done',
      async () => (await count(`status = 'DONE' AND attempts = 1`)) === QUICK + SLOW,
    )
  })

  for (const [what, act] of [
    ['a drain', ({ processor }) => processor.stopClaiming()],
    ['a pause', ({ pause }) => pause()],
  ] as [string, (world: Awaited<ReturnType<typeof turningSlow>>) => void][]) {
    test(`is given back at once by ${what}, and costs no attempt`, async (t) => {
      const world = await turningSlow(t)
      const { processor, begun, waits, count } = world
      processor.start()
      await waits()
      act(world)
      await until('what waits to be given back', () => processor.state.inWork === CONCURRENCY)
      assert.equal(begun.length, CONCURRENCY)
      assert.equal(
        await count(`status = 'NEW' AND attempts = 0 AND interruptions > 0`),
        await count('interruptions > 0'),
      )
    })
  }

  test('costs no attempt when the process dies; what ran does', async (t) => {
    const { processor, pool, begun, waits, count } = await turningSlow(t)
    processor.start()
    await waits()
    await until(
      'what runs to be counted',
      async () => (await count(`status = 'PROCESSING' AND locked_at IS NOT NULL`)) === CONCURRENCY,
    )
    // Those that ended quickly are uncounted too until their outcome is written.
    await until('the quick ones to be done', () => processor.state.finished === QUICK)
    const waited = await count(`status = 'PROCESSING' AND locked_at IS NULL`)
    await reclaimFrom(pool, INSTANCE, 'dead', recordingLog().log)
    assert.ok(waited > 0)
    assert.equal(
      await count(`status = 'NEW' AND suspect AND attempts = 0 AND interruptions > 0 AND last_error IS NULL`),
      waited,
    )
    assert.equal(
      await count(`status = 'FAILED' AND suspect AND attempts = 1 AND interruptions = 0`),
      CONCURRENCY,
    )
    assert.equal(begun.length, CONCURRENCY)
  })

  test('does not begin again when a server that crashed has forgotten its claim', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const released = Promise.withResolvers<undefined>()
    let begun = 0
    const handle = async (): Promise<void> => {
      begun += 1
      await released.promise
    }
    const processor = processorOn(t, programPool(t, url), { kind: 'external', handle })
    await send('a')
    processor.start()
    await until('it to begin', () => begun === 1)
    await sql.query(
      `UPDATE service_ops.integration_inbox SET status = 'NEW', claim = 0, attempts = 0, locked_by = NULL, locked_at = NULL, next_attempt_at = now()`,
    )
    processor.wake()
    await become({ a: 'PROCESSING 1' })
    released.resolve(undefined)
    await become({ a: 'DONE 1' })
    assert.equal(begun, 1)
  })
})

describe('a claim ahead', () => {
  const request = {
    sources: [SOURCE],
    instanceId: INSTANCE,
    limit: 10,
    low: '0',
    maxAttempts: 2,
    maxBytes: 2 ** 20,
  }

  test('is counted once, by the mark or by the outcome', async (t) => {
    const { sql, send, fates } = await inbox(t)
    await send('marked', 'plain')
    const rows = await claimMessages(sql, { ...request, ahead: true })
    assert.deepEqual(
      rows.map(({ attempts }) => attempts),
      [1, 1],
      'as the handler sees it',
    )
    assert.deepEqual(await fates(), { marked: 'PROCESSING 0', plain: 'PROCESSING 0' })
    const claims = rows.map((row) => ({ inboxId: row.inbox_id, claim: row.claim }))
    await countBegun(sql, INSTANCE, claims.slice(0, 1))
    await countBegun(sql, INSTANCE, claims.slice(0, 1))
    assert.deepEqual(await fates(), { marked: 'PROCESSING 1', plain: 'PROCESSING 0' })
    await writeFailed(
      sql,
      INSTANCE,
      claims.map((claim) => ({ ...claim, error: 'x', waitMs: -1 })),
    )
    assert.deepEqual(await fates(), { marked: 'FAILED 1', plain: 'FAILED 1' })
    const again = await claimMessages(sql, { ...request, ahead: true })
    await writeFailed(
      sql,
      INSTANCE,
      again.map((row) => ({ inboxId: row.inbox_id, claim: row.claim, error: 'x', waitMs: 0 })),
    )
    assert.deepEqual(await fates(), { marked: 'DEAD 2', plain: 'DEAD 2' })
  })

  test('whose answer was lost is given back uncounted', async (t) => {
    const { sql, send, fates } = await inbox(t)
    await send('a')
    await claimMessages(sql, { ...request, ahead: true })
    assert.equal(await giveBackStrays(sql, INSTANCE, [SOURCE], '0', []), 1)
    assert.deepEqual(await fates(), { a: 'NEW 0 +1' })
  })

  test('does not wait for the disk, unless it must outlive the server', async (t) => {
    const { sql, send } = await inbox(t)
    /** Whether the claim of one message was on disk when it was answered: nobody else writes it there but the server, a while later. */
    const isDurable = async (durable: boolean): Promise<boolean> => {
      await send(`${Math.random()}`)
      await claimMessages(sql, { ...request, limit: 1, durable })
      const { rows } = await sql.query<{ all: boolean }>(
        'SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() AS "all"',
      )
      return rows[0]?.all === true
    }
    await until('a claim that is not on disk', async () => !(await isDurable(false)))
    await until('a claim that is', () => isDurable(true))
  })
})

describe('the pace of handlers', () => {
  const paced = () => {
    let at = 0
    const pace = new Pace(() => at)
    const pass = (ms: number, ended: number): void => {
      at += ms
      for (let i = 0; i < ended; i += 1) pace.ended()
    }
    return { pace, pass }
  }

  test('lets nothing be claimed ahead where handlers take longer than a claim', () => {
    const { pace, pass } = paced()
    pace.turned(true)
    for (let i = 0; i < 20; i += 1) {
      pass(100, 24)
      assert.equal(pace.ahead(24), 0)
    }
  })

  test('follows quick handlers within a few claims, up to a bound, and slow ones as fast', () => {
    const { pace, pass } = paced()
    pace.turned(true)
    pass(1, 24)
    assert.ok(pace.ahead(24) > 0)
    for (let i = 0; i < 10; i += 1) {
      pass(10, 5_000)
      pace.ahead(24)
    }
    assert.equal(pace.ahead(24), 1_000)
    let claims = 0
    while (pace.ahead(24) > 0) {
      pass(100, 24)
      claims += 1
    }
    assert.ok(claims <= 12, `${claims}`)
  })

  test('is not what slow claims let them do', () => {
    const { pace, pass } = paced()
    for (let i = 0; i < 10; i += 1) {
      pace.turned(true)
      pass(2, 100)
      pace.turned(false)
      pass(1_000, 0)
      pace.ahead(24)
    }
    assert.equal(pace.ahead(24), 1_000)
  })
})
