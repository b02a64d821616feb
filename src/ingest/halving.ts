/**
 * Rows that cannot be read (not JSON, \u0000, too large, an id too long): the page is halved until the row is alone. It is
 * then named and tried once more, since another row may have come before it meanwhile; the one that fails by name is taken
 * in as DEAD, without payload and with the reason. Passes, sweeps and replays read so.
 */
import type { Queryable } from '../db/pool.ts'
import { isRetryable, sqlState } from '../db/sqlstate.ts'
import { pause } from '../kit/pause.ts'
import { refusedAs } from '../tables/inbox.ts'
import { MAX_ID_BYTES } from '../tables/messageId.ts'
import type { AloneRow } from '../tables/watermark.ts'
import { cleanError } from '../telemetry/errorText.ts'

/** What was taken in as DEAD, for the line about it. */
export interface RefusedRow {
  readonly message_id: string
  readonly trace_id?: string
}

/** The statements of one who reads pages; each a single autocommit statement. */
export interface PageReader<P> {
  readonly db: Queryable
  readonly poller: string
  /** A page, or one named row, as it is. Undefined: refused. */
  page(size: number, alone: AloneRow | null): Promise<P | undefined>
  /** One named row without its payload. */
  refuse(alone: AloneRow): Promise<P | undefined>
  nextId(): Promise<string | undefined>
  readonly signal: AbortSignal
  onRefusedRow(reason: string, row: RefusedRow): void
}

/** How often a statement that lost a race (deadlock, serialization, lock limit) is tried again before the pass fails. */
const RACE_TRIES = 5
const RACE_PAUSE_MS = 50

/** Of an id in a line when the inbox could not be asked under which it stands. */
const MAX_ID_SHOWN = 64

/** A page of at most `size` rows. `'too large'`: one of them cannot be read, or is gone; ask for fewer. */
export async function pageOrSmaller<P extends { readonly inserted: number }>(
  reader: PageReader<P>,
  size: number,
): Promise<P | undefined | 'too large'> {
  const { signal } = reader
  try {
    return await overRaces(signal, () => reader.page(size, null))
  } catch (error) {
    if (!isUnreadable(error)) throw error
    if (size > 1) return 'too large'
    const id = await overRaces(signal, () => reader.nextId())
    // It was deleted meanwhile, or the pass is over: the next page tells.
    return id === undefined ? 'too large' : await alone(reader, id)
  }
}

/** One row by its id, taken in as it is or, when it cannot be read, as DEAD. */
async function alone<P extends { readonly inserted: number }>(
  reader: PageReader<P>,
  id: string,
): Promise<P | undefined> {
  const { signal } = reader
  try {
    return await overRaces(signal, () => reader.page(1, { id, refusal: null }))
  } catch (error) {
    if (!isUnreadable(error)) throw error
    const bytes = Buffer.byteLength(id)
    const tooLong = `its id has ${bytes} bytes, and ${MAX_ID_BYTES} are the most; it stands under the id's beginning and MD5`
    const refusal = bytes > MAX_ID_BYTES ? tooLong : cleanError(error).text
    const page = await overRaces(signal, () => reader.refuse({ id, refusal }))
    if (page !== undefined && page.inserted > 0) {
      // The row is in; only the line about it would lack its trace.
      const row = await refusedAs(reader.db, reader.poller, id).catch(() => undefined)
      reader.onRefusedRow(refusal, row ?? { message_id: id.slice(0, MAX_ID_SHOWN) })
    }
    return page
  }
}

/** Class 22 is data that cannot be what it should be, 54 what exceeds a limit of PostgreSQL's. */
export function isUnreadable(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && (state.startsWith('22') || state.startsWith('54'))
}

/** A lost race is no fence: the same statement again. Each is a single autocommit statement, so nothing was written. */
export async function overRaces<T>(
  signal: AbortSignal,
  statement: () => Promise<T>,
  most = RACE_TRIES,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await statement()
    } catch (error) {
      if (!isRetryable(error) || tries >= most || signal.aborted) throw error
      await pause(RACE_PAUSE_MS * tries)
    }
  }
}
