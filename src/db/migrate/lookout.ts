import type { Client, QueryResultRow } from 'pg'
import { closeClient, openClient } from '../connection.ts'
import type { ConnectionOptions } from '../connection.ts'
import type { Queryable } from '../pool.ts'

/** A second connection beside one that may have to wait, opened when it is first needed. */
export interface Lookout extends Queryable {
  close(): Promise<void>
}

export function createLookout(options: ConnectionOptions): Lookout {
  let opening: Promise<Client> | undefined
  const forget = (): void => void (opening = undefined)
  return {
    async query<R extends QueryResultRow>(text: string, values: readonly unknown[] = []) {
      opening ??= openClient(options, forget)
      const client = await opening.catch((error: unknown) => {
        forget()
        throw error
      })
      return client.query<R>(text, [...values])
    },
    async close() {
      const client = await opening?.catch(() => undefined)
      if (client !== undefined) await closeClient(client)
    },
  }
}
