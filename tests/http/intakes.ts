import type { Hindrance, IntakeAnswer, IntakePort, IntakeRequest } from '../../src/http/intakePort.ts'

export const TOKEN = 'a-token-of-more-than-16'
export const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`

/** An intake that takes everything, or answers as a test says, and keeps what came. */
export interface FakeIntake extends IntakePort {
  readonly taken: readonly IntakeRequest[]
}

export function fakeIntake(change: { hindrance?: Hindrance; answer?: IntakeAnswer } = {}): FakeIntake {
  const taken: IntakeRequest[] = []
  return {
    taken,
    doors: new Map([
      ['orders', { maxBodyBytes: 2 ** 20, secret: null }],
      ['signed', { maxBodyBytes: 1_000, secret: SECRET }],
    ]),
    hindrance: () => change.hindrance,
    take(request) {
      taken.push(request)
      return Promise.resolve(
        change.answer ?? { kind: 'taken', accepted: request.messages.length, duplicates: 0 },
      )
    },
  }
}
