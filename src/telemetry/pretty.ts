import { styleText } from 'node:util'
import { printable } from '../kit/printable.ts'
import type { Level } from './eventFields.ts'

/** Where finished lines go; each ends with a line feed. */
export interface LineSink {
  write(line: string): void
}

const COLOURS = {
  debug: 'gray',
  info: 'green',
  warn: 'yellow',
  error: 'red',
  critical: 'bgRed',
} as const satisfies Record<Level, Parameters<typeof styleText>[0]>

/** Stands where a line has no trace or no request, so that the columns keep their places. */
const NONE = '-'

/** Turns JSON lines into `[trace_id] [request_id] LEVEL message`. */
export function prettySink(sink: LineSink, colours: boolean): LineSink {
  return {
    write(line) {
      sink.write(`${prettyLine(line, colours)}\n`)
    },
  }
}

/** One JSON line as people read it. */
export function prettyLine(json: string, colours = false): string {
  const line = JSON.parse(json) as { level: Level; msg: string; trace_id?: string; request_id?: string }
  const level = line.level.toUpperCase()
  const shown = colours ? styleText(COLOURS[line.level], level, { validateStream: false }) : level
  return `[${line.trace_id ?? NONE}] [${line.request_id ?? NONE}] ${shown} ${printable(line.msg)}`
}
