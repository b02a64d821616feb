import { printable } from '../kit/printable.ts'
import { CLIENT_LATENESS, type ExaminedTable, type Remark } from './examineTable.ts'
import type { Picked } from './guessId.ts'
import { comment, literal } from './typescript.ts'

/** The part of the config that says what is polled, with what was found as comments. */
export function sourceText(name: string, examined: ExaminedTable): string[] {
  const { guess, clientTimes } = examined
  const source = [
    ...option('table', guess.table),
    ...picked('id', guess.id),
    ...picked('createdAt', guess.createdAt),
    ...(guess.timeZone === undefined
      ? []
      : [
          ...option(
            'timeZone',
            guess.timeZone,
            'if that is what it holds; else read it through a view, AT TIME ZONE',
          ),
        ]),
    ...(guess.payload === undefined
      ? comment("payload: the whole row; or a column, or a list of them: ['item', 'pieces']")
      : picked('payload', guess.payload)),
    ...(guess.groupKey === undefined
      ? comment('groupKey: the column of a tenant, for slots and order')
      : picked('groupKey', guess.groupKey)),
    ...(guess.traceId === undefined ? [] : picked('traceId', guess.traceId)),
    ...(clientTimes === null
      ? []
      : [...comment(`${clientTimes}: so late a row may be.`), ...option('lateness', CLIENT_LATENESS)]),
  ]
  return [
    'pollers: {',
    ...indented([
      ...examined.remarks.flatMap(remarkText),
      `${name}: {`,
      ...indented(['source: {', ...indented(source), '},', "every: '10s',", ...startText(examined)]),
      '},',
    ]),
    '},',
  ]
}

function startText({ older, look, guess }: ExaminedTable): string[] {
  if (!guess.isThere) return []
  if (older === null)
    return comment(
      "It begins with the oldest row that is there; startFrom: 'now' begins with what comes from now on.",
    )
  const rows = /^\d+$/.test(older) ? `${older} rows` : `rows (${older})`
  return [
    ...comment(
      `${look.table} has ${rows} older than 7 days, what the inbox keeps. 'now' leaves out all that is there; 'beginning' ` +
        "takes all of it in, or a time: '2026-01-31T12:00:00Z'.",
    ),
    "startFrom: 'now',",
  ]
}

/** A remedy is in one line, however long, so that it can be copied. */
function remarkText({ severity, check, seen, remedy }: Remark): string[] {
  return [...comment(`${severity}, ${check}: ${seen}`, '', '  '), `//   → ${printable(remedy)}`]
}

function picked(name: string, { column, why }: Picked): string[] {
  return option(name, column, why)
}

/** Short enough that a reason stands behind its option, and not before it. */
const LINE_MOST = 100

function option(name: string, value: string, why?: string): string[] {
  const line = `${name}: ${literal(value)},`
  if (why === undefined) return [line]
  const reason = comment(why)
  const [only = ''] = reason
  return reason.length === 1 && line.length + only.length < LINE_MOST
    ? [`${line} ${only}`]
    : [...reason, line]
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`)
}
