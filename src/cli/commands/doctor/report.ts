import type { Finding, Severity } from '../../../doctor/check.ts'
import type { Examined } from '../../../doctor/examine.ts'
import { coloured, print } from '../../terminal.ts'

/**
 * What people read of an examination: what was found, with its remedy; what could not be looked at; and a count. Of one in which
 * nothing was found that is the count alone; what is worth knowing and no mistake is told to whoever asks.
 */
export function printExamined(results: readonly Examined[], { notes }: { readonly notes: boolean }): void {
  for (const { name, finding } of findingsOf(results, false)) printFinding(name, finding)
  printNotRun(results)
  if (notes) {
    for (const { name, finding } of findingsOf(results, true)) printFinding(name, finding)
    printLeftOut(results)
  }
  print(countOf(results, notes))
}

/** Notes, or everything else. */
function findingsOf(
  results: readonly Examined[],
  notes: boolean,
): { readonly name: string; readonly finding: Finding }[] {
  return results.flatMap(({ name, findings }) =>
    findings.filter(({ severity }) => (severity === 'note') === notes).map((finding) => ({ name, finding })),
  )
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

/** A reason is told once, however many checks it kept from looking, and not again where it was found. */
function printNotRun(results: readonly Examined[]): void {
  const finders = new Map(findingsOf(results, false).map(({ name, finding }) => [finding.seen, name]))
  const word = coloured('yellow', 'not run')
  for (const [why, of] of Map.groupBy(notRun(results), (result) => result.why ?? '')) {
    const names = coloured('bold', of.map(({ name }) => name).join(', '))
    const finder = finders.get(why)
    if (finder !== undefined) {
      print(`${word}  because of ${finder}: ${names}`)
    } else {
      print(`${word}  ${names}: ${why}`)
      print(`         ${arrow(of[0]?.remedy ?? '')}`)
    }
  }
}

function notRun(results: readonly Examined[]): Examined[] {
  return results.filter(({ status, is_optional: isOptional }) => status === 'not_run' && !isOptional)
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

function countOf(results: readonly Examined[], toldNotes: boolean): string {
  const ran = results.filter(({ status }) => status !== 'not_run').length
  const found = findingsOf(results, false).length
  const missed = notRun(results).length
  const isClean = found === 0 && missed === 0
  const notes = findingsOf(results, true).length
  const leftOut = results.filter(({ is_optional: isOptional }) => isOptional)
  return [
    isClean
      ? coloured('green', `all ${ran} checks passed`)
      : `${found === 0 ? 'nothing found' : coloured('red', `${found} found`)} by ${ran} checks${missed === 0 ? '' : `, ${missed} could not be run`}`,
    ...(leftOut.length === 0 ? [] : [`${leftOut.length} left out, since ${leftOut[0]?.why ?? ''}`]),
    ...(notes === 0 || toldNotes ? [] : [`${notes} ${notes === 1 ? 'note' : 'notes'}, told with --notes`]),
  ].join('; ')
}
