import { TestStepImpossible } from '../errors.ts'

/** A name that the config does not have, with those that it has. */
export function unknownTo(
  kind: string,
  name: string,
  known: readonly { readonly name: string }[],
): TestStepImpossible {
  const names = known.map((one) => one.name).join(', ')
  return new TestStepImpossible(
    `the config has no ${kind} ${name}; ${names === '' ? 'it has none' : `it has ${names}`}`,
  )
}
