import { styleText } from 'node:util'

/** How far a rehearsal is: one line that is written over on a terminal, else a line per step. */
export interface Progress {
  /** `done`: from 0 to 1. */
  readonly show: (done: number, step: string) => void
  /** Writes a line that stays. */
  readonly note: (text: string) => void
  /** Leaves the line as it is; what is written next begins a new one. */
  end(): void
}

const BAR_WIDTH = 24
/** Of a terminal that does not say. */
const COLUMNS = 80
/** Back to the beginning of the line, and nothing left of what was there. */
const CLEAR_LINE = '\r\u001B[K'

export function createProgress(stream: NodeJS.WriteStream): Progress {
  if (!stream.isTTY) {
    return {
      show: (done, step) => void stream.write(`${String(Math.round(done * 100)).padStart(3)} %  ${step}\n`),
      note: (text) => void stream.write(`${text}\n`),
      end: () => undefined,
    }
  }
  let open = false
  let shown: [done: number, step: string] = [0, '']
  const progress: Progress = {
    show(done, step) {
      shown = [done, step]
      const full = Math.round(Math.min(1, done) * BAR_WIDTH)
      const bar = `${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)}`
      // Longer than the line it would wrap, and could not be written over.
      const text = ` ${String(Math.round(done * 100)).padStart(3)} %  ${step}`.slice(
        0,
        (stream.columns || COLUMNS) - BAR_WIDTH - 1,
      )
      stream.write(`${CLEAR_LINE}${styleText('green', bar, { stream })}${text}`)
      open = true
    },
    note(text) {
      stream.write(`${open ? CLEAR_LINE : ''}${text}\n`)
      if (open) progress.show(...shown)
    },
    end() {
      if (open) stream.write('\n')
      open = false
    },
  }
  return progress
}
