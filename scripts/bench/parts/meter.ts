import { BATCH, BATCHED, ownDrain, SETTINGS, SINGLE } from '../contestants/own.ts'
import type { Part } from '../part.ts'
import type { BenchServer } from '../server.ts'

/** Counting may cost a fiftieth. */
const LEAST = 0.98

/** The same drain with nobody counting, and with what an instance counts for its metrics and its history. */
export function meterPart(server: BenchServer, rows: number): Part {
  const shapes = [
    { shape: `batches of ${BATCH}`, config: BATCHED, settings: SETTINGS.batched },
    { shape: 'one at a time', config: SINGLE, settings: SETTINGS.single },
  ].map(({ shape, ...how }) => ({ silent: `${shape}, nothing counted`, counted: `${shape}, counted`, how }))
  return {
    name: 'meter',
    title: 'inbox to DONE, no-op handler, one process, with the counts of an instance and without',
    messages: rows,
    contestants: shapes.flatMap(({ silent, counted, how }) => [
      ownDrain(server, rows, { name: silent, ...how }),
      ownDrain(server, rows, { name: counted, ...how, counted: true }),
    ]),
    against: shapes[0]?.silent ?? '',
    floors: shapes.map(({ silent, counted }) => ({ of: counted, against: silent, least: LEAST })),
  }
}
