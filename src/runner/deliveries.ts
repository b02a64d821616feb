import type { ResolvedProcessor } from '../config/resolved.ts'
import { shownUrl } from '../process/deliver/address.ts'
import { Circuit } from '../process/deliver/circuit.ts'
import type { CircuitOptions } from '../process/deliver/circuit.ts'
import { createDelivery } from '../process/deliver/deliver.ts'
import type { Processor, ProcessorOptions } from '../process/processor.ts'
import type { BrokenCircuit } from '../tables/instance.ts'
import type { Log } from '../telemetry/log.ts'
import type { DeliveryOutcome } from '../telemetry/metrics/meter.ts'
import { told } from './deliveryOutcome.ts'

/** What a processor is made with that its way of working decides. */
export type Way = Pick<ProcessorOptions, 'processor' | 'halted' | 'room'>

/** Who is woken when a target can be sent to again. */
export type Sender = Pick<Processor, 'name' | 'wake'>

/** The deliveries of one instance: one circuit a target, whichever processors send to it. */
export interface Deliveries {
  /** Makes a processor; one that delivers is halted while its target's circuit is open. */
  make<S extends Sender>(processor: ResolvedProcessor, create: (way: Way) => S): S
  /** Targets that are not reached, or that asked for time. */
  readonly broken: readonly BrokenCircuit[]
  /** Processors that deliver to these. */
  readonly waiting: readonly string[]
}

/** A delivery's own limit must come before that of its call, which knows nothing of circuits. */
const LIMIT_MARGIN_MS = 5_000

export interface DeliveriesOptions {
  /** Default: the circuit's own. */
  readonly circuit?: Pick<CircuitOptions, 'failures' | 'open' | 'now'> | undefined
  /** Told what became of each delivery. */
  readonly onOutcome?: (outcome: DeliveryOutcome) => void
}

interface Guarded {
  readonly circuit: Circuit
  /** Those that send to its target. */
  readonly senders: Sender[]
}

export function createDeliveries(log: Pick<Log, 'event'>, options: DeliveriesOptions = {}): Deliveries {
  const circuits = new Map<string, Guarded>()

  function circuitOf(target: string): Guarded {
    const known = circuits.get(target)
    if (known !== undefined) return known
    const senders: Sender[] = []
    const circuit = new Circuit({
      ...options.circuit,
      onOpened({ why, forMs, failures }) {
        const forS = Math.round(forMs / 1000)
        const msg = `${target}: ${why}; nothing is sent to it for ${forS} s, then one message to see how it is`
        log.event('circuit_opened', msg, { target, class: why, failures, for_s: forS })
      },
      onClosed({ afterMs }) {
        const afterS = Math.round(afterMs / 1000)
        log.event('circuit_closed', `${target} takes messages again, after ${afterS} s`, {
          target,
          after_s: afterS,
        })
      },
      onChange() {
        for (const sender of senders) sender.wake()
      },
    })
    const made = { circuit, senders }
    circuits.set(target, made)
    return made
  }

  return {
    make(processor, create) {
      const { work, concurrency, ...rest } = processor
      if (work.kind !== 'deliver') return create({ processor: { ...rest, concurrency, work } })
      const { circuit, senders } = circuitOf(shownUrl(new URL(work.url)))
      const made = create({
        processor: {
          ...rest,
          concurrency,
          timeoutMs: Math.max(rest.timeoutMs, work.timeoutMs + LIMIT_MARGIN_MS),
          work: {
            kind: 'external',
            handle: told(createDelivery(work, concurrency, circuit), options.onOutcome),
          },
        },
        halted: () => circuit.shutMs,
        room: () => circuit.room,
      })
      senders.push(made)
      return made
    },
    get waiting() {
      return [...circuits.values()].flatMap(({ circuit, senders }) =>
        circuit.broken === undefined ? [] : senders.map(({ name }) => name),
      )
    },
    get broken() {
      return [...circuits].flatMap(
        ([
          target,
          {
            circuit: { broken },
          },
        ]) =>
          broken === undefined
            ? []
            : [
                {
                  target,
                  open_for_s: Math.round(broken.forMs / 1000),
                  next_probe_s: Math.round(broken.probeInMs / 1000),
                  class: broken.why,
                },
              ],
      )
    },
  }
}
