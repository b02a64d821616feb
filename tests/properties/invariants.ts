import type { Client } from 'pg'
import { POLLER } from './world.ts'

/** `unsafe`: a row is lost or made up, or something went back that must not. `stuck`: the edge does not move on. */
export type ViolationKind = 'unsafe' | 'stuck'

/** What must hold under every schedule does not. */
export class Violation extends Error {
  override readonly name = 'Violation'
  readonly kind: ViolationKind
  constructor(kind: ViolationKind, message: string) {
    super(message)
    this.kind = kind
  }
}

/** For `assert.rejects`: a fault of this kind, and no other. */
export const isViolation =
  (kind: ViolationKind) =>
  (error: unknown): boolean =>
    error instanceof Violation && error.kind === kind

interface Seen {
  edge: string
  term: string
  pass: string
}

/** One statement, so one snapshot: a row that commits while we look is in all of it or in none. */
function statement(table: string): string {
  return `
  SELECT w.edge::text AS edge, w.term::text AS term, w.pass::text AS pass,
         w.edge >= $2::timestamptz AND w.term >= $3::bigint AND w.pass >= $4::bigint AS forward,
         ARRAY(SELECT s.id::text || ' of ' || s.created_at FROM ${table} s
                WHERE s.created_at < w.edge
                  AND NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.source = $1 AND i.message_id = s.id::text)) AS lost,
         ARRAY(SELECT i.message_id FROM service_ops.integration_inbox i
                WHERE NOT EXISTS (SELECT FROM ${table} s WHERE s.id::text = i.message_id AND s.created_at = i.source_created_at
                                     AND s.payload = i.payload)) AS invented,
         (SELECT count(*) - count(DISTINCT message_id) FROM service_ops.integration_inbox)::integer AS doubled,
         (SELECT count(*) FROM ${table})::integer AS rows,
         (SELECT count(*) FROM service_ops.integration_inbox)::integer AS taken,
         w.edge > (SELECT coalesce(max(created_at), '-infinity') FROM ${table}) AS beyond
    FROM service_ops.integration_poll_watermark w WHERE w.poller = $1`
}

export interface Look {
  readonly rows: number
  readonly taken: number
  readonly edge: string
  /** The edge has moved past the newest row: everything is proven to be in the inbox. */
  readonly beyond: boolean
}

/** Looks at the database after every step, and remembers how far things were. */
export class Invariants {
  readonly #admin: Client
  readonly #statement: string
  #seen: Seen = { edge: '-infinity', term: '0', pass: '0' }
  edgeMoves = 0

  constructor(admin: Client, table: string) {
    this.#admin = admin
    this.#statement = statement(table)
  }

  /** Throws {@link Violation}. Undefined while no poller has led yet. */
  async check(): Promise<Look | undefined> {
    const { edge, term, pass } = this.#seen
    const { rows } = await this.#admin.query<
      Seen & Look & { forward: boolean; lost: string[]; invented: string[]; doubled: number }
    >(this.#statement, [POLLER, edge, term, pass])
    const [now] = rows
    if (now === undefined) return undefined
    if (now.lost.length > 0) {
      throw new Violation(
        'unsafe',
        `lost: below the edge ${now.edge}, not in the inbox: ${now.lost.join(', ')}`,
      )
    }
    if (now.invented.length > 0)
      throw new Violation('unsafe', `invented: never committed: ${now.invented.join(', ')}`)
    if (now.doubled > 0) throw new Violation('unsafe', `doubled: ${now.doubled}`)
    if (!now.forward) {
      const was = `edge ${edge}, term ${term}, pass ${pass}`
      throw new Violation(
        'unsafe',
        `went back: from ${was} to edge ${now.edge}, term ${now.term}, pass ${now.pass}`,
      )
    }
    if (now.edge !== edge) this.edgeMoves += 1
    this.#seen = { edge: now.edge, term: now.term, pass: now.pass }
    return now
  }
}
