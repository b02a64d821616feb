import type { CannotRun } from '../../../doctor/check.ts'
import type { ExaminedTable } from '../../../init/examineTable.ts'
import type { Picked } from '../../../init/guessId.ts'
import type { Names } from '../../../init/names.ts'
import type { Purpose } from '../../../init/scaffold.ts'
import type { Written } from '../../../init/write.ts'
import { printable } from '../../../kit/printable.ts'
import { coloured, print } from '../../terminal.ts'

/* What people read of an init: which files, what a table looks like, what is wrong with it, and what to do next. */

export function printWritten(written: readonly Written[]): void {
  for (const file of written) {
    if (file.how === 'wrote') print(`wrote       ${file.path}`)
    else if (file.how === 'kept') print(coloured('dim', `left alone  ${file.path}: it is there already`))
    else print(`${coloured('red', 'not written')} ${file.path}: ${file.why}`)
  }
}

export function printTable({ source }: Names, { look, guess, remarks }: ExaminedTable): void {
  const { id, createdAt, payload, groupKey } = guess
  print()
  print(`${coloured('bold', printable(look.table))} is polled as ${coloured('bold', source)}`)
  print(`  id         ${told(id)}`)
  print(`  time       ${told(createdAt)}`)
  print(`  payload    ${payload === undefined ? 'the whole row' : told(payload)}`)
  print(`  group key  ${groupKey === undefined ? 'none' : told(groupKey)}`)
  for (const { severity, check, seen, remedy } of remarks) {
    const colour = severity === 'fault' ? 'red' : severity === 'note' ? 'dim' : 'yellow'
    print(`${coloured(colour, severity)}  ${coloured('bold', check)}: ${printable(seen)}`)
    print(`         ${coloured('dim', '→')} ${printable(remedy)}`)
  }
}

function told({ column, why }: Picked): string {
  return printable(`${column} (${why})`)
}

/** Whether a poller of it starts as it is. */
export function isReady({ remarks }: ExaminedTable): boolean {
  return remarks.every(({ severity }) => severity !== 'fault')
}

/** Nothing is known of the table: what belongs to it was not written. */
export function printCannot(table: string, { message, remedy }: CannotRun): void {
  print()
  print(`${coloured('red', 'fault')}  ${printable(table)}: ${printable(message)}`)
  print(`       ${coloured('dim', '→')} ${printable(remedy)}`)
  print('The config, its handler and the test of it were not written: run init again when that is mended.')
}

interface Next {
  readonly purpose: Purpose
  readonly names: Names
  readonly commands: readonly string[]
  /** A config was there already. */
  readonly hasConfig: boolean
  /** The Dockerfile is of this init. */
  readonly hasImage: boolean
}

export function printNext({ purpose, names, commands, hasConfig, hasImage }: Next): void {
  if (purpose === 'later') return
  print()
  const isFaulty = typeof purpose === 'object' && !isReady(purpose.table)
  print(coloured('bold', isFaulty ? 'Next, once the faults are mended' : 'Next'))
  if (commands.length === 0) print('  npm install')
  for (const command of commands) print(`  ${command}`)
  if (hasConfig && hasImage)
    print(
      `  see that Dockerfile and .dockerignore name all that is imported: they have ${names.config} and handlers/`,
    )
  if (hasConfig) return
  print('  npm test')
  if (purpose === 'intake') {
    print('  INTAKE_TOKEN=a-token-of-16-letters-or-more npm start')
    print(
      `  curl -H 'Authorization: Bearer a-token-of-16-letters-or-more' -H 'Content-Type: application/json' \\`,
    )
    print(
      `    -d '{"message_id": "1", "payload": {"item": "tea"}}' http://127.0.0.1:8080/inbox/${names.source}`,
    )
  } else print('  npm start')
  print('  npx tidemark doctor --fly fly.toml')
}
