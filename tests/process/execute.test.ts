import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Message, TransactionalContext } from '../../src/config/types.ts'
import { TransactionOver } from '../../src/errors.ts'
import { until } from '../support/until.ts'
import { hang, inbox, processorOn, programPool } from './fixture.ts'

const note = (message: Message, tx: TransactionalContext['tx']) =>
  tx.query('INSERT INTO effect VALUES ($1)', [message.messageId])

/** What a batch handler in plain JavaScript may return, alone with its message. */
const ODD: Readonly<Record<string, { returns: unknown; says: RegExp }>> = {
  hole: { returns: new Array(1), says: /handleBatch returned neither 'done' nor .* as outcome 1 of 1/ },
  word: { returns: 'done', says: /handleBatch returned string for 1 messages/ },
  nothing: { returns: null, says: /handleBatch returned object for 1 messages/ },
  other: { returns: ['dead'], says: /handleBatch returned neither/ },
}

describe('a handler that fails', () => {
  test('is run again up to its limit, ends DEAD with the reason, leaves no effect, and hinders nobody', async (t) => {
    const { url, send, become, effects, lastErrors } = await inbox(t)
    const processor = processorOn(t, programPool(t, url), {
      kind: 'transactional',
      async handle(message, { tx }) {
        await note(message, tx)
        if (message.messageId === 'poison') throw new RangeError('no such tooth\nand more')
      },
    })
    await send('a', 'poison', 'b')
    processor.start()
    await become({ a: 'DONE 1', poison: 'DEAD 3', b: 'DONE 1' })
    assert.deepEqual(await effects(), ['a', 'b'])
    assert.equal((await lastErrors())['poison'], 'RangeError: no such tooth')
    await until('its end to be said', () => processor.log.of('message_dead').length === 1)
    assert.equal(processor.log.of('message_failed').length, 2)
  })

  for (const kind of ['transactional', 'external'] as const) {
    test(`by hanging past its timeout (${kind}) burns an attempt, however deaf it is`, async (t) => {
      const { url, send, become, effects, lastErrors } = await inbox(t)
      const signals: AbortSignal[] = []
      const handle = async (
        message: Message,
        context: { signal: AbortSignal } & Partial<TransactionalContext>,
      ) => {
        if (context.tx !== undefined) await note(message, context.tx)
        if (message.messageId !== 'deaf') return
        signals.push(context.signal)
        await hang()
      }
      const choices = { timeoutMs: 1_500, maxAttempts: 2 }
      const processor = processorOn(t, programPool(t, url), { kind, handle }, choices)
      await send('deaf', 'b')
      processor.start()
      await become({ deaf: 'DEAD 2', b: 'DONE 1' })
      assert.match((await lastErrors())['deaf'] ?? '', /^HandlerTimeout: .* 1500 ms$/)
      assert.deepEqual(
        signals.map((signal) => signal.aborted),
        [true, true],
      )
      assert.deepEqual(await effects(), kind === 'transactional' ? ['b'] : [])
    })
  }

  test('by its timeout in the middle of a statement leaves no backend behind', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const handle = (_: Message, { tx }: TransactionalContext) =>
      tx.query('SELECT pg_sleep(3600)').then(() => undefined)
    const processor = processorOn(
      t,
      programPool(t, url),
      { kind: 'transactional', handle },
      { timeoutMs: 1_500, maxAttempts: 1 },
    )
    await send('slow')
    processor.start()
    await become({ slow: 'DEAD 1' })
    const sleeping = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()`
    await until('its backend to end', async () => (await sql.query(sleeping)).rowCount === 0)
  })
})

describe('a pause of the process', () => {
  test('uses up nobody’s limit, though its end comes before the answers that arrived meanwhile', async (t) => {
    const { url, sql, send, become } = await inbox(t)
    const handle = async (_: Message, { tx }: TransactionalContext) => {
      await tx.query('SELECT pg_sleep(1)')
    }
    const processor = processorOn(
      t,
      programPool(t, url),
      { kind: 'transactional', handle },
      { timeoutMs: 2_500, maxAttempts: 1 },
    )
    await send('a')
    processor.start()
    const sleeping = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`
    await until('it to run', async () => (await sql.query(sleeping)).rowCount === 1)
    // To timers and sockets a blocked event loop is what SIGSTOP is.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4_000)
    await become({ a: 'DONE 1' })
  })
})

