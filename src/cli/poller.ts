import { InvalidArgumentError } from 'commander'
import type { ResolvedPoller } from '../config/resolved.ts'
import type { Settings } from '../config/settings.ts'
import { resolveConfig } from '../config/validate.ts'
import type { Pool } from '../db/pool.ts'
import { createPool } from '../db/pool.ts'
import { findPooling, unlimited } from '../db/pooler.ts'
import { ConfigInvalid, SetupInvalid } from '../errors.ts'
import { withAddress } from './database.ts'
import { taskSetup } from './verb.ts'

/** A poller as this config has it, with what its messages need. */
export interface PollerSetup {
  readonly settings: Settings
  readonly poller: ResolvedPoller
  /** Attempts that its processor gives a message. */
  readonly maxAttempts: number
}

/** Of a message whose source has no processor in the config. */
const DEFAULT_ATTEMPTS = 10

/** The name of the demo's poller, which needs no config file. */
const DEMO_POLLER = 'message_poller'

/**
 * Reads the config for a verb that works on one of its pollers.
 * @throws {SetupInvalid} when there is no config, or no such poller in it
 */
export async function pollerSetup(flags: { config?: string }, name: string): Promise<PollerSetup> {
  const { settings, config: found } = await taskSetup(flags)
  const config = found ?? (name === DEMO_POLLER ? (await demo()).config : undefined)
  if (config === undefined) {
    const expected = `a config file here (.ts, .mts, .js or .mjs), or one named with --config, that has the poller ${name}`
    throw invalid([{ what: 'tidemark.config.ts', expected }])
  }
  const { pollers, processors } = resolveConfig(config, { intervals: settings.pollerIntervals })
  const poller = pollers.find((candidate) => candidate.name === name)
  if (poller === undefined) {
    const names = pollers.length === 0 ? 'none' : pollers.map((candidate) => candidate.name).join(', ')
    const isProcessor = processors.some((candidate) => candidate.name === name)
    const expected = `${isProcessor ? `a poller, and ${name} is a processor; the config` : 'a poller of the config, which'} has ${names}`
    throw invalid([{ what: `pollers.${name}`, expected }])
  }
  const processor = processors.find(({ from }) => from.includes(name))
  return { settings, poller, maxAttempts: processor?.maxAttempts ?? DEFAULT_ATTEMPTS }
}

/**
 * Lends a small pool with the limits of the settings to a verb, and closes it afterwards. Behind a pooler, which refuses
 * those, the limits are the role's.
 * @throws {PoolerUnfit} when the role's isolation is not the one by which the verb's statements are right
 */
export async function withPool<T>(settings: Settings, fn: (pool: Pool) => Promise<T>): Promise<T> {
  return withAddress(settings, async ({ url }) => {
    const pool = await openPool(settings, url)
    try {
      return await fn(pool)
    } finally {
      await pool.end()
    }
  })
}

async function openPool(settings: Settings, url: string): Promise<Pool> {
  const look = { connectTimeoutMs: settings.connectTimeoutMs }
  const pooling = await findPooling(url, look)
  if (pooling !== 'none') await unlimited(url, look)
  return createPool({
    url,
    applicationName: 'tidemark:cli',
    max: 2,
    connectTimeoutMs: settings.connectTimeoutMs,
    startupOptions: pooling === 'none',
    ownSession: pooling !== 'transaction',
    limits: {
      statementTimeoutMs: settings.statementTimeoutMs,
      lockTimeoutMs: settings.lockTimeoutMs,
      idleInTransactionMs: settings.idleInTransactionMs,
    },
  })
}

const TIME_FORM =
  /^(\d{4}-(?:0[1-9]|1[0-2])-\d{2})T\d{2}:\d{2}(:\d{2}([.]\d{1,6})?)?(Z|[+-](0\d|1[0-5]):?[0-5]\d)$/

/** A time with its zone, as text: PostgreSQL reads it, with its microseconds. It has no year 0, and no zone past 15:59. */
export function readTime(text: string): string {
  const [, day = ''] = TIME_FORM.exec(text) ?? []
  const midnight = new Date(`${day}T00:00:00Z`)
  // A day that there is not would be taken for another one.
  const isDay = !Number.isNaN(midnight.getTime()) && midnight.toJSON().startsWith(day)
  if (!isDay || day.startsWith('0000') || Number.isNaN(Date.parse(text)))
    throw new InvalidArgumentError(
      `It is a time with its zone: 2026-03-01T08:00:00Z, or 2026-03-01T09:00:00+01:00.`,
    )
  return text
}

/** `readTime`, or 'beginning'. */
export function readBeginning(text: string): string {
  return text === 'beginning' ? BEGINNING : readTime(text)
}

/** How PostgreSQL writes what is before every time. */
export const BEGINNING = '-infinity'

/** A time as PostgreSQL writes it, in the form that `readTime` takes. */
export function timeFlag(text: string): string {
  if (text === BEGINNING) return 'beginning'
  return text
    .replace(' ', 'T')
    .replace(/([+-]\d{2})$/, '$1:00')
    .replace('+00:00', 'Z')
}

async function demo() {
  return (await import('../demo/config.ts')).createDemo()
}

function invalid(faults: ConstructorParameters<typeof ConfigInvalid>[0]): SetupInvalid {
  return new SetupInvalid([new ConfigInvalid(faults, { file: 'the config' })])
}
