/**
 * Looking again and again: `--watch`.
 *
 * On a terminal each look takes the place of the one before, on a screen of its own that is gone afterwards; the last one is left
 * behind for the record. The text is written over, line by line and in one piece, so that nothing flickers. Elsewhere each look
 * is printed after the one before; with `--json` it is one document a line.
 *
 * - *The database is away*: that is what is shown, above what was seen last, until it is back.
 * - *A look takes long*: the next one begins so many seconds after its end. A database that takes a statement and does not
 *   answer (frozen, or behind a network that drops everything) would leave old numbers on the screen as if they were new: after a
 *   few seconds they are shown as old.
 * - *Ctrl-C, SIGTERM, or a reader that went away* (`| head`): it ends, also in the middle of a look, and the exit code is 0.
 */
import { stripVTControlCharacters, styleText } from 'node:util'
import { InvalidArgumentError } from 'commander'
import { pause } from '../kit/pause.ts'
import { span } from '../kit/span.ts'
import { failedSight } from './sight.ts'
import type { Sight } from './sight.ts'
import { coloured, print } from './terminal.ts'

export interface WatchOptions {
  /** From the end of a look to the beginning of the next, in seconds. */
  readonly everyS: number
  readonly json: boolean
  look(): Promise<Sight>
}

/** `--watch` without a number. */
const EVERY_S = 2
const LEAST_S = 0.1
/** So long a look may take before what is on the screen is called old, and so often that is said anew. */
const SLOW_MS = 3_000

/** The number of `--watch [seconds]`. */
export function readEvery(text: string): number {
  const seconds = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && seconds >= LEAST_S) return seconds
  throw new InvalidArgumentError(`It is a number of seconds, ${LEAST_S} at least.`)
}

/** How often to look, as the flag has it. */
export function everyOf({ watch }: { readonly watch?: true | number }): number {
  return typeof watch === 'number' ? watch : EVERY_S
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** Looks until it is told to end. Never rejects for a look that failed. */
export async function watch(options: WatchOptions): Promise<void> {
  const { stdout } = process
  const ending = new AbortController()
  const end = (): void => ending.abort()
  for (const signal of SIGNALS) process.on(signal, end)
  stdout.on('error', end)
  const ended = new Promise<undefined>((resolve) =>
    ending.signal.addEventListener('abort', () => resolve(undefined), { once: true }),
  )
  const screen = options.json || !stdout.isTTY ? undefined : openScreen(stdout, options.everyS)
  try {
    let good: { readonly text: string; readonly at: number } | undefined
    while (!ending.signal.aborted) {
      const looked = options.look().then(
        (sight) => ({ sight, failed: false }),
        (error: unknown) => ({ sight: failedSight(error), failed: true }),
      )
      const from = performance.now()
      const slow = setInterval(() => {
        const silence = coloured('red', `No answer for ${span((performance.now() - from) / 1000)}.`)
        screen?.show(belowFailure(silence, good))
      }, SLOW_MS)
      const seen = await Promise.race([looked, ended])
      clearInterval(slow)
      if (seen === undefined) break
      const { text, document } = seen.sight
      if (!seen.failed) good = { text, at: performance.now() }
      if (screen !== undefined) screen.show(seen.failed ? belowFailure(text, good) : text)
      else await Promise.race([written(options.json ? JSON.stringify(document) : `${text}\n`), ended])
      await pause(options.everyS * 1000, ending.signal)
    }
  } finally {
    screen?.close()
    for (const signal of SIGNALS) process.off(signal, end)
    stdout.off('error', end)
  }
}

function written(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(`${text}\n`, () => resolve()))
}

/** The newest look that went well, dimmed: of a time that is over. */
function belowFailure(
  failure: string,
  good: { readonly text: string; readonly at: number } | undefined,
): string {
  if (good === undefined) return failure
  const ago = span((performance.now() - good.at) / 1000)
  const old = stripVTControlCharacters(good.text)
    .split('\n')
    .map((line) => styleText('dim', line, { stream: process.stdout }))
  return [failure, '', `As it was ${ago} ago:`, '', ...old].join('\n')
}

interface Screen {
  show(text: string): void
  /** Gives the terminal back as it was, with the newest text below. */
  close(): void
}

/** The other screen, which has no history; no cursor; no wrapped lines. */
const ENTER = '\u001B[?1049h\u001B[?25l\u001B[?7l\u001B[2J'
const LEAVE = '\u001B[?7h\u001B[?25h\u001B[?1049l'
/** What comes between is shown at once, by a terminal that knows how; another one takes no notice. */
const BEGIN_FRAME = '\u001B[?2026h\u001B[H'
const END_FRAME = '\u001B[J\u001B[?2026l'
const CLEAR_REST_OF_LINE = '\u001B[K'

function openScreen(stdout: NodeJS.WriteStream, everyS: number): Screen {
  let shown: string | undefined
  const draw = (): void => {
    if (shown !== undefined) stdout.write(frameOf(shown, stdout.rows, stdout.columns, everyS))
  }
  stdout.write(ENTER)
  stdout.on('resize', draw)
  return {
    show(text) {
      shown = text
      draw()
    },
    close() {
      stdout.off('resize', draw)
      stdout.write(LEAVE)
      if (shown !== undefined) print(shown)
    },
  }
}

/** One screen: what does not fit is left out, and said. */
export function frameOf(text: string, rows: number, columns: number, everyS: number): string {
  const head = styleText('dim', `every ${span(everyS)}, Ctrl-C ends it`, { stream: process.stdout })
  const lines = text.trimEnd().split('\n')
  // The last line of a terminal stays empty: some scroll when it is full.
  const room = Math.max(1, rows - 2)
  const fits = lines.length <= room
  const left = lines.length - room + 1
  const more = styleText('dim', `… ${left} more lines: make the window larger, or leave --watch out`, {
    stream: process.stdout,
  })
  const visible = fits ? lines : [...lines.slice(0, room - 1), more]
  const body = [head, ...visible].map((line) => `${cropped(line, columns)}${CLEAR_REST_OF_LINE}\r\n`)
  return `${BEGIN_FRAME}${body.join('')}${END_FRAME}`
}

const STYLE = /\u001B\[[0-9;]*m/y
const PLAIN = '\u001B[0m'

/** The beginning of a line that has room; its colours are kept, and end with it. */
export function cropped(line: string, columns: number): string {
  let width = 0
  let at = 0
  while (at < line.length) {
    STYLE.lastIndex = at
    const style = STYLE.exec(line)
    if (style !== null) {
      at += style[0].length
      continue
    }
    if (width === columns) return `${line.slice(0, at)}${line.includes('\u001B') ? PLAIN : ''}`
    width += 1
    at += String.fromCodePoint(line.codePointAt(at) ?? 0).length
  }
  return line
}
