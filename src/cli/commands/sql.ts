import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import type { Client } from 'pg'
import type { Settings } from '../../config/settings.ts'
import { isConnectionError } from '../../db/sqlstate.ts'
import { readOnly, withDatabase } from '../database.ts'
import { EXIT } from '../exitCodes.ts'
import { messageOf } from '../message.ts'
import { asObjects, printResult, runQuery, type QueryOutput } from '../query.ts'
import { complain, print, printJson } from '../terminal.ts'
import { databaseSetup, readingVerb, type Ending, type ReadingFlags } from '../verb.ts'

const HELP = `One statement, ended by a semicolon; it runs in a read-only transaction.
  \\q, quit, exit   leave
  \\d               the relations of service_ops
  \\?, help         this`

const RELATIONS = `SELECT c.relname AS relation, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END AS kind,
  obj_description(c.oid, 'pg_class') AS comment FROM pg_class c
  WHERE c.relnamespace = to_regnamespace('service_ops') AND c.relkind IN ('r', 'p', 'v') ORDER BY 1`

/** `tidemark sql [QUERY]`: one read-only query, or a prompt. */
export function sqlVerb(ending: Ending): Command {
  return readingVerb('sql', 'run a query in a read-only transaction; without one, a prompt')
    .argument('[query]', 'one SQL statement')
    .action(async (query: string | undefined, flags: ReadingFlags) => {
      const { settings } = await databaseSetup(flags)
      const show = flags.json === true ? (output: QueryOutput) => printJson(asObjects(output)) : printResult
      ending.code = await withDatabase(settings, async (client) => {
        if (query === undefined) return prompt(client, settings, show)
        show(await readOnly(client, settings, () => runQuery(client, query)))
        return EXIT.done
      })
    })
}

/**
 * Reads statements until the end of input. From a terminal a failed one is told and the prompt goes on; from a pipe
 * the first failure ends it, as a script would want.
 */
async function prompt(
  client: Client,
  settings: Settings,
  show: (output: QueryOutput) => void,
): Promise<number> {
  const terminal = process.stdin.isTTY
  const lines = createInterface({
    input: process.stdin,
    output: process.stderr,
    terminal,
    prompt: 'tidemark=> ',
  })
  if (terminal) {
    complain('Read-only. \\? for help, \\q to leave.')
    lines.prompt()
  }
  let statement = ''
  try {
    for await (const line of lines) {
      const word = line.trim().toLowerCase()
      if (statement === '' && ['\\q', 'quit', 'exit'].includes(word)) break
      statement += `${line}\n`
      if (word === '\\?' || word === 'help') {
        print(HELP)
        statement = ''
      } else if (word === '\\d' || /;\s*$/.test(line)) {
        const text = word === '\\d' ? RELATIONS : statement
        statement = ''
        if (!(await run(client, settings, text, show)) && !terminal) return EXIT.failed
      } else if (statement.trim() === '') {
        statement = ''
      }
      if (terminal) {
        lines.setPrompt(statement === '' ? 'tidemark=> ' : 'tidemark-> ')
        lines.prompt()
      }
    }
  } finally {
    lines.close()
  }
  const rest = statement.trim()
  if (rest !== '' && !terminal) return (await run(client, settings, rest, show)) ? EXIT.done : EXIT.failed
  return EXIT.done
}

async function run(
  client: Client,
  settings: Settings,
  text: string,
  show: (output: QueryOutput) => void,
): Promise<boolean> {
  try {
    show(await readOnly(client, settings, () => runQuery(client, text)))
    return true
  } catch (error) {
    // A prompt on a lost connection could only fail again.
    if (isConnectionError(error)) throw error
    complain(messageOf(error))
    return false
  }
}
