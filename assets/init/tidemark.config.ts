import { defineConfig } from 'tidemark'
import { handleOrders } from './handlers/orders.ts'

export default defineConfig({
  // init:source
  // Filled by POST /inbox/orders, with INTAKE_TOKEN: it runs before there is a table of yours. To read a table that something
  // of yours writes to, take this file and its handler away, and run `npx tidemark init --table schema.table`.
  intakes: {
    orders: {},
  },
  // init:end
  processors: {
    orders_processor: {
      from: 'orders',
      // What the handler writes through `tx` and the message's DONE are one commit. For work outside the database: 'external'.
      contract: 'transactional',
      concurrency: 10,
      handle: handleOrders,
    },
  },
})
