import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { setImmediate as turnOfLoop } from 'node:timers/promises'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { sqlState } from '../../src/db/sqlstate.ts'
import { IntakeRefused, IntakeTooSlow } from '../../src/errors.ts'
import { createGatherer } from '../../src/ingest/gather.ts'
import type { Submission, Taken } from '../../src/ingest/gather.ts'
import { takeMessages } from '../../src/tables/intake.ts'
import type { IntakeRow, TakenMessage } from '../../src/tables/intake.ts'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const LIMIT_MS = 30_000

setFlagsFromString('--expose-gc')
// A context of its own sees it, whenever the flag was set.
const collectGarbage = runInNewContext('gc') as () => void

function submission(
  ids: readonly string[],
  change: Partial<Submission> & { payload?: string } = {},
): Submission {
  const { payload = '1', ...rest } = change
  return {
    source: 'orders',
    turn: {},
    messages: ids.map((messageId) => ({ messageId, groupKey: null, payload })),
    bytes: 100,
    traceId: 't',
    traceparent: null,
    maxAttempts: 10,
    ...rest,
  }
}

/** In another order, the same for the same seed. */
function shuffled(ids: readonly string[], seed: number): string[] {
  const place = (id: string): string => createHash('md5').update(`${seed} ${id}`).digest('hex')
  return ids.toSorted((one, other) => (place(one) < place(other) ? -1 : 1))
}

/** An error as the server gives it. */
function refusal(code: string): Error {
  return Object.assign(new Error('no'), { code, severity: 'ERROR' })
}

/** A database whose statements end when the test says so; every row is new to it. */
function heldWrites() {
  const batches: string[][] = []
  let end: (() => void) | undefined
  return {
    batches,
    write: async (rows: readonly IntakeRow[]): Promise<TakenMessage[]> => {
      batches.push(rows.map(({ messageId }) => messageId))
      await new Promise<void>((resolve) => (end = resolve))
      return rows.map(({ source, messageId: message_id }) => ({ source, message_id }))
    },
    /** Ends the statement in flight, and lets the next one begin. */
    async endOne() {
      end?.()
      await turnOfLoop()
    },
  }
}

