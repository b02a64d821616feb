import { styleText } from 'node:util'

/** How far a rehearsal is: one line that is written over on a terminal, else a line per step. */
export interface Progress {
  /** `done`: from 0 to 1. */
  readonly show: (done: number, step: string) => void
  /** Leaves the line as it is; what is written next begins a new one. */
  end(): void
}

const BAR_WIDTH = 24
/** Back to the beginning of the line, and nothing left of what was there. */
const CLEAR_LINE = '\r\u001B[K'

export function createProgress(stream: NodeJS.WriteStream): Progress {
  if (!stream.isTTY) {
    return {
      show: (done, step) => void stream.write(`${String(Math.round(done * 100)).padStart(3)} %  ${step}\n`),
      end: () => undefined,
    }
  }
  let open = false
  return {
    show(done, step) {
      const full = Math.round(Math.min(1, done) * BAR_WIDTH)
      const bar = `${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)}`
      // Longer than the line it would wrap, and could not be written over.
      const text = ` ${String(Math.round(done * 100)).padStart(3)} %  ${step}`.slice(
        0,
        stream.columns - BAR_WIDTH - 1,
      )
      stream.write(`${CLEAR_LINE}${styleText('green', bar, { stream })}${text}`)
      open = true
    },
    end() {
      if (open) stream.write('\n')
      open = false
    },
  }
}
