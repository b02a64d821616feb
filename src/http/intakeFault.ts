import type { ContentfulStatusCode } from 'hono/utils/http-status'

/** A request that is refused, with what its sender is told. */
export class IntakeFault extends Error {
  override readonly name = 'IntakeFault'
  readonly status: ContentfulStatusCode
  /** A word for programs. */
  readonly error: string
  /** The header or the part of the body that is at fault: `[3].message_id`. */
  readonly field: string | undefined
  constructor(status: ContentfulStatusCode, error: string, message: string, field?: string) {
    super(message)
    this.status = status
    this.error = error
    this.field = field
  }
}

/** The body, or a part of it, is not what it should be. */
export function invalid(field: string, message: string): IntakeFault {
  return new IntakeFault(400, 'invalid', message, field)
}
