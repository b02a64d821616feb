import type { PoolClient } from '../db/pool.ts'
import { TransactionNotYours, TransactionOver } from '../errors.ts'

/** The `tx` of one transactional handler, and what became known of how it was used. */
export interface HandlerTx {
  readonly client: Pick<PoolClient, 'query'>
  /** A statement may have left something in the session: it must not serve anybody else. */
  readonly stained: boolean
  /** A statement would have ended the transaction and was not sent: its message fails, whether or not that was caught. */
  readonly refused: TransactionNotYours | undefined
  /** The handler is over: a late write would land in somebody else's transaction. */
  revoke(): void
}

/** The beginning of a statement, comments aside. */
const START = String.raw`(?:^|;)(?:\s|--[^\n]*\n|\/\*(?:[^*]|\*(?!\/))*\*\/)*`

/**
 * Statements that may leave something in the session that outlives the transaction: settings, session locks, LISTEN,
 * temporary tables. SET stands at the beginning of a statement, or it is the SET of an UPDATE.
 */
const STAINS = new RegExp(
  String.raw`${START}(?:set(?!\s+local\b)|reset|discard|deallocate|listen|prepare|declare|load)\b|advisory|set_config|\btemp(?:orary)?\b`,
  'i',
)

/**
 * Statements that end the transaction or begin another. The outcome of the message is its first statement: committed
 * early it would be DONE whatever came after, and in a second transaction the handler's writes would stand without it.
 */
const ENDS = new RegExp(
  String.raw`${START}(?:commit|end|abort|begin|start\s+transaction|prepare\s+transaction|rollback(?!(?:\s+(?:work|transaction))?\s+to\b))\b`,
  'i',
)

/** Most statements have none of these words anywhere. */
const MAY_END = /\b(?:commit|end|abort|begin|start|prepare|rollback)\b/i

/** Literals, names and bodies, in which such a word means nothing: a DO block is full of them. */
const QUOTED =
  /[eE]'(?:\\[\s\S]|''|[^'\\])*'|'(?:''|[^'])*'|"(?:""|[^"])*"|\$(\w*)\$[\s\S]*?\$\1\$|--[^\n]*|\/\*[\s\S]*?\*\//g

const endsTransaction = (text: string): boolean =>
  MAY_END.test(text) && ENDS.test(text.replaceAll(QUOTED, ' '))

/** A query that nobody awaits must fail its message (COMMIT then says ROLLBACK), not the process. */
export function handlerTx(client: PoolClient): HandlerTx {
  let over = false
  let stained = false
  let refused: TransactionNotYours | undefined
  // `query` is overloaded in pg's types; the arguments and the result are passed through unchanged.
  const pass = client.query.bind(client) as (...args: unknown[]) => unknown
  const query = (...args: unknown[]): unknown => {
    if (over) throw new TransactionOver()
    const [first] = args
    const text: unknown = typeof first === 'object' && first !== null && 'text' in first ? first.text : first
    if (typeof text === 'string' && endsTransaction(text)) throw (refused ??= new TransactionNotYours())
    if (typeof text !== 'string' || STAINS.test(text)) stained = true
    const result = pass(...args)
    if (result instanceof Promise) result.catch(() => undefined)
    return result
  }
  return {
    client: { query: query as PoolClient['query'] },
    get stained() {
      return stained
    },
    get refused() {
      return refused
    },
    revoke() {
      over = true
    },
  }
}
