import type { Message, TransactionalContext } from 'tidemark'

// init:payload
/** What a message of orders carries. */
export interface OrdersPayload {
  item: string
}
// init:end

/**
 * Called for each message of orders. When it throws, the message is FAILED and tried again later, ten times in all; then it is
 * DEAD and waits for a person: `npx tidemark inbox list --status DEAD`.
 */
export async function handleOrders(message: Message, { log }: TransactionalContext): Promise<void> {
  const payload = readPayload(message.payload)
  // Your work goes here. `tx` is in the context beside `log`: what is written through it and DONE are one commit.
  //   await tx.query('INSERT INTO parcels (order_id) VALUES ($1)', [message.messageId])
  log.info('handled', { fields: Object.keys(payload).length })
}

/** Somebody else wrote it: look at all that you rely on. */
function readPayload(payload: unknown): OrdersPayload {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload))
    throw new TypeError('the payload is no object')
  return payload as OrdersPayload
}
