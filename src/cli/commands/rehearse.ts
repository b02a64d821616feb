import { InvalidArgumentError, type Command } from 'commander'
import { randomInt } from 'node:crypto'
import { statSync } from 'node:fs'
import { resolveConfig } from '../../config/validate.ts'
import type { Settings } from '../../config/settings.ts'
import type { ResolvedConfig } from '../../config/resolved.ts'
import { demoConfig } from '../../demo/config.ts'
import { logFolder, removeAbandoned } from '../../rehearse/abandoned.ts'
import { openPlace } from '../../rehearse/place.ts'
import { leftIn } from '../../rehearse/scratch.ts'
import { rehearse, type Rehearsal } from '../../rehearse/rehearsal.ts'
import { EXIT, EXIT_BY_SIGNAL, type ShutdownSignal } from '../exitCodes.ts'
import { createProgress, type Progress } from '../progress.ts'
import { complain, printJson } from '../terminal.ts'
import { readingVerb, taskSetup, type Ending } from '../verb.ts'
import { connectionsOf, demoInsert, intervalsOf, machineEnvironment, PROGRAM } from './rehearse/machines.ts'
import { printRehearsal } from './rehearse/report.ts'

interface Flags {
  readonly config?: string
  readonly json?: true
  readonly deploys: number
  readonly rate: number
  readonly overlap: number
  readonly instances: number
  readonly kill?: true
  readonly seed?: number
  readonly setup?: readonly string[]
  readonly insert?: readonly string[]
}

/** `tidemark rehearse`: blue-green deploys under load on real processes, and a count of what was lost and doubled. */
export function rehearseVerb(ending: Ending): Command {
  return readingVerb('rehearse', 'blue-green deploys under load on real processes; counts lost and doubled')
    .option('--deploys <n>', 'deploys in a row', whole(1, 10_000), 3)
    .option('--rate <n>', 'messages a second, over all pollers', whole(1, 100_000), 50)
    .option('--overlap <seconds>', 'how long both colours run', readSeconds, 20)
    .option('--instances <n>', 'machines of each colour', whole(1, 50), 2)
    .option('--kill', 'kill -9: in each deploy a leader in mid-overlap, or a green before it is ready')
    .option('--seed <n>', 'choose the same victims and rows again', whole(0, 2 ** 32 - 1))
    .option(
      '--setup <file>',
      "SQL that makes the app's tables on the scratch database (again for more)",
      more,
    )
    .option('--insert <sql>', 'statement that writes one row to a source (again for more)', more)
    .action(async (flags: Flags) => {
      ending.code = await run(flags)
    })
}

const SIGNALS = Object.keys(EXIT_BY_SIGNAL) as readonly ShutdownSignal[]

async function run(flags: Flags): Promise<number> {
  const { settings, config: own } = await taskSetup(flags)
  for (const file of flags.setup ?? []) {
    const found = statSync(file, { throwIfNoEntry: false })
    if (found?.isDirectory() === false) continue
    complain(
      `tidemark: --setup ${file}: ${found === undefined ? 'there is no such file' : 'this is a folder; name each file in it'}`,
    )
    return EXIT.usage
  }
  const demo = own === undefined
  if (demo && flags.insert !== undefined) {
    complain(
      'tidemark: --insert is for a config of your own, and there is none: the demo writes its own rows',
    )
    return EXIT.usage
  }
  const config = resolveConfig(own ?? demoConfig(() => undefined), {
    intervals: intervalsOf(settings, demo),
  })
  if (config.pollers.length === 0) {
    complain('tidemark: the config has no poller, so there is nothing to rehearse: give it one')
    return EXIT.failed
  }
  const stop = new AbortController()
  let signalled: ShutdownSignal | undefined
  const onSignal = (signal: ShutdownSignal): void => {
    signalled ??= signal
    stop.abort()
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  const logs = logFolder()
  let ok = false
  const progress = createProgress()
  try {
    for (const folder of await removeAbandoned())
      progress.note(`Removed what a rehearsal that was killed had left: ${folder}`)
    const result = await onPlace(flags, settings, config, demo, logs.path, stop.signal, progress)
    progress.end()
    ok = result.ok
    if (flags.json === true) printJson(result)
    else printRehearsal(result)
    return ok ? EXIT.done : EXIT.failed
  } catch (error) {
    progress.end()
    if (signalled === undefined) throw error
    complain('stopped; nothing was counted')
    return EXIT_BY_SIGNAL[signalled]
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal)
    if (ok || signalled !== undefined) logs.remove()
    else if (logs.keep()) complain(`What the machines said is in ${logs.path}`)
  }
}

async function onPlace(
  flags: Flags,
  settings: Settings,
  config: ResolvedConfig,
  demo: boolean,
  logs: string,
  stop: AbortSignal,
  progress: Progress,
): Promise<Rehearsal> {
  progress.show(
    0,
    settings.databaseUrl === undefined ? 'starting a PostgreSQL of its own' : 'looking at the database',
  )
  const place = await openPlace({ url: settings.databaseUrl, directUrl: settings.directDatabaseUrl })
  try {
    stop.throwIfAborted()
    return await rehearse({
      config,
      place,
      machine: {
        program: PROGRAM,
        args: demo ? ['--demo'] : flags.config === undefined ? [] : ['--config', flags.config],
        env: machineEnvironment(place, demo),
        logs,
      },
      ownTables: demo,
      setup: flags.setup ?? [],
      inserts: demo ? [demoInsert()] : (flags.insert ?? []),
      deploys: flags.deploys,
      instances: flags.instances,
      rate: flags.rate,
      overlapMs: flags.overlap * 1000,
      killLimitMs: settings.shutdownTimeoutMs + KILL_MARGIN_MS,
      kill: flags.kill === true,
      seed: flags.seed ?? randomInt(2 ** 32),
      connections: connectionsOf(settings, config),
      stop,
      progress: progress.show,
      note: progress.note,
    })
  } finally {
    // Whatever ended the rehearsal is what is told; a database that is gone has nothing left.
    const left = place.own ? undefined : await leftIn(place.pool, config.pollers).catch(() => undefined)
    await place.leave()
    if (left !== undefined) progress.note(left)
  }
}

/** Fly.io's own: it waits somewhat longer than the app is told to. */
const KILL_MARGIN_MS = 5_000

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`It is a whole number from ${least} to ${most}.`)
  }
}

function readSeconds(text: string): number {
  const value = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && value <= 3600) return value
  throw new InvalidArgumentError('It is a number of seconds, 3600 at most.')
}

function more(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}
