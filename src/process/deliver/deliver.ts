/**
 * Delivery by HTTP: each message is one POST to a target, signed as Standard Webhooks has it (standardwebhooks.com).
 *
 * A delivery is an `external` handler call: it is made at least once. What makes a second one harmless is its id, the same
 * at every attempt, by which the receiver knows what it has already done.
 *
 * What the answer means: 2xx, and read to its end or as far as is looked at: done. 4xx: the target does not want this
 * message, and it is DEAD at once; but for 408, 425 and 429, which ask to come again. Everything else is tried again:
 * 5xx, an answer that breaks off, a timeout. So is a redirect: to follow it would send a signed message to an address that
 * nobody configured, perhaps one inside our own network.
 *
 * What is nobody's attempt: a target that was not reached, so that nothing was sent; one that asks to wait (429 or 503 with
 * Retry-After); and whatever fails while the circuit is open (circuit.ts).
 */
import { createHash } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import type { ResolvedDelivery } from '../../config/resolved.ts'
import type { HandlerContext, Message } from '../../config/types.ts'
import { OWN_PACKAGE } from '../../config/packageFacts.ts'
import {
  DeliveryBroken,
  DeliveryFailed,
  DeliveryRefused,
  DeliveryTimeout,
  DeliveryUnreachable,
} from '../../errors.ts'
import { cleanError } from '../../telemetry/errorText.ts'
import { inDelivery } from '../../telemetry/spans.ts'
import { Interrupted } from '../interruption.ts'
import { authorization, secretsOf, shownUrl } from './address.ts'
import type { Circuit, Finding, Pass } from './circuit.ts'
import { isSuccess, openConnections, post, Unanswered } from './request.ts'
import type { Answer } from './request.ts'
import { retryAfterMs } from './retryAfter.ts'

/** Resolves when the target has the message; throws what became of it otherwise. */
export type Deliver = (
  message: Message,
  context: Pick<HandlerContext, 'signal' | 'traceHeaders'>,
) => Promise<void>

/** 4xx that speak of the moment and not of the message: timeout, too early, too many. */
const COME_AGAIN: ReadonlySet<number> = new Set([408, 425, 429])

/** Answers that tell of a target in trouble; with 5xx. */
const IN_TROUBLE: ReadonlySet<number> = new Set([408, 429])

/** Answers whose Retry-After is about the target, not about the message alone. */
const ASKS_ALL: ReadonlySet<number> = new Set([429, 503])

