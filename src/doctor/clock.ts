import { warning, type Check } from './check.ts'
import { sql } from './statements.ts'

/** Nothing hangs on this host's clock but the times of its log, signatures of requests, and times that a client sets. */
export const clock: Check = {
  name: 'clock',
  title: "This host's clock and the database's agree.",
  async run(context) {
    const database = context.database()
    const before = context.now()
    const { rows } = await database.query<{ ms: number }>(sql.clock)
    const after = context.now()
    const [row] = rows
    if (row === undefined) return []
    // Somewhere between the two the database looked at its own.
    const apart = row.ms < before ? row.ms - before : Math.max(0, row.ms - after)
    if (Math.abs(apart) <= context.limits.clockMs) return []
    const seconds = (Math.abs(apart) / 1000).toFixed(1)
    return [
      warning(
        `this host's clock is ${seconds} s ${apart < 0 ? 'ahead of' : 'behind'} the database's: logs of the two do not fit together, and signed requests may be refused`,
        'turn on time synchronisation on both (timedatectl set-ntp true)',
      ),
    ]
  },
}
