import { pino } from 'pino'
import type { EventName, Events, Level } from './eventFields.ts'
import { EVENTS } from './events.ts'
import { prettySink, type LineSink } from './pretty.ts'
import { createRedact, type Redact } from './redact.ts'
import { createSampler, everyLine, type Sampler } from './sampler.ts'
import { cleanText, errorText } from './errorText.ts'

/** Fields that any line may carry besides those of its event. */
export interface LineFields {
  trace_id?: string
  message_id?: string
  request_id?: string
}

/** Writes one JSON object a line to stderr; the level of a line is its event's (events.ts). */
export interface Log {
  event<E extends EventName>(event: E, msg: string, fields: Events[E] & LineFields): void
  /**
   * Whether a line of this event would be left out now, and is counted as such: then it need not be made. Default: no line is.
   */
  leavesOut?(event: EventName): boolean
  /** A log whose every line also carries these fields. */
  child(bindings: Record<string, string>): Log
  /** Writes what is buffered; the last act of a process. */
  close(): Promise<void>
}

/** The log that a user's handler is given: its lines are the event `handler_log`. */
export interface HandlerLog {
  debug(msg: string, fields?: Record<string, unknown>): void
  info(msg: string, fields?: Record<string, unknown>): void
  warn(msg: string, fields?: Record<string, unknown>): void
  error(msg: string, fields?: Record<string, unknown>): void
}

/** What a log needs to know once. */
export interface LogOptions {
  /** `SERVICE_NAME`; in every line. */
  readonly service: string
  /** This process's readable name; in every line. */
  readonly instanceId: string
  /** The least level that is written. Default: info. */
  readonly level?: Level
  /** Default: json. */
  readonly format?: 'json' | 'pretty'
  /** The user's `log.redact`: names whose values in a handler's own fields are replaced, at any depth. */
  readonly redact?: readonly string[]
  /** Where lines go. Default: stderr, written before the call returns. */
  readonly sink?: LineSink
}

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50, critical: 60 } as const satisfies Record<
  Level,
  number
>

/**
 * The program's log. Every line is written before `event` returns: what is said last before an exit or a
 * crash is what matters most, and at the rates that the sampler lets through a write costs microseconds.
 */
export function createLog(options: LogOptions): Log {
  const { sink, flush } = options.sink === undefined ? stderrSink() : { sink: options.sink, flush: () => {} }
  const colours = options.sink === undefined && process.stderr.isTTY && process.env['NO_COLOR'] === undefined
  const level = options.level ?? 'info'
  const logger = pino(
    {
      level,
      customLevels: LEVELS,
      useOnlyCustomLevels: true,
      base: { service: options.service, instance_id: options.instanceId },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.format === 'pretty' ? prettySink(sink, colours) : sink,
  )
  // Whoever asks for debug lines wants all of them.
  const sampler = level === 'debug' ? everyLine : createSampler(() => performance.now())
  return wrap(logger, sampler, createRedact(options.redact), flush)
}

type Logger = Pick<pino.Logger, 'child'> & Record<Level, (fields: object, msg: string) => void>

function wrap(logger: Logger, sampler: Sampler, redact: Redact, flush: () => void): Log {
  return {
    event(event, msg, fields) {
      const leftOut = sampler.admit(event)
      if (leftOut === null) return
      const { level, rest } = levelOf(event, fields)
      const own = 'fields' in rest ? { fields: redact(rest.fields as Record<string, unknown>) } : {}
      const counted = leftOut === 0 ? {} : { left_out: leftOut }
      logger[level]({ event, ...rest, ...own, ...counted }, level === 'critical' ? criticalText(msg) : msg)
    },
    leavesOut: (event) => sampler.leavesOut(event),
    // A pino child has the levels of its parent, which the type of `child` does not say.
    child: (bindings) => wrap(logger.child(bindings) as unknown as Logger, sampler, redact, flush),
    close() {
      flush()
      return Promise.resolve()
    },
  }
}

function levelOf(event: EventName, fields: object): { level: Level; rest: object } {
  const level = EVENTS[event]
  if (level !== 'given') return { level, rest: fields }
  const { level: given, ...rest } = fields as { level: Level }
  return { level: given, rest }
}

function criticalText(msg: string): string {
  return msg.startsWith('CRITICAL:') ? msg : `CRITICAL: ${msg}`
}

/** JSON lets these two stand as they are, and whoever reads line by line may take them for the end of one. */
function oneLine(json: string): string {
  return json.replace(/[\u2028\u2029]/g, (found) => (found === '\u2028' ? '\\u2028' : '\\u2029'))
}

function stderrSink(): { sink: LineSink; flush: () => void } {
  const stream = pino.destination({ fd: 2, sync: true })
  // A reader of stderr that went away (a closed terminal, a dead log shipper) must not end the work.
  stream.on('error', () => {})
  return { sink: { write: (line) => stream.write(oneLine(line)) }, flush: () => stream.flushSync() }
}

/** The log of one handler call; `bindings` (task, trace_id, message_id) stand in each of its lines. */
export function handlerLog(log: Log, bindings: LineFields & { task: string }): HandlerLog {
  const write =
    (level: Events['handler_log']['level']): HandlerLog['info'] =>
    // Users who write plain JavaScript also pass errors here, or nothing.
    (msg: unknown, fields) =>
      log.event('handler_log', typeof msg === 'string' ? cleanText(msg) : errorText(msg), {
        level,
        ...bindings,
        ...(fields === undefined ? {} : { fields }),
      })
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}
