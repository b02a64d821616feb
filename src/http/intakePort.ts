import type { IntakeMessage } from '../tables/intake.ts'

/** How one intake is entered. */
export interface IntakeDoor {
  readonly maxBodyBytes: number
  /** Of signed requests; null: none is taken. */
  readonly secret: string | null
}

/** Why nothing can be taken in at this moment: a word for programs, a sentence for people. */
export interface Hindrance {
  readonly error: string
  readonly message: string
}

/** The messages of one request, looked at and found right. */
export interface IntakeRequest {
  readonly source: string
  /** The connection that it came by: requests of one take turns with those of others. */
  readonly turn: object
  readonly messages: readonly IntakeMessage[]
  /** Of the body. */
  readonly bytes: number
  readonly traceId: string
  readonly traceparent: string | null
  /** When to give up, in milliseconds from now. */
  readonly limitMs: number
}

export type IntakeAnswer =
  | { readonly kind: 'taken'; readonly accepted: number; readonly duplicates: number }
  /** The messages themselves cannot be stored. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** The same request may succeed later. */
  | ({ readonly kind: 'later' } & Hindrance)

/** What the HTTP side may ask of the rest of the process about intake. */
export interface IntakePort {
  /** By name. */
  readonly doors: ReadonlyMap<string, IntakeDoor>
  hindrance(): Hindrance | undefined
  take(request: IntakeRequest): Promise<IntakeAnswer>
  /** A request to send was answered so. `source` as the path has it: anybody may write anything there. Default: nobody is told. */
  answered?(source: string, status: number): void
}
