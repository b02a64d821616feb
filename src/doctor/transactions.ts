import { interval } from '../db/interval.ts'
import { span } from '../kit/span.ts'
import { warning, type Check } from './check.ts'
import { unseenSessions } from './rights.ts'
import { sql } from './statements.ts'

/**
 * What holds the edge of the pollers: it moves only past times that no living transaction can still write below. An open
 * one costs no row and no latency, but each pass reads again what came since it began, and vacuum removes nothing newer.
 */

type Session = {
  pid: number
  role: string | null
  application: string | null
  state: string | null
  address: string | null
  age_s: number
}

export const longTransactions: Check = {
  name: 'long_transactions',
  title: 'No transaction is open for so long that it holds the edge of the pollers.',
  async run(context) {
    const database = context.database()
    const values = [interval(context.limits.oldTransactionMs)]
    const { rows } = await database.query<Session>(sql.transactions, values)
    const [sight] = (await database.query<{ hidden: number; remedy: string }>(sql.sight)).rows
    return [
      ...rows.map(({ pid, role, application, state, address, age_s: age }) =>
        warning(
          `pid ${pid} (${application ?? 'unknown application'}, role ${role ?? 'unknown'}${address === null ? '' : `, from ${address}`}) has a transaction open for ${span(age)}, ${state ?? 'state unknown'}: it holds the edge`,
          `SELECT pg_terminate_backend(${pid})`,
        ),
      ),
      ...(sight === undefined ? [] : unseenSessions(sight.hidden, sight.remedy)),
    ]
  },
}

export const preparedTransactions: Check = {
  name: 'prepared_transactions',
  title: 'No prepared transaction was left behind.',
  async run(context) {
    type Row = { gid: string; owner: string; age_s: number; remedy: string }
    const values = [interval(context.limits.oldTransactionMs)]
    const { rows } = await context.database().query<Row>(sql.prepared, values)
    return rows.map(({ gid, owner, age_s: age, remedy }) =>
      warning(
        `the prepared transaction ${JSON.stringify(gid)} of ${owner} waits for ${span(age)}: it holds the edge, its locks and vacuum, over restarts too`,
        `${remedy}, or COMMIT PREPARED of the same`,
      ),
    )
  },
}

export const replicationSlots: Check = {
  name: 'replication_slots',
  title: 'No replication slot is kept that nobody reads.',
  async run(context) {
    type Row = { name: string; kind: string; kept: string | null; keeps_rows: boolean; remedy: string }
    const { rows } = await context.database().query<Row>(sql.slots)
    return rows.map(({ name, kind, kept, keeps_rows: keepsRows, remedy }) =>
      warning(
        `nobody reads the ${kind} replication slot ${name}: it keeps ${kept ?? 'the'} log of writes on the disk${keepsRows ? ', and dead rows from vacuum' : ''}, until the disk is full`,
        remedy,
      ),
    )
  },
}
