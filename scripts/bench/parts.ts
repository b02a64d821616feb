import { compete } from './contest.ts'
import { idle } from './idle/idle.ts'
import { latency } from './latency/latency.ts'
import { line } from './line/line.ts'
import { soak } from './line/soak.ts'
import type { BenchPart, Part } from './part.ts'
import { dashboard } from './parts/dashboard.ts'
import { drainPart } from './parts/drain.ts'
import { ingestPart } from './parts/ingest.ts'
import { instancesPart } from './parts/instances.ts'
import { intakePart } from './parts/intake.ts'
import { meterPart } from './parts/meter.ts'
import { slotsPart } from './parts/slots.ts'
import { transactionalPart } from './parts/transactional.ts'
import { handlers } from './scale/handlers.ts'
import { held } from './scale/held.ts'
import { reread } from './scale/reread.ts'
import { scale } from './scale/scale.ts'
import { probes } from './probes/probes.ts'
import { figuresOf, tableOf, verdictsOf } from './report.ts'
import type { BenchServer } from './server.ts'
import { start } from './start/start.ts'

/** One message a call is slower by far, so fewer of them show as much. */
const SINGLE_SHARE = 4

/** Every part, in the order in which they run. A new one is added here. */
export const PARTS: readonly BenchPart[] = [
  contest('ingest', 'source rows into the inbox, beside the bare keyset statement', ingestPart),
  contest('drain', 'a full inbox to DONE, beside bare SQL, graphile-worker, pg-boss and BullMQ', drainPart),
  contest('instances', 'the same by 1, 2 and 4 processes', instancesPart),
  contest('meter', 'a drain with what an instance counts for its metrics, beside one without', meterPart),
  contest(
    'transactional',
    'a small UPDATE a message in its own transaction, beside the same by hand',
    (server, rows) => transactionalPart(server, Math.ceil(rows / SINGLE_SHARE)),
  ),
  contest('slots', 'a full inbox to DONE with slots and with order in force', (server, rows) =>
    slotsPart(server, Math.ceil(rows / SINGLE_SHARE)),
  ),
  contest('intake', 'messages by HTTP into the inbox, beside clients that write to it', intakePart),
  latency,
  start,
  idle,
  probes,
  line,
  scale,
  reread,
  held,
  handlers,
  soak,
  dashboard,
]

/** A part in which contestants race, A B C A B C, for messages a second. */
function contest(
  name: string,
  about: string,
  make: (server: BenchServer, rows: number) => Part | Promise<Part>,
): BenchPart {
  return {
    name,
    about,
    async run(server, { rows, rounds }, tell) {
      const part = await make(server, rows)
      try {
        const figures = await figuresOf(
          await compete(server, part, rounds, (contestant, round) =>
            tell(`${name}: round ${round} of ${rounds}: ${contestant}`),
          ),
        )
        return { json: figures, text: tableOf(figures), verdicts: verdictsOf(figures) }
      } finally {
        await part.close?.()
      }
    },
  }
}
