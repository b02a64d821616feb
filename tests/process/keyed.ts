import assert from 'node:assert/strict'
import type { Message } from '../../src/config/types.ts'
import type { Scope } from '../support/scope.ts'
import { inbox, processorOn, programPool, SOURCE } from './fixture.ts'
import type { Choices } from './fixture.ts'

export interface Sent {
  /** Time in the source. */
  readonly at?: string
  /** As a release that knows no slots takes messages in. */
  readonly undated?: true
}

/** An inbox with messages of keys. */
export async function keyed(t: Scope) {
  const box = await inbox(t)
  const send = async (
    key: string | null,
    ids: readonly string[],
    { at, undated }: Sent = {},
  ): Promise<void> => {
    await box.sql.query(
      `INSERT INTO service_ops.integration_inbox (source, message_id, group_key, payload, trace_id, source_created_at, next_attempt_at)
       SELECT $1, u, $3, '{}', 'x', $4, CASE WHEN $5 THEN now() END FROM unnest($2::text[]) WITH ORDINALITY x(u, n) ORDER BY n`,
      [SOURCE, ids, key, at ?? null, undated !== true],
    )
  }
  return { ...box, send }
}

/** A processor whose handlers begin, and end when they are let: by the test, or at once where it says so. */
export function held(
  t: Scope,
  url: string,
  choices: Choices,
  instanceId = 'one',
  atOnce: (id: string) => boolean = () => false,
) {
  const begun: string[] = []
  const open = new Map<string, (error?: Error) => void>()
  const handle = ({ messageId }: Message): Promise<void> =>
    new Promise((resolve, reject) => {
      begun.push(messageId)
      if (atOnce(messageId)) {
        resolve()
        return
      }
      open.set(messageId, (error) => {
        open.delete(messageId)
        if (error === undefined) resolve()
        else reject(error)
      })
    })
  const processor = processorOn(
    t,
    programPool(t, url),
    { kind: 'external', handle },
    { concurrency: 10, ...choices },
    instanceId,
  )
  const end = (id: string, error?: Error): void => {
    const one = open.get(id)
    assert.ok(one, `${id} is not in work`)
    one(error)
  }
  return { processor, begun, open, end, log: processor.log }
}

export const numbered = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`)
