import type { Client } from 'pg'
import type { Settings } from '../config/settings.ts'
import type { PollerConfig, TidemarkConfig } from '../config/types.ts'
import { resolveConfig } from '../config/validate.ts'
import { errorClass } from '../db/sqlstate.ts'
import { CannotRun, fault, LIMITS, type Check, type Finding } from '../doctor/check.ts'
import { cursorIndex } from '../doctor/cursorIndex.ts'
import { examine, type Examined, type Patient } from '../doctor/examine.ts'
import { sources, sourceTimes } from '../doctor/sources.ts'
import { SourceInvalid } from '../errors.ts'
import { checkSource } from '../ingest/sourceCheck.ts'
import { countOlder } from '../tables/source.ts'
import { guessSource, indexAdvice, type Guess } from './guess.ts'
import { lookAtTable, type Look } from './look.ts'

/** A finding, and which check of the doctor's it is of. */
export interface Remark extends Finding {
  readonly check: string
}

/** A table with what a poller of it needs to be told. */
export interface ExaminedTable {
  readonly look: Look
  readonly guess: Guess
  /** Why a client may set the rows' times; null: the database does. */
  readonly clientTimes: string | null
  /** Rows that are older than what the inbox keeps, as people count them; null: none. */
  readonly older: string | null
  readonly remarks: readonly Remark[]
}

/** So late a row's time may be where a client sets it; what an instance takes by itself. */
export const CLIENT_LATENESS = '10m'

/**
 * Looks at a table as the doctor does: each look in a read-only transaction of its own.
 * @throws CannotRun with the remedy, where nothing can be guessed
 */
export async function examineTable(
  client: Client,
  settings: Settings,
  table: string,
  nameOf: (look: Look) => string,
): Promise<ExaminedTable> {
  const look = await once(client, settings, {}, 'table', (context) => lookAtTable(context.database(), table))
  const guess = guessSource(look)
  const name = nameOf(look)
  const remarks: Remark[] = guess.findings.map((finding) => ({ ...finding, check: 'sources' }))
  const advice = indexAdvice(look, guess)
  const indexed: Remark[] = advice === undefined ? [] : [{ ...advice, check: 'cursor_index' }]
  if (!guess.isThere) {
    // Of a view nothing is known but that whoever writes to the table could say the time.
    const clientTimes =
      guess.table === look.table ? null : 'the times of a view could be set by whoever writes'
    return { look, guess, clientTimes, older: null, remarks: [...remarks, ...indexed] }
  }
  const source = sourceOf(guess)
  const read = await readable(client, settings, configOf(name, { source }))
  if ('severity' in read) {
    return {
      look,
      guess,
      clientTimes: null,
      older: null,
      remarks: [...remarks, { ...read, check: 'sources' }, ...indexed],
    }
  }
  const { clientTimes, older } = read
  const config = configOf(name, {
    source: { ...source, ...(clientTimes === null ? {} : { lateness: CLIENT_LATENESS }) },
  })
  const found = remarksOf(
    await examine(patient(client, settings, config), [sources, sourceTimes, cursorIndex]),
  )
  // The doctor's own word is by the plan of a statement, and needs Tidemark's tables; a small table needs no index yet.
  const knowsIndex = found.some(({ check }) => check === 'cursor_index')
  return { look, guess, clientTimes, older, remarks: [...remarks, ...found, ...(knowsIndex ? [] : indexed)] }
}

/** The source as it is written into the config. */
export function sourceOf({
  table,
  id,
  createdAt,
  timeZone,
  payload,
  groupKey,
  traceId,
}: Guess): PollerConfig['source'] {
  return {
    table,
    id: id.column,
    createdAt: createdAt.column,
    ...(timeZone === undefined ? {} : { timeZone }),
    ...(payload === undefined ? {} : { payload: payload.column }),
    ...(groupKey === undefined ? {} : { groupKey: groupKey.column }),
    ...(traceId === undefined ? {} : { traceId: traceId.column }),
  }
}

function configOf(name: string, poller: PollerConfig): TidemarkConfig {
  return {
    pollers: { [name]: poller },
    processors: { [`${name}_processor`]: { from: name, contract: 'transactional', handle: () => undefined } },
  }
}

function patient(client: Client, settings: Settings, config: TidemarkConfig): Patient {
  const absent = (): never => {
    throw new CannotRun('it is not looked at by init', 'tidemark doctor')
  }
  return {
    settings,
    limits: LIMITS,
    client,
    written: () => config,
    config: () => resolveConfig(config),
    ways: absent,
    fly: absent,
    now: () => Date.now(),
  }
}

/** One look, as a check makes it. @throws CannotRun */
async function once<T>(
  client: Client,
  settings: Settings,
  config: TidemarkConfig,
  name: string,
  look: (context: Parameters<Check['run']>[0]) => Promise<T>,
): Promise<T> {
  let seen: { readonly value: T } | undefined
  const check: Check = {
    name,
    title: '',
    async run(context) {
      seen = { value: await look(context) }
      return []
    },
  }
  const [result] = await examine(patient(client, settings, config), [check])
  if (seen === undefined)
    throw new CannotRun(result?.why ?? 'it was not looked at', result?.remedy ?? 'run it again')
  return seen.value
}

/** Whether a pass can read it, and what its rows tell; or what keeps it from being read. */
async function readable(
  client: Client,
  settings: Settings,
  config: TidemarkConfig,
): Promise<{ clientTimes: string | null; older: string | null } | Finding> {
  try {
    return await once(client, settings, config, 'source', async (context) => {
      const [poller] = context.config().pollers
      if (poller === undefined) throw new Error('the config has the poller that was put into it')
      const { source, clientTimes } = await checkSource(context.database(), poller.source).catch(withRemedy)
      const { table, columns } = source
      const older = await countOlder(context.database(), table, columns, poller.retentionMs).catch(
        (error: unknown) => {
          if (errorClass(error) === 'timeout') return 'too many to be counted in time'
          throw error
        },
      )
      return { clientTimes, older: older === 0 ? null : String(older) }
    })
  } catch (error) {
    if (!(error instanceof CannotRun)) throw error
    return fault(error.message, error.remedy)
  }
}

function withRemedy(error: unknown): never {
  if (error instanceof SourceInvalid)
    throw new CannotRun(`${error.table}: ${error.problem}`, error.remedy, { cause: error })
  throw error
}

/** What could not be looked at before there is a schema of Tidemark's is left to the doctor. */
function remarksOf(results: readonly Examined[]): Remark[] {
  return results.flatMap(({ name, findings }) => findings.map((finding) => ({ ...finding, check: name })))
}
