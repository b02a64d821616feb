import { InvalidArgumentError, type Command } from 'commander'
import { closeClient, openClient } from '../../db/connection.ts'
import { CannotRun } from '../../doctor/check.ts'
import { NoDatabase } from '../../errors.ts'
import { examineTable, type ExaminedTable } from '../../init/examineTable.ts'
import { sourceNameOf, type Names } from '../../init/names.ts'
import { lookAtProject, type Project } from '../../init/project.ts'
import { scaffold, type Purpose } from '../../init/scaffold.ts'
import { findDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { messageOf } from '../message.ts'
import { readSetup } from '../setup.ts'
import { verb, type Ending } from '../verb.ts'
import { isReady, printCannot, printNext, printTable, printWritten } from './init/report.ts'

interface Flags {
  readonly config?: string
  readonly table?: string
}

/** `tidemark init`: writes what an app begins with, never over a file; with `--table`, for that table. */
export function initVerb(ending: Ending): Command {
  const command = verb(
    'init',
    'write a starting config, handler and test, Dockerfile and fly.toml, never over a file',
  )
  command.options.find(({ long }) => long === '--config')?.argParser(fileName)
  return command
    .option('--table <table>', 'look at this table and fill in its columns: schema.table')
    .action(async (flags: Flags) => {
      const project = lookAtProject(process.cwd(), flags.config)
      const seen = flags.table === undefined ? undefined : await look(flags.table)
      const purpose: Purpose =
        seen === undefined ? 'intake' : seen instanceof CannotRun ? 'later' : { table: seen }
      const names = namesOf(
        project,
        flags,
        seen instanceof CannotRun || seen === undefined ? 'orders' : nameOf(seen),
      )
      const { written, commands } = scaffold(project, names, purpose)
      printWritten(written)
      if (seen instanceof CannotRun) printCannot(flags.table ?? '', seen)
      else if (seen !== undefined) printTable(names, seen)
      const hasImage = written.some(({ path, how }) => path === 'Dockerfile' && how === 'wrote')
      printNext({ purpose, names, commands, hasConfig: project.config !== undefined, hasImage })
      const isWhole = written.every(({ how }) => how !== 'failed')
      const isUsable = seen === undefined || (!(seen instanceof CannotRun) && isReady(seen))
      ending.code = isWhole && isUsable ? EXIT.done : EXIT.failed
    })
}

/** The config lies in the folder that init is run in: everything else that is written names it by its name. */
function fileName(value: string): string {
  if (!/^[\w.-]+\.m?ts$/.test(value))
    throw new InvalidArgumentError('init writes a file of this folder whose name ends in .ts or .mts')
  return value
}

function nameOf({ look: { name } }: ExaminedTable): string {
  return sourceNameOf(name)
}

function namesOf(project: Project, { config }: Flags, source: string): Names {
  const extension = project.manifest === undefined || project.manifest.isModule ? 'ts' : 'mts'
  return {
    source,
    processor: `${source}_processor`,
    app: project.app,
    // One that is there is what a deploy brings along.
    config: config ?? project.config ?? `tidemark.config.${extension}`,
    extension,
  }
}

async function look(table: string): Promise<ExaminedTable | CannotRun> {
  // The file that is named is one to be written, not to be read.
  const { settings } = await readSetup({ look: 'named' })
  try {
    const { url } = await findDatabase(settings)
    const client = await openClient({
      url,
      applicationName: 'tidemark:init',
      connectTimeoutMs: settings.connectTimeoutMs,
      // A pooler refuses limits at the start; each look sets its own.
      startupOptions: false,
      limits: { statementTimeoutMs: SILENCE_MS, lockTimeoutMs: 0, idleInTransactionMs: 0 },
    })
    try {
      return await examineTable(client, settings, table, ({ name }) => sourceNameOf(name))
    } finally {
      await closeClient(client)
    }
  } catch (error) {
    if (error instanceof CannotRun) return error
    if (error instanceof NoDatabase)
      return new CannotRun(error.message, 'set DATABASE_URL to the database that has the table', {
        cause: error,
      })
    return new CannotRun(messageOf(error), 'see that the database is up, and that DATABASE_URL is right', {
      cause: error,
    })
  }
}

/** An answer that takes longer is none: the server's own limits end every statement long before. */
const SILENCE_MS = 30_000
