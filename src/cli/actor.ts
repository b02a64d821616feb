import { hostname, userInfo } from 'node:os'
import type { Client } from 'pg'
import type { Queryable } from '../db/pool.ts'
import { actAs } from '../tables/control.ts'
import type { Actor } from '../tables/control.ts'

/** The person at this terminal, for the record: user and host. */
export function actor(): Actor {
  return { who: `${userName()}@${hostname()}`, how: 'cli' }
}

/** Says so for the rest of the transaction that `client` is in. */
export function actHere(client: Client | Queryable): Promise<void> {
  return actAs(client, actor())
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    // A container may run under a number that no user has.
    return process.env['USER'] ?? `uid ${process.getuid?.() ?? 'unknown'}`
  }
}
