import type { Command } from 'commander'
import { resolve } from 'node:path'
import type { Client } from 'pg'
import type { ResolvedConfig } from '../../config/resolved.ts'
import type { Settings } from '../../config/settings.ts'
import type { TidemarkConfig } from '../../config/types.ts'
import { resolveConfig } from '../../config/validate.ts'
import { closeClient, openClient } from '../../db/connection.ts'
import { CannotRun, LIMITS, type Ways } from '../../doctor/check.ts'
import { CHECKS } from '../../doctor/checks.ts'
import { isDemo } from '../../doctor/demo.ts'
import { examine, isClean, type Examined } from '../../doctor/examine.ts'
import { flyOf } from '../../doctor/fly/deployed.ts'
import { lookAtWays } from '../../doctor/reach.ts'
import { DatabaseAway, NoDatabase } from '../../errors.ts'
import { cleanError } from '../../telemetry/errorText.ts'
import { awayFrom, findDatabase, type DatabaseAddress } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { printJson } from '../terminal.ts'
import { readingVerb, taskSetup, type Ending, type ReadingFlags } from '../verb.ts'
import { printExamined } from './doctor/report.ts'

interface Flags extends ReadingFlags {
  readonly fly?: string
  readonly notes?: true
}

/** `tidemark doctor`: looks for mistakes in the set-up, each with what mends it; changes nothing. */
export function doctorVerb(ending: Ending): Command {
  return readingVerb('doctor', 'look for mistakes in the set-up, each with its remedy')
    .option('--fly <file>', 'the app on Fly.io (default: ./fly.toml, where there is one)')
    .option('--notes', 'tell what is worth knowing and no mistake, too')
    .action(async (flags: Flags) => {
      const results = await run(flags)
      if (flags.json === true) printJson(documentOf(results))
      else printExamined(results, { notes: flags.notes === true })
      ending.code = isClean(results) ? EXIT.done : EXIT.failed
    })
}

async function run(flags: Flags): Promise<Examined[]> {
  const { settings, config } = await taskSetup(flags)
  const fly = flyOf(resolve(flags.fly ?? 'fly.toml'), process.cwd(), flags.fly !== undefined)
  const address = await addressHere(settings)
  const client = address instanceof CannotRun ? address : await connect(settings, address)
  try {
    const written = config ?? (await demoHere(client)) ?? NO_CONFIG
    return await examine(
      {
        settings,
        limits: LIMITS,
        client,
        written: () => given(written),
        config: once((): ResolvedConfig =>
          resolveConfig(given(written), { intervals: settings.pollerIntervals }),
        ),
        ways: once(async (): Promise<Ways> => {
          // Where nothing was to be reached a moment ago, that is the reason, and no second one.
          given(client)
          const { url, directUrl } = given(address)
          return lookAtWays(url, directUrl, settings.connectTimeoutMs)
        }),
        fly,
        now: () => Date.now(),
      },
      CHECKS,
    )
  } finally {
    if (!(client instanceof CannotRun)) await closeClient(client)
  }
}

const NO_CONFIG = new CannotRun(
  'there is no config file here, so nothing is known of pollers and processors',
  'run it beside tidemark.config.ts, or with --config FILE',
)

/** The thing, or its absence thrown. */
function given<T>(thing: T | CannotRun): T {
  if (thing instanceof CannotRun) throw thing
  return thing
}

/** Looked up when somebody asks first. */
function once<T>(look: () => T): () => T {
  let found: { readonly value: T } | undefined
  return () => (found ??= { value: look() }).value
}

async function addressHere(settings: Settings): Promise<DatabaseAddress | CannotRun> {
  try {
    return await findDatabase(settings)
  } catch (error) {
    if (!(error instanceof NoDatabase)) throw error
    return new CannotRun(`there is no database: ${error.reason}`, error.remedy, { cause: error })
  }
}

/** An answer that takes longer is none: the server's own limits end every statement long before. */
const SILENCE_MS = 30_000

async function connect(settings: Settings, { url }: DatabaseAddress): Promise<Client | CannotRun> {
  try {
    return await openClient({
      url,
      applicationName: 'tidemark:doctor',
      connectTimeoutMs: settings.connectTimeoutMs,
      // A pooler refuses limits at the start, and what the role itself has is to be seen.
      startupOptions: false,
      limits: { statementTimeoutMs: SILENCE_MS, lockTimeoutMs: 0, idleInTransactionMs: 0 },
    })
  } catch (error) {
    const cause = awayFrom(error, settings, url)
    const { reason, remedy } =
      cause instanceof DatabaseAway
        ? cause
        : { reason: cleanError(cause).text, remedy: 'see that DATABASE_URL is right' }
    return new CannotRun(`the database cannot be used: ${reason}`, remedy, { cause })
  }
}

/** The demo needs no config file, and so none for looking at it either. */
async function demoHere(client: Client | CannotRun): Promise<TidemarkConfig | undefined> {
  if (client instanceof CannotRun || !(await isDemo(client))) return undefined
  return (await import('../../demo/config.ts')).createDemo().config
}

/** The document of `--json`. */
function documentOf(results: readonly Examined[]) {
  const findings = results.flatMap((result) => result.findings)
  return {
    ok: isClean(results),
    findings: findings.filter(({ severity }) => severity !== 'note').length,
    notes: findings.filter(({ severity }) => severity === 'note').length,
    not_run: results.filter(({ status }) => status === 'not_run').length,
    checks: results,
  }
}
