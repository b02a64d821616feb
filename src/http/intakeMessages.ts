import type { IntakeMessage } from '../tables/intake.ts'
import { MAX_ID_BYTES } from '../tables/messageId.ts'
import { invalid } from './intakeFault.ts'
import { parseJson, textFault } from './intakeJson.ts'
import type { ParsedJson } from './intakeJson.ts'

/** One statement takes so many; a sender with more sends several requests. */
export const MAX_MESSAGES = 1_000

/** Long enough for any tenant's name, short enough for an index. */
const MAX_GROUP_KEY_BYTES = 512

const FIELDS: ReadonlySet<string> = new Set(['message_id', 'group_key', 'payload'])

/** Reads a body: one message, or an array of them. Throws IntakeFault that names the field. */
export function parseMessages(text: string): IntakeMessage[] {
  const json = parseJson(text)
  const { value } = json
  if (!Array.isArray(value)) return [messageOf(json, value)]
  if (value.length > MAX_MESSAGES)
    throw invalid('body', `an array of ${MAX_MESSAGES} messages at most; it has ${value.length}`)
  return value.map((one: unknown, index) => messageOf(json, one, index))
}

/** @param index of a message in an array; undefined: it is the whole body */
function messageOf(json: ParsedJson, value: unknown, index?: number): IntakeMessage {
  const at = index === undefined ? '' : `[${index}]`
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const expected = 'an object {"message_id", "group_key", "payload"}'
    throw invalid(at === '' ? 'body' : at, at === '' ? `${expected}, or an array of them` : expected)
  }
  const field = (name: string): string => (at === '' ? name : `${at}.${name}`)
  const unknown = Object.keys(value).find((name) => !FIELDS.has(name))
  if (unknown !== undefined) {
    throw invalid(field(shown(unknown)), `no such field: a message has ${[...FIELDS].join(', ')}`)
  }
  const {
    message_id: messageId,
    group_key: groupKey = null,
    payload,
  }: { message_id?: unknown; group_key?: unknown; payload?: unknown } = value
  if (!isTextWithin(messageId, MAX_ID_BYTES)) {
    throw invalid(field('message_id'), `required: a text of 1 to ${MAX_ID_BYTES} bytes, without \\u0000`)
  }
  if (groupKey !== null && !isTextWithin(groupKey, MAX_GROUP_KEY_BYTES)) {
    throw invalid(field('group_key'), `null, or a text of 1 to ${MAX_GROUP_KEY_BYTES} bytes, without \\u0000`)
  }
  if (payload === undefined) throw invalid(field('payload'), 'required: any JSON')
  return { messageId, groupKey, payload: json.payloadText(index ?? 0, field('payload')) }
}

function isTextWithin(value: unknown, maxBytes: number): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    Buffer.byteLength(value) <= maxBytes &&
    textFault(value) === undefined
  )
}

/** A name that somebody else gave, as it may stand in an answer. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, 64)).slice(1, -1)
}
