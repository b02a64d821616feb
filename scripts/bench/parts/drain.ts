import { bareDrain } from '../contestants/bare.ts'
import { bossDrains } from '../contestants/boss.ts'
import { bullDrain } from '../contestants/bull.ts'
import { graphileDrain } from '../contestants/graphile.ts'
import { BATCH, BATCHED, GUARANTEES, ownDrain, SETTINGS, SINGLE } from '../contestants/own.ts'
import type { Part } from '../part.ts'
import { NO_REDIS, startRedis } from '../redis.ts'
import type { BenchServer } from '../server.ts'

/**
 * A full inbox to empty with a handler that does nothing, one process: beside bare SQL, which is the limit, and beside what
 * people would pick instead, each in the settings that its documentation recommends for speed.
 */
export async function drainPart(server: BenchServer, rows: number): Promise<Part> {
  const redis = await startRedis()
  const marking = bareDrain(server, rows, BATCH, {
    name: 'bare claim and mark, partial index on status',
    claim: 'bare_claim',
    finish: 'bare_mark',
  })
  const ownLayout = bareDrain(server, rows, BATCH, {
    name: 'bare claim and mark, our own layout',
    claim: 'own_claim',
    finish: 'own_mark',
  })
  const deleting = bareDrain(server, rows, BATCH, {
    name: 'bare claim and delete, partial index on status',
    claim: 'bare_claim',
    finish: 'bare_delete',
  })
  const batched = ownDrain(server, rows, {
    name: `Tidemark, batches of ${BATCH}`,
    config: BATCHED,
    settings: SETTINGS.batched,
    guarantees: GUARANTEES.external,
  })
  const single = ownDrain(server, rows, {
    name: 'Tidemark, one at a time',
    config: SINGLE,
    settings: SETTINGS.single,
    guarantees: GUARANTEES.external,
  })
  const graphile = await graphileDrain(server, rows)
  const bosses = await bossDrains(server, rows)
  const bulls = redis === undefined ? [] : [await bullDrain(redis, rows)]
  const of = batched.name
  return {
    name: 'drain',
    title: 'inbox to DONE, no-op handler, one process, payloads of 200 bytes',
    messages: rows,
    contestants: [marking, ownLayout, deleting, batched, single, graphile, ...bosses, ...bulls],
    against: marking.name,
    floors: [
      { of, against: marking.name, least: 1.2 },
      { of, against: ownLayout.name, least: 0.7 },
      { of, against: graphile.name, least: 1.7 },
      ...bosses.map(({ name }) => ({ of, against: name, least: 2.3 })),
      ...bulls.map(({ name }) => ({ of, against: name, least: 4 })),
      { of: single.name, against: of, least: 0.8 },
    ],
    notes: redis === undefined ? [NO_REDIS] : [],
    async close() {
      await redis?.end()
    },
  }
}
