import type { Queryable } from '../../src/db/pool.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'

/** The least and the most rows that a page of a schedule has. */
export const PAGE_SIZES: readonly [number, number] = [3, 7]

/** A change of one statement's text. Throws when it changes nothing, or a mutant would pass for caught. */
export type Patch = (text: string) => string

/** A way of reading the source: the real one, or a mutant of it that the tests must catch. */
export interface Strategy {
  readonly begin?: Patch
  /** Of every way that a page is read. */
  readonly page?: Patch
  readonly tail?: Patch
  /** Begin and first page are given one snapshot, as one statement would have. */
  readonly merged?: boolean
}

/** Replaces `from` by `to` in a statement; `from` must stand there exactly once. */
export function replacing(...pairs: readonly (readonly [from: string, to: string])[]): Patch {
  return (text) =>
    pairs.reduce((before, [from, to]) => {
      if (before.split(from).length !== 2) throw new Error(`the mutant's text is not there once: ${from}`)
      return before.replace(from, () => to)
    }, text)
}

/** Replaces every `from`, where it stands. */
export function replacingAll(...pairs: readonly (readonly [from: string, to: string])[]): Patch {
  return (text) => pairs.reduce((before, [from, to]) => before.replaceAll(from, () => to), text)
}

/** Texts that are sent as they stand, and those that a mutant sends in their place. */
export class Texts {
  readonly #replaced = new Map<string, string>()

  replace(text: string, patch: Patch | undefined): void {
    if (patch !== undefined) this.#replaced.set(text, patch(text))
  }

  /** The pages of a source, whichever way they are read. */
  replacePages(source: PreparedSource, patch: Patch | undefined): void {
    this.replace(source.page.text, patch)
    this.replace(source.skim.text, patch)
    const [least, most] = PAGE_SIZES
    for (let size = least; size <= most; size += 1) this.replace(source.ahead(size).text, patch)
  }

  /** The connection, seen through the mutant. */
  through(db: Queryable): Queryable {
    return { query: (text, values) => db.query(this.#replaced.get(text) ?? text, values) }
  }
}
