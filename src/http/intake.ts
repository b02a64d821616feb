/**
 * `POST /inbox/:source`: messages that somebody sends to us.
 *
 *     origin ─▶ draining? ─▶ token or signature ─▶ source ─▶ type ─▶ length ─▶ body ─▶ fields ─▶ stored ─▶ 202
 *      403        503        401, 429               404      415      413     408/400    400       503
 *
 * 202 says that every message of the request is in the inbox, committed: those that were there before are counted as
 * duplicates. Any other answer says that none is known to be; after a 503, 408 or none at all, the sender sends the same again,
 * and whatever was stored meanwhile is a duplicate then. Cheap questions come first, so that whoever may not send costs little.
 */
import { Hono } from 'hono'
import type { Context } from 'hono'
import { cors } from 'hono/cors'
import { Webhook } from 'standardwebhooks'
import type { Settings } from '../config/settings.ts'
import { bearerOf, UNHEARD } from './guard.ts'
import { createBodyReader } from './intakeBody.ts'
import type { BodyReader } from './intakeBody.ts'
import { IntakeFault, invalid } from './intakeFault.ts'
import { parseMessages } from './intakeMessages.ts'
import type { IntakeDoor, IntakePort } from './intakePort.ts'
import type { RequestVariables } from './requestTrace.ts'
import type { StatusPort } from './statusPort.ts'
import { createTokenGate } from './tokenGate.ts'
import type { TokenGate } from './tokenGate.ts'

type IntakeSettings = Pick<Settings, 'requestTimeoutMs' | 'intakeToken' | 'corsOrigins' | 'machineId'>
interface Env {
  Variables: RequestVariables
  /** What the server gives of the connection; a request that came by none has nothing. */
  Bindings?: { readonly incoming?: { readonly socket: object } }
}

/** To whom a 503 is given: long enough for the proxy to have taken this instance out, short enough to lose no time. */
const RETRY_AFTER_S = 1

/** How long a browser may remember what a preflight said. */
const PREFLIGHT_S = 600

