import { until } from '../../support/until.ts'
import { inWorkAt, keepBusy, pastSince } from '../atWork.ts'
import { LED_TASKS } from '../config.ts'
import type { Fault } from '../fault.ts'

const KILLS = 3
const EVERY_MS = 5_000
/** Longer than handlers of other rows, so that the killed one surely has some in work. */
const HANDLER_MS = 800

export const KILLS_OF_LEADERS: readonly Fault[] = [
  {
    name: 'leader_killed_every_5_s',
    title: `kill -9 of a leader with handlers at work, ${KILLS} times, 5 s apart, and a fresh instance each time`,
    mayRunAgain: 'a handler had ended when its process was killed, and its outcome was not written yet',
    mayBurn: 'a handler was at work when its process was killed',
    async happen(stage, random) {
      const { machines, pool } = stage
      for (let kill = 1; kill <= KILLS; kill += 1) {
        const task = random.pick(LED_TASKS)
        const victim = await machines.aLeader(task)
        await keepBusy(stage, victim, HANDLER_MS)
        const since = performance.now()
        await machines.crash(victim)
        // Nobody takes back what the dead had within the seconds that they look for: this is what it died with.
        if ((await inWorkAt(stage, victim)) === 0) throw new Error('the killed leader had nothing in work')
        await machines.start()
        await until(
          'leaders in its place',
          async () => {
            const { rows } = await pool.query(
              'SELECT FROM service_ops.background_task_leader WHERE instance_id <> $1 AND expires_at > clock_timestamp()',
              [victim.id],
            )
            return rows.length === LED_TASKS.length
          },
          60_000,
        )
        await pastSince(since, EVERY_MS)
      }
    },
  },
]