describe('a transaction of a handler', () => {
  test('whose COMMIT is refused, or rolls back silently, counts as a failure and writes nothing', async (t) => {
    const { url, sql, send, become, effects, lastErrors } = await inbox(t)
    await sql.query('ALTER TABLE effect ADD UNIQUE (message_id) DEFERRABLE INITIALLY DEFERRED')
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'transactional',
        async handle(message, { tx }) {
          await note(message, tx)
          if (message.messageId === 'twice') await note(message, tx)
          // The failed statement has undone the whole transaction, whoever catches its error.
          if (message.messageId === 'swallows') await tx.query('SELECT nonsense').catch(() => undefined)
        },
      },
      { maxAttempts: 2 },
    )
    await send('twice', 'swallows', 'good')
    processor.start()
    await become({ twice: 'DEAD 2', swallows: 'DEAD 2', good: 'DONE 1' })
    assert.deepEqual(await effects(), ['good'])
    const errors = await lastErrors()
    assert.match(errors['twice'] ?? '', /unique constraint/)
    assert.match(errors['swallows'] ?? '', /^CommitRolledBack: /)
  })

  test('is over when the handler is: what comes late is refused and reaches nobody', async (t) => {
    const { url, send, become, effects } = await inbox(t)
    const kept = new Map<string, { message: Message; tx: TransactionalContext['tx'] }>()
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'transactional',
        async handle(message, { tx }) {
          kept.set(message.messageId, { message, tx })
          if (message.messageId === 'fails') throw new Error('no')
          if (message.messageId === 'late') await hang()
        },
      },
      { maxAttempts: 1, timeoutMs: 1_500 },
    )
    await send('done', 'fails', 'late')
    processor.start()
    await become({ done: 'DONE 1', fails: 'DEAD 1', late: 'DEAD 1' })
    for (const { message, tx } of kept.values()) assert.throws(() => void note(message, tx), TransactionOver)
    assert.deepEqual(await effects(), [])
  })

  test('whose backend is ended in the middle is run again, takes effect once, and costs no attempt', async (t) => {
    const { url, sql, send, become, effects } = await inbox(t)
    const runs: string[] = []
    const ended = async (tx: TransactionalContext['tx']): Promise<void> => {
      const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      const pid = [rows[0]?.pid]
      await sql.query('SELECT pg_terminate_backend($1)', pid)
      const left = 'SELECT FROM pg_stat_activity WHERE pid = $1'
      await until('the backend to be gone', async () => (await sql.query(left, pid)).rowCount === 0)
    }
    const processor = processorOn(t, programPool(t, url), {
      kind: 'transactional',
      async handle(message, { tx }) {
        runs.push(message.messageId)
        await note(message, tx)
        if (runs.filter((id) => id === message.messageId).length > 1) return
        await ended(tx)
        // One says what the database said, one says something of its own, one says nothing.
        if (message.messageId === 'tells') await note(message, tx)
        if (message.messageId === 'disguises') throw new Error('something went wrong')
      },
    })
    await send('tells', 'disguises', 'silent')
    processor.start()
    await become({ tells: 'DONE 1 +1', disguises: 'DONE 1 +1', silent: 'DONE 1 +1' })
    assert.deepEqual(await effects(), ['disguises', 'silent', 'tells'])
    assert.equal(runs.length, 6)
    assert.deepEqual(processor.log.of('message_failed'), [])
  })
})

describe('handleBatch', () => {
  test('that throws has its messages run again alone, so that the poison one is alone', async (t) => {
    const { url, send, become, lastErrors } = await inbox(t)
    const calls: string[][] = []
    const processor = processorOn(t, programPool(t, url), {
      kind: 'batch',
      batchSize: 10,
      async handle(messages) {
        const ids = messages.map(({ messageId }) => messageId)
        calls.push(ids)
        if (ids.includes('poison')) throw new TypeError('bad one')
      },
    })
    await send('a', 'poison', 'b')
    processor.start()
    await become({ a: 'DONE 1', poison: 'DEAD 3', b: 'DONE 1' })
    assert.deepEqual(calls.slice(0, 4), [['a', 'poison', 'b'], ['a'], ['poison'], ['b']])
    assert.equal((await lastErrors())['poison'], 'TypeError: bad one')
  })

  test('may say of each message what became of it; a list of another length counts as a throw', async (t) => {
    const { url, send, become, lastErrors } = await inbox(t)
    const processor = processorOn(
      t,
      programPool(t, url),
      {
        kind: 'batch',
        batchSize: 10,
        async handle(messages) {
          if (messages.some(({ messageId }) => messageId === 'short')) return []
          const odd = messages.map(({ messageId }) => ODD[messageId]).find((one) => one !== undefined)
          if (odd !== undefined) return odd.returns as never
          return messages.map(({ messageId }) =>
            messageId === 'b' ? { failed: new Error('not b') } : 'done',
          )
        },
      },
      { maxAttempts: 1 },
    )
    await send('a', 'b', 'c')
    processor.start()
    await become({ a: 'DONE 1', b: 'DEAD 1', c: 'DONE 1' })
    await send('short')
    processor.wake()
    await become({ short: 'DEAD 1' })
    assert.equal((await lastErrors())['b'], 'Error: not b')
    assert.match((await lastErrors())['short'] ?? '', /0 outcomes for 1 messages/)
    await send(...Object.keys(ODD))
    processor.wake()
    await become(Object.fromEntries(Object.keys(ODD).map((id) => [id, 'DEAD 1'])))
    for (const [id, { says }] of Object.entries(ODD)) assert.match((await lastErrors())[id] ?? '', says)
  })

  test('that fails by its timeout is not repeated past a stop: what is left is given back unrun', async (t) => {
    const { url, send, fates } = await inbox(t)
    const calls: string[][] = []
    const processor = processorOn(t, programPool(t, url), {
      kind: 'batch',
      batchSize: 10,
      async handle(messages) {
        calls.push(messages.map(({ messageId }) => messageId))
        if (messages.length > 1) throw new Error('all at once')
        await hang()
      },
    })
    await send('a', 'b', 'c')
    processor.start()
    await until('the first to run alone', () => calls.length === 2)
    await processor.drain(50)
    assert.deepEqual(await fates(), { a: 'NEW 0 +1', b: 'NEW 0 +1', c: 'NEW 0 +1' })
    assert.deepEqual(calls, [['a', 'b', 'c'], ['a']])
  })
})
