/**
 * Missing rights: says once that this role may not use what is ours any more, with the GRANT, and once that it may again.
 *
 * As with missing tables, a loop whose statement fails cannot know whether it is the only one. The pools tell every
 * failure to this one place; where it speaks of a right, the catalogs are asked which of ours is lacking, and again every
 * second until none is. A right on something of the user's (a handler's table, a source) is no concern of this place: its
 * handler or its poller says what it lacks.
 */
import type { Queryable } from '../db/pool.ts'
import { errorClass } from '../db/sqlstate.ts'
import { PermissionMissing } from '../errors.ts'
import { startLoop } from '../kit/loop.ts'
import { requireGrants } from '../tables/permission.ts'
import type { Log } from '../telemetry/log.ts'

export interface Denied {
  /** A statement failed; when it speaks of a right, ours are looked at soon. */
  failed(db: Queryable, error: unknown): void
  /** Something failed that does not say why: ours are looked at soon. */
  suspect(db: Queryable): void
  stop(): Promise<void>
}

/** Between two looks while a right is missing: the GRANT has done its work, and ours goes on by itself. */
const LOOK_MS = 1_000

/** The loop sleeps until a failure wakes it. */
const ASLEEP_MS = 3_600_000

export function createDenied(log: Log, schemas: readonly string[]): Denied {
  let suspected: Queryable | undefined
  let said: string | undefined

  function say(missing: PermissionMissing): void {
    if (said === missing.message) return
    said = missing.message
    log.event('permission_missing', `CRITICAL: ${missing.message}; work goes on by itself then`, {
      role: missing.role,
      objects: missing.missing.map(({ object }) => object),
      grants: missing.missing.map(({ grant }) => grant),
    })
  }

  const loop = startLoop({
    async body() {
      if (suspected === undefined) return ASLEEP_MS
      try {
        await requireGrants(suspected, schemas)
      } catch (error) {
        if (!(error instanceof PermissionMissing)) throw error
        say(error)
        return LOOK_MS
      }
      suspected = undefined
      if (said !== undefined) log.event('permission_back', 'this role has its rights again', {})
      said = undefined
      return ASLEEP_MS
    },
    // The database is away, which the pulse tells; the suspicion stays.
    onError: () => LOOK_MS,
  })

  function suspect(db: Queryable): void {
    if (suspected !== undefined) return
    suspected = db
    loop.wake()
  }

  return {
    failed(db, error) {
      if (errorClass(error) === 'permission') suspect(db)
    },
    suspect,
    stop: () => loop.stop(),
  }
}
