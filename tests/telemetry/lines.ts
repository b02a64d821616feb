import type { LineSink } from '../../src/telemetry/pretty.ts'

/** A sink that keeps what a log writes. */
export interface KeptLines extends LineSink {
  readonly text: readonly string[]
  /** Every line read as JSON. */
  readonly json: Record<string, unknown>[]
}

export function keptLines(): KeptLines {
  const text: string[] = []
  return {
    text,
    write: (line) => void text.push(line),
    get json() {
      return text.map((line) => JSON.parse(line) as Record<string, unknown>)
    },
  }
}
