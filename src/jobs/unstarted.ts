import { PgBoss } from 'pg-boss'
import type { Pool } from '../db/pool.ts'
import { createBossDatabase } from './database.ts'
import { BOSS_SCHEMA } from './schema.ts'

/** pg-boss for a statement or two: never started, it only writes rows as pg-boss writes them. */
export function unstartedBoss(pool: Pool): PgBoss {
  const pg = new PgBoss({
    db: createBossDatabase(pool),
    schema: BOSS_SCHEMA,
    supervise: false,
    schedule: false,
  })
  pg.on('error', () => undefined)
  return pg
}
