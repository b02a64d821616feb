import type { TidemarkConfig } from '../config/types.ts'
import { resolveConfig } from '../config/validate.ts'
import { TestStepImpossible } from '../errors.ts'
import type { Outcome } from './outcome.ts'
import { testDatabase } from './testDatabase.ts'
import { testRunner } from './testRunner.ts'
import type { GivenMessage } from './testRunner.ts'
import { unknownTo } from './unknownTo.ts'

export interface DeliverOneOptions extends GivenMessage {
  /** Name of the processor whose handler gets the message. */
  readonly processor: string
  /** Which of the processor's sources the message comes by. Default: its first. */
  readonly source?: string
  /**
   * Where: a `testDatabase()`, to look at afterwards. Default: one of its own without tables of the app's, dropped at the end, for
   * handlers that write nothing.
   */
  readonly database?: { readonly url: string }
}

/**
 * Puts one message through its handler on a real database, the processor's contract included: with `transactional`, what the
 * handler wrote through `tx` is there if and only if the outcome is DONE. One attempt: what fails is left FAILED, or DEAD at its last.
 *
 * A message id that is known is not run again while its message is DONE, DEAD or waiting: then `ran` is false. Whatever else is
 * due at that processor is run first.
 *
 * @throws {ConfigInvalid}; {@link TestStepImpossible} for a processor that the config does not have
 */
export async function deliverOne(config: TidemarkConfig, options: DeliverOneOptions): Promise<Outcome> {
  const { processor: name, source, database, ...message } = options
  const { processors } = resolveConfig(config)
  const processor = processors.find((one) => one.name === name)
  if (processor === undefined) throw unknownTo('processor', name, processors)
  const from = source ?? processor.from[0] ?? ''
  if (!processor.from.includes(from))
    throw new TestStepImpossible(`${name} takes messages from ${processor.from.join(', ')}, not from ${from}`)
  const own = database === undefined ? await testDatabase() : undefined
  const place = database ?? own
  if (place === undefined) throw new Error('there is a database of ours where none was given')
  const runner = testRunner(config, { database: place })
  try {
    const { messageIds } = await runner.receive(from, message)
    const isOurs = (one: { source: string; messageId: string }): boolean =>
      one.source === from && one.messageId === messageIds[0]
    for (;;) {
      const outcome = await runner.processOne(name)
      if (outcome !== undefined && isOurs(outcome)) return outcome
      if (outcome !== undefined) continue
      const found = (await runner.inbox(from)).find(isOurs)
      if (found === undefined) throw new TestStepImpossible(`the message ${messageIds[0] ?? ''} is gone`)
      return { ...found, processor: name, ran: false, thrown: undefined }
    }
  } finally {
    await runner.close()
    await own?.close()
  }
}
