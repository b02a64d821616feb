/**
 * Answers that are given again. `/live`, `/ready`, `/health` and `/metrics` are asked by proxies and scrapers all day, and by whoever
 * wants to keep us busy. What the app made of one of them stands for a fifth of a second for everybody who asks by the same name
 * of this host: its status, its headers and its bytes, without the app. Only the trace is each request's own.
 *
 * - *The readiness changes*: nothing stands any more, so that a drain is seen at once.
 * - *It is neither 200 nor 503*: it may be about the one request that it was made for, and each has its own from the app. Its name
 *   gives its place back: names that are refused must not keep those out that are not.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createSeldom } from '../kit/seldom.ts'
import type { Seldom } from '../kit/seldom.ts'
import type { App } from './app.ts'
import { PROBES, tracesBack } from './requestTrace.ts'
import type { Readiness } from './statusPort.ts'

/** Long for a flood, and short beside the second that a probe of the database and a text of metrics stand. */
const STANDS_MS = 200

/** Names of this host under which answers are kept; under more of them nobody asks who needs an answer soon. */
const NAMES_MOST = 16

/** A name as proxies and scrapers write it. */
const NAME = /^[\w.:[\]-]{1,255}$/

interface Made {
  readonly status: number
  /** Names and values in turn, without those of the trace. */
  readonly headers: readonly string[]
  readonly body: Buffer
}

/** Answers a request if it is of those; else, or when its answer must not be repeated, `otherwise` does. */
export type Repeats = (request: IncomingMessage, response: ServerResponse, otherwise: () => void) => void

export function createRepeats(app: Pick<App, 'fetch'>, readiness: () => Readiness): Repeats {
  /** By name, and there by path. */
  const answers = new Map<string, Map<string, Seldom<Made | undefined>>>()
  let ready = readiness()

  function answerOf(name: string, path: string): Seldom<Made | undefined> | undefined {
    const known = answers.get(name)?.get(path)
    if (known !== undefined) return known
    if (!NAME.test(name) || (!answers.has(name) && answers.size >= NAMES_MOST)) return undefined
    const ask = async (): Promise<Made | undefined> => {
      const made = await make(app, name, path).catch(() => undefined)
      if (made === undefined) giveBack(name, path)
      return made
    }
    const answer = createSeldom({ ask, everyMs: () => STANDS_MS, share: 1 })
    const ofName = answers.get(name) ?? new Map<string, Seldom<Made | undefined>>()
    answers.set(name, ofName.set(path, answer))
    return answer
  }

  function giveBack(name: string, path: string): void {
    const ofName = answers.get(name)
    ofName?.delete(path)
    if (ofName?.size === 0) answers.delete(name)
  }

  function find({ method, url, headers: { host } }: IncomingMessage): Seldom<Made | undefined> | undefined {
    if (method !== 'GET' || url === undefined || !PROBES.has(url) || host === undefined) return undefined
    if (readiness() !== ready) {
      ready = readiness()
      for (const ofName of answers.values()) for (const answer of ofName.values()) answer.forget()
    }
    return answerOf(host, url)
  }

  return (request, response, otherwise) => {
    const answer = find(request)
    if (answer === undefined) otherwise()
    else
      answer.need().then(
        (made) => (made === undefined ? otherwise() : give(request, response, made)),
        () => otherwise(),
      )
  }
}

async function make(app: Pick<App, 'fetch'>, name: string, path: string): Promise<Made | undefined> {
  const response = await app.fetch(new Request(`http://${name}${path}`, { headers: { Host: name } }))
  const body = Buffer.from(await response.arrayBuffer())
  if (response.status !== 200 && response.status !== 503) return undefined
  const headers = [...response.headers].filter(([header]) => !TRACE_HEADERS.has(header)).flat()
  return { status: response.status, headers: [...headers, 'content-length', String(body.length)], body }
}

const TRACE_HEADERS: ReadonlySet<string> = new Set([
  'x-trace-id',
  'traceparent',
  'tracestate',
  'content-length',
])

function give(
  { headers }: IncomingMessage,
  response: ServerResponse,
  { status, headers: own, body }: Made,
): void {
  const trace = tracesBack((header) => {
    const value = headers[header.toLowerCase()]
    return typeof value === 'string' ? value : undefined
  })
  response.writeHead(status, [...own, ...Object.entries(trace.headers).flat()])
  response.end(body)
}