describe('requests are gathered', () => {
  test('one that finds nothing in flight goes at once, those that come meanwhile go together', async () => {
    const held = heldWrites()
    const gatherer = createGatherer(held.write)
    const answers = ['a', 'b', 'c'].map((id) => gatherer.submit(submission([id]), LIMIT_MS))
    assert.deepEqual(held.batches, [['a']])
    await held.endOne()
    assert.deepEqual(held.batches, [['a'], ['b', 'c']])
    await held.endOne()
    assert.deepEqual(await Promise.all(answers), Array(3).fill({ accepted: 1, duplicates: 0 }))
    const after = gatherer.submit(submission(['d']), LIMIT_MS)
    assert.deepEqual(held.batches.at(-1), ['d'])
    await held.endOne()
    await after
  })

  test('within bounds of messages and bytes, and one alone fits whatever its size', async () => {
    const held = heldWrites()
    const gatherer = createGatherer(held.write, { rows: 3, bytes: 1_000 })
    const answers = [
      submission(['first']),
      submission(['a', 'b']),
      submission(['c', 'd']),
      submission(['e'], { bytes: 950 }),
      submission(['1', '2', '3', '4', '5']),
    ].map((one) => gatherer.submit(one, LIMIT_MS))
    for (let i = 0; i < 5; i += 1) await held.endOne()
    await Promise.all(answers)
    assert.deepEqual(held.batches, [['first'], ['a', 'b'], ['c', 'd'], ['e'], ['1', '2', '3', '4', '5']])
  })

  test('connections take turns: one that sends much keeps nobody waiting', async () => {
    const held = heldWrites()
    const gatherer = createGatherer(held.write, { rows: 3 })
    const greedy = {}
    const answers = [gatherer.submit(submission(['first']), LIMIT_MS)]
    for (let i = 0; i < 6; i += 1)
      answers.push(gatherer.submit(submission([`greedy ${i}`], { turn: greedy }), LIMIT_MS))
    for (const id of ['one', 'two']) answers.push(gatherer.submit(submission([id]), LIMIT_MS))
    for (let i = 0; i < 4; i += 1) await held.endOne()
    await Promise.all(answers)
    assert.deepEqual(held.batches.slice(1), [
      ['greedy 0', 'one', 'two'],
      ['greedy 1', 'greedy 2', 'greedy 3'],
      ['greedy 4', 'greedy 5'],
    ])
  })

  test('one that waited too long is told so, and never sent', async () => {
    const held = heldWrites()
    const gatherer = createGatherer(held.write)
    const first = gatherer.submit(submission(['a']), LIMIT_MS)
    await assert.rejects(gatherer.submit(submission(['b']), 5), IntakeTooSlow)
    const last = gatherer.submit(submission(['c']), LIMIT_MS)
    await held.endOne()
    await held.endOne()
    await Promise.all([first, last])
    assert.deepEqual(held.batches, [['a'], ['c']])
  })

  test('one that waited too long is not kept', async () => {
    const held = heldWrites()
    const gatherer = createGatherer(held.write)
    const first = gatherer.submit(submission(['a']), LIMIT_MS)
    const kept = await (async () => {
      const request = submission(['b'])
      await assert.rejects(gatherer.submit(request, 5), IntakeTooSlow)
      return new WeakRef(request.messages)
    })()
    await until('it to be let go', async () => {
      await turnOfLoop()
      collectGarbage()
      return kept.deref() === undefined
    })
    await held.endOne()
    await first
  })

  test('one whose limit is over is not sent again when its statement is halved', async () => {
    const batches: string[][] = []
    let fail: (() => void) | undefined
    const gatherer = createGatherer(async (rows) => {
      batches.push(rows.map(({ messageId }) => messageId))
      if (rows.length > 1) await new Promise<void>((_, reject) => (fail = () => reject(refusal('22P02'))))
      return rows.map(({ source, messageId: message_id }) => ({ source, message_id }))
    })
    const others = ['first', 'a'].map((id) => gatherer.submit(submission([id]), LIMIT_MS))
    await assert.rejects(gatherer.submit(submission(['late']), 5), IntakeTooSlow)
    fail?.()
    await Promise.all(others)
    assert.deepEqual(batches, [['first'], ['a', 'late'], ['a']])
  })

  test('one that loses every race is alone in that after two, and the others are not', async () => {
    const batches: string[][] = []
    const gatherer = createGatherer((rows) => {
      const ids = rows.map(({ messageId }) => messageId)
      batches.push(ids)
      return ids.includes('d')
        ? Promise.reject(refusal('40P01'))
        : Promise.resolve(rows.map(({ source, messageId: message_id }) => ({ source, message_id })))
    })
    const answers = await Promise.allSettled(
      ['first', 'a', 'b', 'c', 'd'].map((id) => gatherer.submit(submission([id]), LIMIT_MS)),
    )
    assert.deepEqual(
      answers.map(({ status }) => status),
      [...Array<string>(4).fill('fulfilled'), 'rejected'],
    )
    const tries = ['abcd', 'abcd', 'ab', 'cd', 'cd', 'c', 'd', 'd', 'd', 'd', 'd']
    assert.deepEqual(
      batches.slice(1).map((ids) => ids.join('')),
      tries,
    )
  })

  test('a failure of the database is told to all of the statement, and the next ones go on', async () => {
    let fails = true
    const gatherer = createGatherer((rows) =>
      fails
        ? Promise.reject(new Error('Connection terminated unexpectedly'))
        : Promise.resolve(rows.map(({ source, messageId: message_id }) => ({ source, message_id }))),
    )
    const both = ['a', 'b'].map((id) => gatherer.submit(submission([id]), LIMIT_MS))
    for (const { status } of await Promise.allSettled(both)) assert.equal(status, 'rejected')
    fails = false
    assert.deepEqual(await gatherer.submit(submission(['a']), LIMIT_MS), { accepted: 1, duplicates: 0 })
  })
})

