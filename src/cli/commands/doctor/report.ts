import type { Finding, Severity } from '../../../doctor/check.ts'
import type { Examined } from '../../../doctor/examine.ts'
import { coloured, print } from '../../terminal.ts'

/** What people read of an examination: what was found, with its remedy; what could not be looked at; and a count. */
export function printExamined(results: readonly Examined[]): void {
  for (const { name, findings } of results)
    for (const finding of findings.filter(({ severity }) => severity !== 'note')) printFinding(name, finding)
  for (const { name, why, remedy, is_optional: isOptional } of results) {
    if (why === null || isOptional) continue
    print(`${coloured('yellow', 'not run')}  ${coloured('bold', name)}: ${why}`)
    print(`         ${arrow(remedy ?? '')}`)
  }
  const notes = results.flatMap(({ name, findings }) =>
    findings.filter(({ severity }) => severity === 'note').map((finding) => ({ name, finding })),
  )
  for (const { name, finding } of notes) printFinding(name, finding)
  printLeftOut(results)
  print(countOf(results))
}

const WORD: Readonly<Record<Severity, string>> = {
  fault: coloured('red', 'fault  '),
  warning: coloured('yellow', 'warning'),
  unseen: coloured('yellow', 'unseen '),
  note: coloured('dim', 'note   '),
}

function printFinding(name: string, { severity, seen, remedy }: Finding): void {
  print(`${WORD[severity]}  ${coloured('bold', name)}: ${seen}`)
  print(`         ${arrow(remedy)}`)
}

function arrow(remedy: string): string {
  return `${coloured('dim', '→')} ${remedy}`
}

/** Of what this app has not, all in one line: it is the same reason for each. */
function printLeftOut(results: readonly Examined[]): void {
  const leftOut = results.filter(({ is_optional: isOptional }) => isOptional)
  const [first] = leftOut
  if (first === undefined) return
  print(
    coloured(
      'dim',
      `left out: ${leftOut.map(({ name }) => name).join(', ')}: ${first.why ?? ''} (${first.remedy ?? ''})`,
    ),
  )
}

function countOf(results: readonly Examined[]): string {
  const ran = results.filter(({ status }) => status !== 'not_run')
  const found = ran.flatMap(({ findings }) => findings).filter(({ severity }) => severity !== 'note').length
  const notRun = results.filter(
    ({ status, is_optional: isOptional }) => status === 'not_run' && !isOptional,
  ).length
  const rest = notRun === 0 ? '' : `, ${notRun} could not be run`
  const what = found === 0 ? coloured('green', 'nothing found') : coloured('red', `${found} found`)
  return `${what} by ${ran.length} checks${rest}`
}
