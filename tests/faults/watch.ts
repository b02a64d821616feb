import type { Pool } from 'pg'
import { pause } from '../../src/kit/pause.ts'
import { SOURCES } from './config.ts'

const LOOK_MS = 150
/** The search for rows below the edge reads every row, so it is made less often. */
const SEARCH_MS = 1_000

const WATERMARKS = `INSERT INTO seen_watermark (poller, edge, term, pass)
  SELECT poller, edge, term, pass FROM service_ops.integration_poll_watermark`
const LEADERS = `INSERT INTO seen_leader
  SELECT task_name, term, holder FROM service_ops.background_task_leader ON CONFLICT DO NOTHING`
const below = (source: string): string => `INSERT INTO found_meanwhile (name, found, detail)
  SELECT 'below the edge of ${source}', count(*), min(s.id::text) FROM ${source} s
   WHERE s.at < (SELECT w.edge FROM service_ops.integration_poll_watermark w WHERE w.poller = '${source}')
     AND s.at >= coalesce((SELECT t.forgotten_before FROM service_ops.background_task t WHERE t.task_name = '${source}'), '-infinity')
     AND NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.source = '${source}' AND i.message_id = s.id::text)
  HAVING count(*) > 0`

/**
 * Writes down, all through a run, what must never go back and what must never be missing. Returns how to stop, which tells
 * what was never seen: an invariant over nothing cannot fail.
 */
export function watch(pool: Pool, options: { readonly belowTheEdge: boolean }): () => Promise<string[]> {
  const stopped = new AbortController()
  const blind = new Set([WATERMARKS, LEADERS, ...(options.belowTheEdge ? SOURCES.map(below) : [])])
  const watching = (async () => {
    let searchedAt = 0
    while (!stopped.signal.aborted) {
      const queries = [WATERMARKS, LEADERS]
      if (options.belowTheEdge && performance.now() - searchedAt > SEARCH_MS) {
        queries.push(...SOURCES.map(below))
        searchedAt = performance.now()
      }
      // A table or the server may be away: that is what the fault is about.
      for (const text of queries)
        await pool.query(text).then(
          () => blind.delete(text),
          () => undefined,
        )
      await pause(LOOK_MS, stopped.signal)
    }
  })()
  return async () => {
    stopped.abort()
    await watching
    return [...blind].map((text) => `never seen: ${text.slice(0, 80)}`)
  }
}
