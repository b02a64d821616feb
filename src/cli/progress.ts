import { styleText } from 'node:util'
import { span } from '../kit/span.ts'

/*
 * How far a verb is that takes more than a moment, on stderr, so that stdout has its result alone.
 *
 * On a terminal one line is written over, with a bar where it is known how much there is to do. Elsewhere (CI, a file) each
 * step is a line, never two within two seconds. A verb that is over sooner says nothing.
 *
 * A few lines of our own: cli-progress, which everybody uses, writes nothing but bars and has not been released since 2023.
 */

export interface Progress {
  /**
   * @param done from 0 to 1; undefined where nobody knows how much there is to do
   * @param step what is being done, in words and numbers
   */
  readonly show: (done: number | undefined, step: string) => void
  /** Writes a line that stays. */
  readonly note: (text: string) => void
  /** Lets somebody else write to the same terminal. */
  aside<T>(write: () => T): T
  /** Takes the line away. Nothing is shown after it. */
  end(): void
}

/** What is over by then needs no progress, in milliseconds. A person at a terminal begins to wonder sooner. */
const QUIET_MS = { terminal: 500, lines: 2_000 }

/** On a terminal, so that the seconds go on; and between two lines of a file, at least. */
const EVERY_MS = { terminal: 250, lines: 2_000 }

/** A step that does not change is written to a file again: a sign of life, for whoever would give it up otherwise. */
const ALIVE_MS = 30_000

/** Before that, how long the rest takes is anybody's guess. */
const GUESS_FROM = 0.05

const BAR_WIDTH = 24
/** Of a terminal that does not say. */
const COLUMNS = 80
/** Back to the beginning of the line, and nothing left of what was there. */
const CLEAR_LINE = '\r\u001B[K'

/** What is written to. */
export type ProgressStream = Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>

interface Step {
  readonly done: number | undefined
  readonly text: string
}

/** Shows how far `fn` is, and takes the line away when it is over, however it ends. */
export async function withProgress<T>(fn: (progress: Progress) => Promise<T>): Promise<T> {
  const progress = createProgress()
  try {
    return await fn(progress)
  } finally {
    progress.end()
  }
}

export function createProgress(stream: ProgressStream = process.stderr): Progress {
  const isTerminal = stream.isTTY
  const form = isTerminal ? 'terminal' : 'lines'
  const startedAt = performance.now()
  let writtenAt = startedAt + QUIET_MS[form] - EVERY_MS[form]
  let step: Step | undefined
  /** As it was written. */
  let written: Step | undefined
  let open = false

  function clear(): void {
    if (open) stream.write(CLEAR_LINE)
    open = false
  }

  function write(now: number): void {
    if (step === undefined) return
    written = step
    writtenAt = now
    const text = textOf(step, now - startedAt)
    if (!isTerminal) {
      stream.write(`${text}\n`)
      return
    }
    const bar = step.done === undefined ? '' : barOf(step.done)
    // Longer than the line it would wrap, and could not be written over.
    const room = (stream.columns || COLUMNS) - bar.length - 1
    const styled = styleText('green', bar, { stream: process.stderr })
    stream.write(`${CLEAR_LINE}${bar === '' ? '' : styled}${text.slice(0, room)}`)
    open = true
  }

  function look(): void {
    const now = performance.now()
    if (now - writtenAt < EVERY_MS[form]) return
    if (isTerminal || step !== written || now - writtenAt >= ALIVE_MS) write(now)
  }

  const timer = setInterval(look, EVERY_MS[form]).unref()

  return {
    show(done, text) {
      step = { done, text }
      look()
    },
    note(text) {
      clear()
      stream.write(`${text}\n`)
      look()
    },
    aside(other) {
      clear()
      return other()
    },
    end() {
      clearInterval(timer)
      step = undefined
      clear()
    },
  }
}

function barOf(done: number): string {
  const full = Math.round(Math.min(1, Math.max(0, done)) * BAR_WIDTH)
  return `${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)} `
}

function textOf({ done, text }: Step, elapsedMs: number): string {
  if (done === undefined) return `${text}, ${span(elapsedMs / 1000)}`
  const percent = `${String(Math.floor(Math.min(1, done) * 100)).padStart(3)} %`
  const leftS = ((elapsedMs / 1000) * (1 - done)) / done
  const left = done >= GUESS_FROM && done < 1 ? `, about ${span(leftS)} left` : ''
  return `${percent}  ${text}${left}`
}
