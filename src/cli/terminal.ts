import Table from 'cli-table3'
import { styleText } from 'node:util'

type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red'

/** Writes a line for people to stdout. */
export function print(line = ''): void {
  process.stdout.write(`${line}\n`)
}

/** Writes the one document of a `--json` verb. */
export function printJson(document: unknown): void {
  print(JSON.stringify(document, null, process.stdout.isTTY ? 2 : undefined))
}

/** Writes a complaint to stderr. */
export function complain(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Coloured on a terminal that wants it; `styleText` looks at the stream, NO_COLOR and FORCE_COLOR itself. */
export function coloured(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout })
}

/** psql's plain look: it copies well out of a terminal, and lines up without colours. */
const CHARACTERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
} as const

/** A table as text, a line per row; an empty list of rows gives the head alone. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const made = new Table({
    head: head.map((name) => coloured('bold', name)),
    chars: CHARACTERS,
    // Colours are ours, by `coloured`; the library's own would come without a terminal too.
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
  made.push(...rows.map((row) => [...row]))
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** A table under a heading, or a sentence where there is nothing to show. */
export function section(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  nothing: string,
): string {
  return `${coloured('bold', title)}\n${rows.length === 0 ? coloured('dim', nothing) : table(head, rows)}`
}

/** A count as people read it: `12,345`. */
export function grouped(n: number): string {
  return n.toLocaleString('en-US')
}
