/**
 * Longest id, in bytes, that the unique index of the inbox can hold: an entry may have 2,704 bytes, of which its header,
 * the source's name (63 at most) and their lengths and alignment take up to 81. Not left to the index to decide: it
 * compresses, so that of two ids of one length it would take one.
 */
export const MAX_ID_BYTES = 2_600

/** Characters of a longer id that its stand-in begins with, for people who look for it. */
const SHOWN = 64

const TEXT_TYPES: ReadonlySet<string> = new Set(['text', 'character varying'])

/** SQL: the `message_id` of a source row with this id. One that is too long has a stand-in: its beginning and its MD5. */
export function storedIdSql(id: string, type: string): string {
  return ifTooLong(id, type, `left(${id}::text, ${SHOWN}) || '…' || md5(${id}::text)`)
}

/**
 * SQL: the same for a row that is to be processed, which fails for an id that is too long: a handler that relies on the
 * id must not get a stand-in. chr(0) has SQLSTATE 54000, what PostgreSQL says of anything beyond its limits.
 */
export function processedIdSql(id: string, type: string): string {
  return ifTooLong(id, type, `chr(0 * octet_length(${id}::text))`)
}

function ifTooLong(id: string, type: string, then: string): string {
  if (!TEXT_TYPES.has(type)) return `${id}::text`
  return `CASE WHEN octet_length(${id}::text) > ${MAX_ID_BYTES} THEN ${then} ELSE ${id}::text END`
}
