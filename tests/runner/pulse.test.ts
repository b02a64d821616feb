import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DatabaseError } from 'pg'
import type { Pool } from '../../src/db/pool.ts'
import { createCondition } from '../../src/runner/condition.ts'
import { startPulse } from '../../src/runner/pulse.ts'
import { recordingLog } from '../process/fixture.ts'
import { until } from '../support/until.ts'

test('a role that may not end its own backends is back after a silence all the same', async (t) => {
  const { log, recorded } = recordingLog()
  const condition = createCondition(log, () => undefined)
  let resets = 0
  const pool: Pool = {
    max: 1,
    counts: { total: 0, idle: 0, waiting: 0 },
    connect: () => Promise.reject(new Error('not asked for')),
    prepared: () => Promise.reject(new Error('not asked for')),
    replan: () => undefined,
    query: () =>
      Promise.reject(
        Object.assign(new DatabaseError('permission denied for function pg_terminate_backend', 0, 'error'), {
          severity: 'ERROR',
          code: '42501',
        }),
      ),
    reset: () => void (resets += 1),
    end: () => Promise.resolve(),
  }
  let silent = true
  const pulse = startPulse({
    probe: {
      asked: () => () => undefined,
      staleInMs: 1_000,
      look: () => Promise.resolve(silent ? { ok: false, class: 'ProbeTimeout' } : { ok: true, latencyMs: 1 }),
    },
    pools: { work: pool, reserved: pool, pulse: pool },
    condition,
    applicationName: 'tidemark:one',
    log,
  })
  t.after(() => pulse.stop())
  await until('the connections to be broken', () => resets > 0)
  silent = false
  await until('it to be back', () => !condition.databaseAway)
  assert.equal(recorded.of('loop_failed').length, 1)
})

test('the pulse looks as soon as what is known has become too old, however soon that is', async (t) => {
  const { log } = recordingLog()
  let looks = 0
  const pulse = startPulse({
    probe: {
      asked: () => () => undefined,
      staleInMs: 1,
      look: () => Promise.resolve({ ok: true, latencyMs: (looks += 1) }),
    },
    // Nothing is broken here, so nothing is asked of them.
    pools: {} as never,
    condition: createCondition(log, () => undefined),
    applicationName: 'tidemark:one',
    log,
  })
  t.after(() => pulse.stop())
  await until('looks', () => looks >= 30, 25_000)
})