const SIGNATURE_HEADERS = ['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const

/** The routes below `/inbox`. */
export function intakeRoutes(
  status: Pick<StatusPort, 'readiness'>,
  intake: IntakePort,
  settings: IntakeSettings,
  reader: BodyReader = createBodyReader(),
): Hono<Env> {
  const { corsOrigins, requestTimeoutMs, intakeToken } = settings
  const gate =
    intakeToken === undefined ? undefined : createTokenGate(intakeToken, settings.machineId !== null)
  const routes = new Hono<Env>()

  routes.use('/:source', async (context, next) => {
    await next()
    if (context.req.method === 'POST') intake.answered?.(context.req.param('source'), context.res.status)
  })
  routes.use(async (context, next) => {
    const origin = context.req.header('Origin')
    if (origin === undefined || isAllowed(origin, corsOrigins, context.req.header('Host'))) return next()
    context.header('Vary', 'Origin', { append: true })
    throw new IntakeFault(
      403,
      'origin_not_allowed',
      'the origin of this page is not one of CORS_ORIGINS',
      'Origin',
    )
  })
  routes.use(
    cors({
      origin: corsOrigins.includes('*') ? '*' : [...corsOrigins],
      allowMethods: ['POST'],
      allowHeaders: ['Authorization', 'Content-Type', 'X-Trace-ID', 'traceparent', ...SIGNATURE_HEADERS],
      exposeHeaders: ['X-Trace-ID', 'traceparent', 'Retry-After'],
      maxAge: PREFLIGHT_S,
    }),
  )
  routes.use(async (context, next) => {
    if (status.readiness() === 'draining') {
      context.header('Retry-After', String(RETRY_AFTER_S))
      return context.json({ error: 'shutting_down', message: 'Service shutting down, please retry' }, 503)
    }
    return next()
  })

  routes.post('/:source', async (context) => {
    const startedAt = performance.now()
    const source = context.req.param('source')
    const door = intake.doors.get(source)
    const signed = requireLeave(context, door, gate)
    if (door === undefined) throw unknownSource(source, intake)
    requireJson(context)
    const hindrance = intake.hindrance()
    if (hindrance !== undefined) throw new IntakeFault(503, hindrance.error, hindrance.message)

    const body = await reader.read(context.req.raw, {
      maxBytes: door.maxBodyBytes,
      limitMs: requestTimeoutMs,
      isStranger: signed !== undefined,
    })
    try {
      if (signed !== undefined) requireSignature(signed, context, body.text)
      body.known()
      const traceId = context.get('traceId')
      const answer = await intake.take({
        source,
        turn: context.env?.incoming?.socket ?? context.req.raw,
        messages: parseMessages(body.text),
        bytes: body.bytes,
        traceId,
        traceparent: context.get('traceparent') ?? null,
        limitMs: Math.max(0, requestTimeoutMs - (performance.now() - startedAt)),
      })
      if (answer.kind === 'refused') throw invalid('body', answer.reason)
      if (answer.kind === 'later') throw new IntakeFault(503, answer.error, answer.message)
      return context.json(
        { accepted: answer.accepted, duplicates: answer.duplicates, trace_id: traceId },
        202,
      )
    } finally {
      body.release()
    }
  })
  routes.all('/:source', (context) => {
    context.header('Allow', 'POST, OPTIONS')
    throw new IntakeFault(405, 'method_not_allowed', `POST messages here, not ${context.req.method}`)
  })

  routes.onError((error, context) => {
    if (!(error instanceof IntakeFault)) throw error
    const { status, error: word, field, message } = error
    if (status === 401) context.header('WWW-Authenticate', 'Bearer')
    if (status === 503) context.header('Retry-After', String(RETRY_AFTER_S))
    return context.json(
      {
        error: word,
        ...(field === undefined ? {} : { field }),
        message: field === undefined ? message : `${field}: ${message}`,
        trace_id: context.get('traceId'),
      },
      status,
    )
  })
  return routes
}

/** A page of our own address is no stranger, and browsers name its origin, too. */
function isAllowed(origin: string, allowed: readonly string[], host: string | undefined): boolean {
  if (allowed.includes('*') || allowed.includes(origin)) return true
  return host !== undefined && URL.canParse(origin) && new URL(origin).host === host
}

/**
 * Whether the sender may send here: by the token, at once; by a signature, of which only the headers can be seen so far, and
 * the webhook that is to judge it is returned. Where there is a token, whoever has none hears the same of a name that does not
 * exist as of one that does, unless that one can be signed for.
 */
function requireLeave(
  context: Context<Env>,
  door: IntakeDoor | undefined,
  gate: TokenGate | undefined,
): Webhook | undefined {
  const given = bearerOf(context.req.header('Authorization'))
  const judged = given === undefined ? undefined : gate?.judge(context, given, 'header')
  if (judged?.is === 'right') return undefined
  const secret = door?.secret ?? undefined
  if (secret !== undefined && context.req.header('webhook-signature') !== undefined)
    return new Webhook(secret)
  if (judged?.is === 'unheard') {
    context.header('Retry-After', String(judged.waitS))
    throw new IntakeFault(429, UNHEARD.error, UNHEARD.message, 'Authorization')
  }
  if (gate === undefined && secret === undefined) {
    // Nobody can send here: nothing is given away, and whoever set it up should hear why.
    throw new IntakeFault(
      404,
      'intake_off',
      'no such source here, or it is off: INTAKE_TOKEN is not set, and it has no signature',
    )
  }
  const ways = [
    gate === undefined ? [] : ['Authorization: Bearer <INTAKE_TOKEN>'],
    secret === undefined ? [] : [`a signature (${SIGNATURE_HEADERS.join(', ')})`],
  ].flat()
  throw new IntakeFault(401, 'unauthorized', `send ${ways.join(', or ')}`, 'Authorization')
}

function unknownSource(source: string, { doors }: IntakePort): IntakeFault {
  const names = doors.size === 0 ? 'it has none' : [...doors.keys()].join(', ')
  return new IntakeFault(
    404,
    'unknown_source',
    `no intake ${JSON.stringify(source.slice(0, 64))} in the config (${names})`,
    'source',
  )
}

function requireSignature(webhook: Webhook, context: Context<Env>, text: string): void {
  const headers = Object.fromEntries(SIGNATURE_HEADERS.map((name) => [name, context.req.header(name) ?? '']))
  try {
    webhook.verify(text, headers, { jsonParse: false })
  } catch (error) {
    // Its messages name headers and times, never the secret or what it expected.
    const why = error instanceof Error ? error.message : 'it does not match'
    throw new IntakeFault(401, 'unauthorized', `the signature is not right: ${why}`, 'webhook-signature')
  }
}

function requireJson(context: Context<Env>): void {
  const encoding = context.req.header('Content-Encoding')
  if (encoding !== undefined && encoding !== 'identity')
    throw new IntakeFault(415, 'unsupported', 'send the body uncompressed', 'Content-Encoding')
  const type = context.req.header('Content-Type')
  if (
    type !== undefined &&
    !/^\s*application\/(?:[\w.+-]+\+)?json\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(type)
  )
    throw new IntakeFault(415, 'unsupported', 'send application/json, in UTF-8', 'Content-Type')
}
