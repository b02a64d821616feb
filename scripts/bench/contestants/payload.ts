import { createHash } from 'node:crypto'

/** The messages of every contestant, as fill_inbox makes them: about 200 bytes each. */
export function payloadOf(n: number): { n: number; kind: string; text: string } {
  return { n, kind: 'bench', text: createHash('md5').update(String(n)).digest('hex').repeat(5) }
}

/** Jobs that are added at once. */
const ADDED_AT_ONCE = 1_000

/** The numbers 1 … rows, as many at once as are added at once. */
export function* pagesOf(rows: number): Generator<number[]> {
  for (let first = 1; first <= rows; first += ADDED_AT_ONCE)
    yield Array.from({ length: Math.min(ADDED_AT_ONCE, rows - first + 1) }, (_, n) => first + n)
}
