import { createHmac } from 'node:crypto'
import { defineConfig } from 'tidemark'

/** The app's own tables. */
export const schema = `
  CREATE SCHEMA shop;
  CREATE TABLE shop.orders (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    item       text NOT NULL
  );
  CREATE INDEX ON shop.orders (created_at, id);
  CREATE TABLE shop.parcels (order_id uuid PRIMARY KEY, item text NOT NULL);
  CREATE TABLE shop.stock (item text PRIMARY KEY, pieces integer NOT NULL CHECK (pieces >= 0));
  CREATE TABLE shop.reports (day date PRIMARY KEY, parcels integer NOT NULL);
`

interface Order {
  id: string
  item: string
}

/** What the app is given from outside; tests give their own. */
export interface Outside {
  /** The mail service's address. */
  mailUrl?: string
  /** Where partners want to hear of parcels, and the secret that deliveries are signed with. */
  partner?: { url: string; secret: string }
}

export function shop({ mailUrl = 'https://mail.example.com', partner }: Outside = {}) {
  return defineConfig({
    pollers: {
      orders: { source: { table: 'shop.orders', id: 'id', createdAt: 'created_at' }, every: '5s' },
    },
    intakes: { mails: {}, prices: {}, ...(partner && { parcels: {} }) },
    processors: {
      /** An order becomes a parcel, and a piece of stock less, or neither. */
      packing: {
        from: 'orders',
        contract: 'transactional',
        maxAttempts: 3,
        backoff: { base: '10s', max: '1m' },
        async handle({ messageId, payload }, { tx, send }) {
          const { item } = payload as Order
          await tx.query('INSERT INTO shop.parcels (order_id, item) VALUES ($1, $2)', [messageId, item])
          const { rowCount } = await tx.query('UPDATE shop.stock SET pieces = pieces - 1 WHERE item = $1', [
            item,
          ])
          if (rowCount === 0) throw new Error(`no ${item} in stock`)
          await send('report')
        },
      },
      /** The service may get a mail twice; by its key it knows. */
      mailing: {
        from: 'mails',
        contract: 'external',
        async handle({ messageId, payload }, context) {
          const answer = await fetch(mailUrl, {
            method: 'POST',
            headers: { 'idempotency-key': messageId, ...context.traceHeaders() },
            body: JSON.stringify(payload),
            signal: context.signal,
          })
          if (!answer.ok) throw new Error(`the mail service says ${answer.status}`)
          context.log.info('mail sent')
        },
      },
      /** Many at once; each has an outcome of its own. */
      pricing: {
        from: 'prices',
        batchSize: 50,
        handleBatch: (messages) =>
          Promise.resolve(
            messages.map(({ payload }) =>
              typeof (payload as { cents?: unknown }).cents === 'number'
                ? ('done' as const)
                : { failed: new Error('a price without cents') },
            ),
          ),
      },
      ...(partner && { telling: { from: 'parcels', deliver: partner } }),
    },
    jobs: {
      report: {
        cron: '0 3 * * *',
        tz: 'Europe/Berlin',
        retryLimit: 1,
        handle(job, { log }) {
          if (process.env['SHOP'] === 'closed') throw new Error('the shop is closed')
          log.info(`${job.name} made`)
        },
      },
    },
  })
}

/** Whether a delivery is genuine, as a receiver in any language finds out: HMAC-SHA256 of id, time and body. */
export function isGenuine(secret: string, headers: Record<string, unknown>, body: string): boolean {
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  const expected = `v1,${createHmac('sha256', key).update(signed).digest('base64')}`
  return String(headers['webhook-signature']).split(' ').includes(expected)
}
