import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import type { Queryable } from '../../src/db/pool.ts'
import { createPoller } from '../../src/ingest/poller.ts'
import { until } from '../support/until.ts'
import { createIntake, POLLER, sourceOf } from './fixture.ts'

/*
 * How long ago the pass before began is what a step of the clock is measured by. It must never be told too short: rows
 * that were written since then, dated by the clock before its step, would lie behind where the pass begins.
 */

const SOURCE = 'CREATE TABLE s (id bigint, created_at timestamptz DEFAULT now())'
const WAIT_MS = 300

async function timePasses(): Promise<void> {
  const since = performance.now()
  await until('some time to pass', () => performance.now() - since >= WAIT_MS)
}

/** The times that each begin of a pass was told, in milliseconds; `before` is called before it is sent. */
function beginsOf(db: Queryable, before: (n: number) => Promise<void>): Queryable & { told: number[] } {
  const told: number[] = []
  return {
    told,
    async query(text: string, values?: readonly unknown[]) {
      // The begin alone is told times.
      const since = String(values?.[5])
      if (since.endsWith(' s')) {
        told.push(Number.parseFloat(since) * 1_000)
        await before(told.length)
      }
      return db.query(text, values)
    },
  } as Queryable & { told: number[] }
}

test('a begin that lost a race is told a longer time when it is tried again', async (t) => {
  const intake = await createIntake(t, SOURCE)
  const source = await intake.prepare(sourceOf('s'))
  const db = beginsOf(intake.program, async (n) => {
    if (n > 1) return
    await timePasses()
    const lost = new pg.DatabaseError('canceling statement due to lock timeout', 0, 'error')
    throw Object.assign(lost, { code: '55P03', severity: 'ERROR' })
  })
  const { outcome } = await intake.pass(source, await intake.lead(), { db, sinceMs: 1_000 })
  assert.equal(outcome, 'completed')
  const [first = 0, second = 0] = db.told
  assert.equal(db.told.length, 2)
  assert.ok(second - first >= WAIT_MS - 1, `told ${first} ms, then ${second} ms`)
})

test('the first pass of a lead is told how long it has led already', async (t) => {
  const intake = await createIntake(t, SOURCE)
  const { holder, term, pass } = await intake.lead()
  const db = beginsOf(intake.program, () => Promise.resolve())
  const over = new AbortController()
  const everyMs = 1_000
  const poller = createPoller({
    db,
    name: POLLER,
    source: await intake.prepare(sourceOf('s')),
    everyMs,
    pageSize: 10,
    maxAttempts: 1,
    instanceId: 'me',
    slackMs: 0,
    log: {
      event: () => undefined,
      child() {
        throw new Error('a poller makes no child logs')
      },
      close: () => Promise.resolve(),
    },
    onInserted: () => undefined,
    tick: {
      async next(signal) {
        if (signal.aborted) return undefined
        await timePasses() // its job comes late
        const done = (): Promise<void> => {
          over.abort()
          return Promise.resolve()
        }
        return { dueAt: new Date(), cause: 'job', done }
      },
    },
  })
  const refused = (): void => over.abort()
  await poller.lead({ holder, term, pass, createdEdge: null, signal: over.signal, refused })
  const [told = 0] = db.told
  assert.equal(db.told.length, 1)
  assert.ok(told >= 30_000 + 2 * everyMs + WAIT_MS - 1, `told ${told} ms`)
})
