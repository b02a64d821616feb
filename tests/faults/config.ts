/** Options of the instances' config that a fault may change. */
export interface HandlerLimits {
  /** Interval of the pollers. Default 1s. */
  readonly every?: string
  /** Limit of a handler. Default 60s. */
  readonly timeout?: string
  readonly concurrency?: number
  readonly retention?: string
  readonly sweep?: string
  /** Default: what is found out at start. */
  readonly lateness?: string
  readonly pageSize?: number
  readonly startFrom?: string
  readonly maxAttempts?: number
  /** A poller, and its processor, that this config lacks. */
  readonly leaveOut?: 'calls'
}

/** Where external handlers note their runs: a file, which works while the database does not. */
export const NOTES_VARIABLE = 'FAULT_NOTES'

/**
 * The config of every instance, as a user would write one. A row's payload tells its handler how to behave:
 * `failures` times it does `behave` (throw, hang, exit), then it succeeds, after `ms` where it is slow. What blocks the
 * event loop for `ms` does so the first time only: one process after another would be another fault.
 */
export function configText(limits: HandlerLimits = {}): string {
  const { every = '1s', timeout = '60s', concurrency = 4, maxAttempts = 20 } = limits
  const options = (['retention', 'sweep', 'pageSize', 'startFrom'] as const)
    .map((name) => (limits[name] === undefined ? '' : `, ${name}: ${JSON.stringify(limits[name])}`))
    .join('')
  const source = (table: string) => {
    const late = limits.lateness === undefined ? '' : `, lateness: '${limits.lateness}'`
    return `{ source: { table: '${table}', id: 'id', createdAt: 'at', payload: 'payload'${late} }, every: '${every}'${options} }`
  }
  const withCalls = (text: string): string => (limits.leaveOut === 'calls' ? '' : text)
  const common = `timeout: '${timeout}', maxAttempts: ${maxAttempts}, backoff: { base: '100ms', max: '1s' }, concurrency: ${concurrency}`
  return `import { appendFileSync, writeFileSync } from 'node:fs'
let runs = 0
const note = (kind, { source, messageId }, run) =>
  appendFileSync(process.env.${NOTES_VARIABLE}, JSON.stringify([kind, source, messageId, process.pid, performance.timeOrigin + performance.now(), run]) + '\\n')
const isFirst = ({ source, messageId }) => {
  try { writeFileSync(process.env.${NOTES_VARIABLE} + '.' + source + '.' + messageId, '', { flag: 'wx' }); return true } catch { return false }
}
const pause = (ms) => new Promise((done) => setTimeout(done, ms))
async function behave(message) {
  const { payload, attempts } = message
  const { behave, failures = 0, ms = 0 } = payload
  if (behave === 'slow') return pause(ms)
  if (behave === 'block') { if (isFirst(message)) { const end = Date.now() + ms; while (Date.now() < end); } return }
  if (behave === 'dead') throw new Error('fails for good')
  if (attempts > failures) return
  if (behave === 'throw') throw new Error('fails on purpose')
  if (behave === 'hang') await new Promise(() => {})
  if (behave === 'exit') process.exit(7)
}
const inside = async (message, { tx }) => {
  await tx.query('INSERT INTO effect (source, message_id, pid) VALUES ($1, $2, $3)', [message.source, message.messageId, process.pid])
  await behave(message)
}
const outside = async (message) => {
  const run = (runs += 1) // two runs of one message can overlap in one process
  note('began', message, run)
  await behave(message)
  note('ended', message, run)
}
export default {
  pollers: { orders: ${source('orders')}, ${withCalls(`calls: ${source('calls')},`)} tally: ${source('tally')} },
  processors: {
    order_taker: { from: 'orders', contract: 'transactional', ${common}, handle: inside },
    ${withCalls(`caller: { from: 'calls', contract: 'external', ${common}, handle: outside },`)}
    counter: { from: 'tally', contract: 'transactional', exclusive: true, ${common}, handle: inside },
  },
}
`
}

export const SOURCES = ['orders', 'calls', 'tally'] as const
export const LED_TASKS = ['orders', 'calls', 'tally', 'counter'] as const
