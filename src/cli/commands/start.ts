import { InvalidArgumentError, type Command } from 'commander'
import { createIdentity } from '../../config/identity.ts'
import { OWN_PACKAGE } from '../../config/packageFacts.ts'
import type { Settings } from '../../config/settings.ts'
import type { TidemarkConfig } from '../../config/types.ts'
import { resolveConfig } from '../../config/validate.ts'
import { ConfigInvalid, SetupInvalid } from '../../errors.ts'
import { createLog } from '../../telemetry/log.ts'
import { EXIT } from '../exitCodes.ts'
import { shutdownBySignals } from '../signals.ts'
import { coloured, print } from '../terminal.ts'
import { taskSetup, verb, type Ending } from '../verb.ts'
import { watchEventLoop } from '../watchdog.ts'

/** Parts that `--only` can name. */
const PARTS = ['intake', 'pollers', 'processors', 'jobs'] as const
export type Part = (typeof PARTS)[number]

interface Flags {
  readonly config?: string
  readonly demo?: true
  readonly only?: readonly Part[]
}

/**
 * `tidemark start`: everything, or only some parts, until a signal. A rehearsal, and nobody else, gives an `observe` that
 * puts its handlers around the config's.
 */
export function startVerb(
  ending: Ending,
  observe: (config: TidemarkConfig) => TidemarkConfig = (config) => config,
): Command {
  return verb('start', 'run intake, pollers, processors and jobs, and serve HTTP')
    .option('--demo', 'run the demo app: its own source, traffic, poller, processor and job')
    .option('--only <parts>', `only these of ${PARTS.join(', ')} (a list with commas)`, readParts)
    .action(async (flags: Flags) => {
      const demo = flags.demo === true ? await loadDemo() : undefined
      try {
        const { settings, config } = await taskSetup(flags, demo?.config)
        if (config === undefined) throw noConfig()
        ending.code = await run(settings, observe(config), flags, demo)
      } catch (error) {
        // People read the list as it stands; what collects logs must not meet a line that is none.
        if (!(error instanceof SetupInvalid) || process.stderr.isTTY) throw error
        logFaults(error)
        ending.code = EXIT.config
      }
    })
}

type Demo = Awaited<ReturnType<typeof loadDemo>>

/** Loaded only when asked for: nobody's own tasks need it. */
async function loadDemo() {
  return (await import('../../demo/config.ts')).createDemo()
}

async function run(settings: Settings, config: TidemarkConfig, flags: Flags, demo?: Demo): Promise<number> {
  const { createRunner } = await import('../../runner.ts')
  const identity = createIdentity(settings)
  const log = createLog({
    service: settings.serviceName,
    instanceId: identity.instanceId,
    level: settings.logLevel,
    format: settings.logFormat,
    redact: config.log?.redact ?? [],
  })
  const runner = createRunner(config, {
    settings,
    identity,
    log,
    ...(demo === undefined
      ? {}
      : { nextFreePort: true, prepare: (pool) => demo.prepare(pool, settings.demoRate) }),
    ...(flags.only === undefined ? {} : { only: flags.only }),
  })
  const watchdog = watchEventLoop(settings, identity.instanceId, blockedLimitMs(config, settings.leaseMs))
  try {
    return await shutdownBySignals(runner, log, () => greet(settings, runner.address))
  } finally {
    await watchdog.stop()
    await log.close()
  }
}

/** What blocks in bursts, longest handler and all, gets through in between. */
const BLOCKED_MARGIN_MS = 5_000

/**
 * How long the event loop may stand still: until every handler is past its limit, so that there is nothing left to wait
 * for, and until others have taken the leases, since before that nobody has noticed.
 */
function blockedLimitMs(config: TidemarkConfig, leaseMs: number): number {
  const { processors, jobs } = resolveConfig(config)
  return Math.max(leaseMs, ...[...processors, ...jobs].map(({ timeoutMs }) => timeoutMs)) + BLOCKED_MARGIN_MS
}

function logFaults({ problems }: SetupInvalid): void {
  const log = createLog({ service: OWN_PACKAGE.name, instanceId: 'cli-start' })
  for (const problem of problems) {
    for (const { what, given, expected } of problem.faults) {
      const value = given === undefined ? '' : ` is ${JSON.stringify(given)}`
      log.event('config_invalid', `${what}${value}: expected ${expected}`, {
        what,
        expected,
        ...(problem instanceof ConfigInvalid && problem.file !== undefined ? { file: problem.file } : {}),
      })
    }
  }
}

/** What a new user reads first. */
function greet(settings: Settings, address: string | undefined): void {
  const nextPort = address !== undefined && settings.port !== 0 && !address.endsWith(`:${settings.port}`)
  print(coloured('bold', 'Tidemark is ready.'))
  if (address !== undefined) print(`  Open      ${coloured('green', address)}`)
  if (nextPort) print(`            (port ${settings.port} is taken; set PORT to choose)`)
  print('  Then try  npx tidemark status')
  print('            npx tidemark verify')
  print(
    '            npx tidemark sql "SELECT status, count(*) FROM service_ops.integration_inbox GROUP BY status"',
  )
}

function readParts(value: string): Part[] {
  const parts = value.split(',').map((part) => part.trim())
  const unknown = parts.filter((part) => !isPart(part))
  if (unknown.length > 0) {
    throw new InvalidArgumentError(`Unknown: ${unknown.join(', ')}. It takes ${PARTS.join(', ')}.`)
  }
  return parts.filter(isPart)
}

function isPart(text: string): text is Part {
  return (PARTS as readonly string[]).includes(text)
}

function noConfig(): SetupInvalid {
  return new SetupInvalid([
    new ConfigInvalid(
      [
        {
          what: 'tidemark.config.ts',
          expected:
            'a config file here (.ts, .mts, .js or .mjs), or one named with --config; ' +
            '`tidemark init` writes one to begin with, `tidemark start --demo` runs the demo without one',
        },
      ],
      { file: 'the config' },
    ),
  ])
}
