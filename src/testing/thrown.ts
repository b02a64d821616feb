import type { ResolvedProcessor } from '../config/resolved.ts'
import type { Message } from '../config/types.ts'

/**
 * The processor with a handler that is the same, and what it throws kept by inbox id: the inbox has only its class and first
 * line, and a test wants the stack.
 */
export function watchThrown(processor: ResolvedProcessor): {
  readonly processor: ResolvedProcessor
  readonly thrown: Map<string, unknown>
} {
  const thrown = new Map<string, unknown>()
  const { work } = processor

  function watched<C, R>(
    handle: (message: Message, context: C) => R | Promise<R>,
  ): (message: Message, context: C) => Promise<R> {
    return async (message, context) => {
      try {
        return await handle(message, context)
      } catch (error) {
        thrown.set(message.inboxId, error)
        throw error
      }
    }
  }

  if (work.kind === 'transactional')
    return { processor: { ...processor, work: { ...work, handle: watched(work.handle) } }, thrown }
  if (work.kind === 'external')
    return { processor: { ...processor, work: { ...work, handle: watched(work.handle) } }, thrown }
  if (work.kind === 'deliver') return { processor, thrown }
  const handle: typeof work.handle = async (messages, context) => {
    try {
      const outcomes = await work.handle(messages, context)
      for (const [i, outcome] of (Array.isArray(outcomes) ? outcomes : []).entries()) {
        const message = messages[i]
        if (message !== undefined && typeof outcome === 'object') thrown.set(message.inboxId, outcome.failed)
      }
      return outcomes
    } catch (error) {
      for (const { inboxId } of messages) thrown.set(inboxId, error)
      throw error
    }
  }
  return { processor: { ...processor, work: { ...work, handle } }, thrown }
}
