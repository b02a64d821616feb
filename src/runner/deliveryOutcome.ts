import {
  DeliveryBroken,
  DeliveryFailed,
  DeliveryRefused,
  DeliveryTimeout,
  DeliveryUnreachable,
} from '../errors.ts'
import type { Deliver } from '../process/deliver/deliver.ts'
import { Interrupted } from '../process/interruption.ts'
import type { DeliveryOutcome } from '../telemetry/metrics/meter.ts'

/** Delivers, and tells what became of it. */
export function told(deliver: Deliver, tell: ((outcome: DeliveryOutcome) => void) | undefined): Deliver {
  if (tell === undefined) return deliver
  return async (message, context) => {
    try {
      await deliver(message, context)
      tell('delivered')
    } catch (error) {
      tell(deliveryOutcome(error))
      throw error
    }
  }
}

/** In one word. What an open circuit made nobody's attempt is told by what the target did. */
export function deliveryOutcome(error: unknown): DeliveryOutcome {
  if (error instanceof DeliveryRefused) return 'refused'
  if (error instanceof DeliveryTimeout) return 'timeout'
  if (error instanceof DeliveryBroken) return 'broken'
  if (error instanceof DeliveryUnreachable) return 'unreachable'
  if (error instanceof DeliveryFailed) return 'failed'
  if (!(error instanceof Interrupted)) return 'interrupted'
  if (error.reason === 'circuit open') return 'held'
  return error.cause === undefined ? 'interrupted' : deliveryOutcome(error.cause)
}