export function createDelivery(
  { url, secrets, timeoutMs }: ResolvedDelivery,
  concurrency: number,
  circuit: Circuit,
): Deliver {
  const target = new URL(url)
  const signers = secrets.map((secret) => new Webhook(secret))
  const connections = openConnections(target, concurrency)
  const standing = { ...authorization(target), ...STANDING }
  const shown = { url: shownUrl(target) }
  const ownSecrets = secretsOf(target, secrets)
  target.username = ''
  target.password = ''

  function headersOf(message: Message, body: string, trace: Record<string, string>): Record<string, string> {
    const id = deliveryId(message)
    const at = new Date()
    return {
      ...standing,
      ...trace,
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': signers.map((signer) => signer.sign(id, at, body)).join(' '),
      'idempotency-key': id,
    }
  }

  return async (message, { signal, traceHeaders }) => {
    // Before the circuit is asked: a payload too deep for JSON.stringify must not be a probe that never ends.
    const body = JSON.stringify(message.payload)
    const found = circuit.enter(message.inboxId)
    if (found === undefined) throw new Interrupted('circuit open', { waitMs: circuit.broken?.probeInMs })
    const judged: Finding[] = []
    const pass: Pass = (finding) => {
      judged.push(finding)
      found(finding)
    }
    try {
      await inDelivery(target, async (answered) => {
        let answer: Answer
        try {
          const headers = headersOf(message, body, traceHeaders())
          answer = await post({ url: target, headers, body, timeoutMs, signal }, connections)
        } catch (error) {
          throw judgeFailure(error, pass)
        }
        answered(answer.status)
        const error = judgeAnswer(answer, pass)
        if (error !== undefined) throw error
      })
    } finally {
      // Whatever else went wrong: a probe that never ends would keep the circuit open for good.
      if (judged.length === 0) found({ kind: 'unknown' })
    }
  }

  function judgeAnswer(answer: Answer, pass: Pass): Error | undefined {
    const { status } = answer
    const askedMs = retryAfterMs(answer.retryAfter, answer.date)
    const said = withoutSecrets(firstLine(answer.text))
    if (isSuccess(status)) {
      pass({ kind: 'well' })
      return undefined
    }
    if (status >= 400 && status < 500 && !COME_AGAIN.has(status)) {
      pass({ kind: 'well' })
      return new DeliveryRefused(status, said, shown)
    }
    const what = isRedirect(status)
      ? `a redirect, which is not followed: deliver.url must be where it ends`
      : said
    const error = new DeliveryFailed(status, what, { ...shown, retryAfterMs: askedMs })
    if (status < 500 && !IN_TROUBLE.has(status)) {
      pass({ kind: 'well' })
      return error
    }
    const waitMs = ASKS_ALL.has(status) && askedMs !== undefined && askedMs > 0 ? askedMs : undefined
    const finding: Finding = { kind: 'ill', why: String(status), reached: true, waitMs }
    return interruptedOr(error, finding, pass, askedMs)
  }

  function judgeFailure(error: unknown, pass: Pass): unknown {
    if (!(error instanceof Unanswered)) {
      pass({ kind: 'unknown' }) // ended by us
      return error
    }
    const { sent, timedOut, cause } = error
    if (timedOut && sent) return interruptedOr(new DeliveryTimeout(timeoutMs, shown), TOO_SLOW, pass)
    const { class: className, text } = cleanError(cause)
    const why = timedOut ? 'timeout' : className
    const finding: Finding = { kind: 'ill', why, reached: sent }
    if (sent) return interruptedOr(new DeliveryBroken(text, shown, cause), finding, pass)
    const told = timedOut ? `no connection within ${timeoutMs} ms` : text
    return interruptedOr(new DeliveryUnreachable(told, shown, cause), finding, pass)
  }

  /** What is said of a target in trouble is nobody's attempt when nothing was sent, or nothing should have been. */
  function interruptedOr(error: Error, finding: Finding & { kind: 'ill' }, pass: Pass, askedMs = 0): Error {
    pass(finding)
    if (circuit.broken === undefined && finding.reached) return error
    const waitMs = Math.max(askedMs, circuit.waitMs(finding.reached))
    const reason = !finding.reached
      ? 'target not reached'
      : finding.waitMs === undefined
        ? 'target fails'
        : 'target asks to wait'
    return new Interrupted(reason, { waitMs, cause: error })
  }

  function withoutSecrets(text: string): string {
    return ownSecrets.reduce((left, secret) => left.replaceAll(secret, '[redacted]'), text)
  }
}

const TOO_SLOW = { kind: 'ill', why: 'timeout', reached: true } as const

const STANDING = {
  'content-type': 'application/json',
  accept: '*/*',
  'user-agent': `Tidemark/${OWN_PACKAGE.version}`,
} as const

/**
 * The id of a delivery, by what names the message for good: its source and its id there. Not `inbox_id`, which is another
 * when retention has forgotten a row and a replay takes it in again, and begins anew in a restored database.
 */
export function deliveryId({ source, messageId }: Pick<Message, 'source' | 'messageId'>): string {
  // No source has a line feed in its name.
  return `msg_${createHash('sha256').update(`${source}\n${messageId}`).digest('hex').slice(0, 32)}`
}

function isRedirect(status: number): boolean {
  return status >= 300 && status < 400
}

function firstLine(text: string): string {
  return (
    text
      .trimStart()
      .split(/[\r\n]/, 1)[0]
      ?.trimEnd() ?? ''
  )
}
