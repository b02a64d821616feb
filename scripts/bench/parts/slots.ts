import { BATCH, BATCHED, ownDrain, SINGLE, TRANSACTIONAL } from '../contestants/own.ts'
import type { Part } from '../part.ts'
import type { BenchServer } from '../server.ts'

/** Keys of a tenth of the claims' size: each batch takes some messages of every key. */
const KEYS = 100
const SLOTS = 20

/** In order a key has one message in work, so a full batch needs as many keys. */
const KEYS_IN_ORDER = 2_000

const WITHOUT = 'without slots'

/** The same drain with slots and with order in force, beside the one without. */
export function slotsPart(server: BenchServer, rows: number): Part {
  const shapes = [
    { shape: '', config: BATCHED, least: undefined },
    { shape: ', one a call', config: SINGLE, least: 0.6 },
    { shape: ', transactional', config: TRANSACTIONAL, least: 0.6 },
  ]
  const inSlots = `${KEYS} keys, ${SLOTS} slots`
  const inOrder = `${KEYS_IN_ORDER} keys, ordered`
  return {
    name: 'slots',
    title: `inbox to DONE, no-op handler, batches of ${BATCH}, one a call and in transactions`,
    messages: rows,
    contestants: shapes.flatMap(({ shape, config }) => [
      ownDrain(server, rows, { name: `${WITHOUT}${shape}`, config }),
      ownDrain(server, rows, {
        name: `${inSlots}${shape}`,
        keys: KEYS,
        config: { ...config, slots: { perKey: SLOTS } },
      }),
      ownDrain(server, rows, {
        name: `${inOrder}${shape}`,
        keys: KEYS_IN_ORDER,
        config: { ...config, ordered: true },
      }),
    ]),
    against: WITHOUT,
    floors: shapes.flatMap(({ shape, least }) =>
      least === undefined
        ? []
        : [inSlots, inOrder].map((name) => ({
            of: `${name}${shape}`,
            against: `${WITHOUT}${shape}`,
            least,
          })),
    ),
  }
}
