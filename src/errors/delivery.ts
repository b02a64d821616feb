/** What the target of a delivery answered, or how it failed to. `url` is as it may be shown. */
interface Delivery {
  readonly url: string
  /** Milliseconds before which the target does not want to be asked again. */
  readonly retryAfterMs?: number | undefined
}

/** The target does not want this message, however often it is sent (4xx): it is DEAD at once. */
export class DeliveryRefused extends Error {
  override readonly name = 'DeliveryRefused'
  readonly status: number
  constructor(status: number, said: string, { url }: Delivery) {
    super(`${status} from ${url}${saying(said)}`)
    this.status = status
  }
}

/** The target answered that it could not take the message now: it is sent again. */
export class DeliveryFailed extends Error {
  override readonly name = 'DeliveryFailed'
  readonly status: number
  readonly retryAfterMs: number | undefined
  constructor(status: number, said: string, { url, retryAfterMs }: Delivery) {
    super(`${status} from ${url}${saying(said)}`)
    this.status = status
    this.retryAfterMs = retryAfterMs
  }
}

/** The target may have the message, and its answer did not come whole: it is sent again, under the same id. */
export class DeliveryBroken extends Error {
  override readonly name = 'DeliveryBroken'
  /** As Node names the failure: `ECONNRESET`. */
  readonly code: string | undefined
  constructor(why: string, { url }: Delivery, cause?: unknown) {
    super(`${why}, from ${url}`, { cause })
    this.code = codeOf(cause)
  }
}

/** The target was not reached: no connection, or none that can be trusted. Nothing of the message was sent. */
export class DeliveryUnreachable extends Error {
  override readonly name = 'DeliveryUnreachable'
  /** As Node names the failure: `ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED`. */
  readonly code: string | undefined
  constructor(why: string, { url }: Delivery, cause?: unknown) {
    super(`${why}, at ${url}`, { cause })
    this.code = codeOf(cause)
  }
}

/** The target took longer for its answer than `deliver.timeout`. */
export class DeliveryTimeout extends Error {
  override readonly name = 'DeliveryTimeout'
  constructor(timeoutMs: number, { url }: Delivery) {
    super(`no whole answer within ${timeoutMs} ms, from ${url}`)
  }
}

function saying(said: string): string {
  return said === '' ? '' : `: ${said}`
}

function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined
}