describe('in PostgreSQL', () => {
  test('each message is there once, as it was first sent, and those of a request in their order', async (t) => {
    const pool = (await createDatabase(t)).pool()
    const gatherer = createGatherer((rows, apart) => takeMessages(pool, rows, apart))
    const first = submission(['a', 'b', 'a'], {
      payload: '[12345678901234567890,1.10,1e2]',
      traceId: 't-1',
      traceparent: 'p',
    })
    assert.deepEqual(await gatherer.submit(first, LIMIT_MS), { accepted: 2, duplicates: 1 })
    const answers = await Promise.all([
      gatherer.submit(submission(['z'], { maxAttempts: 3 }), LIMIT_MS),
      gatherer.submit(submission(['b', 'd', 'c'], { traceId: 't-2' }), LIMIT_MS),
      gatherer.submit(submission(['c', 'd']), LIMIT_MS),
      gatherer.submit(submission(['c'], { source: 'other' }), LIMIT_MS),
      gatherer.submit(submission([]), LIMIT_MS),
    ])
    assert.deepEqual(
      answers.map(({ accepted, duplicates }) => `${accepted}+${duplicates}`),
      ['1+0', '2+1', '0+2', '1+0', '0+0'],
    )
    const { rows } = await pool.query(
      `SELECT source || ' ' || message_id || ' ' || payload || ' ' || trace_id || ' ' || max_attempts AS message
         FROM service_ops.integration_inbox ORDER BY inbox_id`,
    )
    assert.deepEqual(
      rows.map(({ message }: { message: string }) => message),
      [
        'orders a [12345678901234567890, 1.10, 100] t-1 10',
        'orders b [12345678901234567890, 1.10, 100] t-1 10',
        'orders d 1 t-2 10',
        'orders c 1 t-2 10',
        'orders z 1 t 3',
        'other c 1 t 10',
      ],
    )
  })

  test('one request with what PostgreSQL refuses is alone refused', async (t) => {
    const pool = (await createDatabase(t)).pool()
    let statements = 0
    const gatherer = createGatherer((rows) => {
      statements += 1
      return takeMessages(pool, rows)
    })
    const answers = await Promise.allSettled(
      Array.from({ length: 9 }, (_, i) =>
        gatherer.submit(submission([`${i}`], { payload: i === 6 ? '"\\u0000"' : '1' }), LIMIT_MS),
      ),
    )
    for (const [i, answer] of answers.entries()) {
      if (i !== 6) assert.equal(answer.status, 'fulfilled')
      else {
        assert.ok(answer.status === 'rejected' && answer.reason instanceof IntakeRefused)
        assert.match(answer.reason.reason, /unicode/i)
      }
    }
    // The first alone, then eight, halved: 4 + 2 + 1 + 1 + 2 and so on, but never one by one.
    assert.equal(statements, 8)
    const { rows } = await pool.query('SELECT count(*)::int AS n FROM service_ops.integration_inbox')
    assert.deepEqual(rows, [{ n: 8 }])
  })

  test('two instances that are sent the same requests, in another order each, do not wait for each other in a ring', async (t) => {
    const database = await createDatabase(t)
    const other = await database.client()
    // Both find the middle of their first request held, and go on at the same moment.
    await other.query('BEGIN')
    await other.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) VALUES ('orders', 'a 1', 't'), ('orders', 'b 1', 't')`,
    )
    const requests = ['a', 'b'].map((name) => submission([0, 1, 2].map((n) => `${name} ${n}`)))
    const states: unknown[] = []
    const taken = [requests, requests.toReversed()].map(async (sent) => {
      const pool = database.pool()
      const gatherer = createGatherer(async (rows) => {
        try {
          return await takeMessages(pool, rows)
        } catch (error) {
          states.push(sqlState(error))
          throw error
        }
      })
      // What finds nothing in flight goes alone.
      const alone = gatherer.submit(submission([randomUUID()]), LIMIT_MS)
      return Promise.all([alone, ...sent.map((one) => gatherer.submit(one, LIMIT_MS))])
    })
    await until('both to wait', async () => {
      const { rows } = await other.query(`SELECT FROM pg_locks WHERE NOT granted AND locktype <> 'relation'`)
      return rows.length >= 2
    })
    await other.query('ROLLBACK')
    const answers = (await Promise.all(taken)).flatMap(([, ...rest]) => rest)
    assert.deepEqual(states, [])
    assert.equal(
      answers.reduce((sum, { accepted }) => sum + accepted, 0),
      6,
    )
  })

  test('instances that are sent the same messages, in another order by each request, take them in, and none loses twice', async (t) => {
    const database = await createDatabase(t)
    // Sooner than a second, for the test's sake.
    await database.pool().query(`ALTER DATABASE ${database.name} SET deadlock_timeout = '100ms'`)
    // Rows so slow that statements which begin together meet, however idle the machine is.
    await database.pool().query(`
      CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.005); RETURN new; END $$;
      CREATE TRIGGER linger BEFORE INSERT ON service_ops.integration_inbox FOR EACH ROW EXECUTE FUNCTION linger()`)
    const INSTANCES = 6
    const SHARED = 40
    const ROUNDS = 4
    const lost: number[] = []
    const taken = Array.from({ length: INSTANCES }, async (_, instance) => {
      const pool = database.pool()
      let deadlocks = 0
      const gatherer = createGatherer(async (rows, apart) => {
        try {
          return await takeMessages(pool, rows, apart)
        } catch (error) {
          assert.equal(sqlState(error), '40P01')
          deadlocks += 1
          throw error
        }
      })
      const answers: Taken[] = []
      for (let round = 0; round < ROUNDS; round += 1) {
        deadlocks = 0
        const ids = Array.from({ length: SHARED }, (_, n) => `${round} ${n}`)
        answers.push(await gatherer.submit(submission(shuffled(ids, instance + INSTANCES * round)), LIMIT_MS))
        lost.push(deadlocks)
      }
      return answers
    })
    const answers = (await Promise.all(taken)).flat()
    assert.equal(
      answers.reduce((sum, { accepted }) => sum + accepted, 0),
      SHARED * ROUNDS,
    )
    t.diagnostic(`${lost.filter((times) => times > 0).length} of ${lost.length} statements lost a race`)
    assert.ok(lost.some((times) => times > 0))
    assert.ok(
      lost.every((times) => times <= 1),
      `lost: ${lost.join()}`,
    )
  })

  test('a deadlock with another over the same ids is tried again', async (t) => {
    const database = await createDatabase(t)
    const pool = database.pool()
    const other = await database.client()
    await other.query('BEGIN')
    const insert = (id: string) =>
      other.query(
        `INSERT INTO service_ops.integration_inbox (source, message_id, trace_id) VALUES ('orders', $1, 't') ON CONFLICT DO NOTHING`,
        [id],
      )
    // Whoever has waited for a second looks for a deadlock, and is the one that ends it: only ours is to.
    await other.query(`SET deadlock_timeout = '1h'`)
    await insert('b')
    const gatherer = createGatherer((rows, apart) => takeMessages(pool, rows, apart))
    const taken = gatherer.submit(submission(['a', 'b']), LIMIT_MS)
    await until('our statement to wait for the other', async () => {
      const { rows } = await other.query('SELECT FROM pg_locks WHERE NOT granted')
      return rows.length > 0
    })
    await Promise.all([insert('a').then(() => other.query('COMMIT')), taken])
    const { accepted, duplicates } = await taken
    assert.equal(accepted + duplicates, 2)
    const { rows } = await pool.query('SELECT count(*)::int AS n FROM service_ops.integration_inbox')
    assert.deepEqual(rows, [{ n: 2 }])
  })
})
