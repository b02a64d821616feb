import { pgbouncerMissing } from '../../support/pgbouncer.ts'
import { SOURCES as POLLED } from '../config.ts'
import type { Fault } from '../fault.ts'
import type { Stage } from '../stage.ts'

/** The instances really go through it, and know of it. */
function pooled({ machines }: Stage): void {
  for (const one of machines.living)
    if (one.of('pooler_detected').length === 0) throw new Error(`${one.id} has met no pooler`)
}

export const POOLER: readonly Fault[] = [
  {
    name: 'pgbouncer_deploy',
    title: 'PgBouncer in transaction mode in front, and a blue-green deploy under it',
    way: 'pgbouncer',
    missing: pgbouncerMissing,
    async happen(stage) {
      const { machines, flows } = stage
      const blue = machines.living
      await Promise.all(blue.map(() => machines.start({ release: 'green' })))
      pooled(stage)
      await flows(60)
      await Promise.all(blue.map((one) => machines.stop(one)))
      await flows(30)
    },
  },
  {
    name: 'pgbouncer_kill',
    title: 'PgBouncer in transaction mode in front, and leaders are killed under it',
    way: 'pgbouncer',
    missing: pgbouncerMissing,
    mayRunAgain: 'handlers were at work when their process was killed',
    mayBurn: 'the same',
    async happen(stage, random) {
      const { machines, flows } = stage
      pooled(stage)
      for (let i = 0; i < 2; i += 1) {
        await machines.crash(await machines.aLeader(random.pick(POLLED)))
        await machines.start()
        await flows(60)
      }
    },
  },
]
