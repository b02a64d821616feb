import type { Fault } from '../errors.ts'
import { formatDuration, parseDuration } from './durations.ts'
import { NAME_EXPECTED, NAME_FORM } from './schema.ts'

/** The parts as they were given, whatever their form: only names and a few words of them are looked at. */
function partsOf(
  config: unknown,
  key: 'pollers' | 'intakes' | 'processors' | 'jobs',
): [string, Record<string, unknown>][] {
  return Object.entries(asRecord(asRecord(config)[key])).map(([name, part]) => [name, asRecord(part)])
}

/**
 * Faults between the parts of a config: names, sources and their processors, contracts and their handlers.
 * Judged on the config as it was given, whatever its form, so that no fault has to wait for another's repair.
 */
export function crossFaults(config: unknown): Fault[] {
  const faults: Fault[] = []
  const kindOf = new Map<string, string>()
  for (const kind of ['pollers', 'intakes', 'processors', 'jobs'] as const) {
    for (const [name] of partsOf(config, kind)) {
      const what = `${kind}.${name}`
      if (!NAME_FORM.test(name)) faults.push({ what, expected: NAME_EXPECTED })
      const other = kindOf.get(name)
      if (other !== undefined)
        faults.push({ what, expected: `a name of its own: ${other}.${name} has it too` })
      else kindOf.set(name, kind)
    }
  }

  for (const [name, job] of partsOf(config, 'jobs')) faults.push(...scheduleFaults(`jobs.${name}`, job))
  for (const [name, { every, cron, tz }] of partsOf(config, 'pollers')) {
    const what = `pollers.${name}`
    if (every !== undefined && cron !== undefined)
      faults.push({ what: `${what}.cron`, expected: 'either every or cron, not both' })
    if (tz !== undefined && cron === undefined)
      faults.push({ what: `${what}.tz`, expected: 'cron beside it' })
  }

  const sources = new Set(
    (['pollers', 'intakes'] as const).flatMap((kind) => partsOf(config, kind).map(([name]) => name)),
  )
  const pollers = new Map(partsOf(config, 'pollers'))
  const takenBy = new Map<string, string>()
  for (const [name, processor] of partsOf(config, 'processors')) {
    const what = `processors.${name}`
    faults.push(...workFaults(what, processor), ...keyFaults(what, processor, pollers))
    for (const source of [processor['from']].flat().filter((value) => typeof value === 'string')) {
      const other = takenBy.get(source)
      if (!sources.has(source)) {
        faults.push({
          what: `${what}.from`,
          given: source,
          expected: `a poller or intake of this config${listed(sources)}`,
        })
      } else if (other === name) {
        faults.push({ what: `${what}.from`, given: source, expected: 'each source once' })
      } else if (other !== undefined) {
        const expected = `a source without a processor yet: processors.${other} takes it, and a source has exactly one`
        faults.push({ what: `${what}.from`, given: source, expected })
      } else {
        takenBy.set(source, name)
      }
    }
  }
  return faults
}

function scheduleFaults(what: string, { cron, rrule, tz, missed }: Record<string, unknown>): Fault[] {
  const faults: Fault[] = []
  if (cron !== undefined && rrule !== undefined)
    faults.push({ what: `${what}.rrule`, expected: 'either cron or rrule, not both' })
  if (cron !== undefined || rrule !== undefined) return faults
  for (const [option, value] of Object.entries({ tz, missed }))
    if (value !== undefined) faults.push({ what: `${what}.${option}`, expected: 'cron or rrule beside it' })
  return faults
}

function workFaults(what: string, processor: Record<string, unknown>): Fault[] {
  const { handle, handleBatch, deliver, contract, batchSize } = processor
  const faults: Fault[] = []
  if (handle === undefined && handleBatch === undefined && deliver === undefined) {
    faults.push({ what: `${what}.handle`, expected: 'a function here or in handleBatch, or deliver' })
  }
  if (deliver !== undefined) faults.push(...deliveryFaults(what, processor))
  if (handle !== undefined && handleBatch !== undefined) {
    faults.push({ what: `${what}.handleBatch`, expected: 'either handle or handleBatch, not both' })
  }
  if (handle !== undefined && handleBatch === undefined && deliver === undefined && contract === undefined) {
    const expected =
      "'transactional' (handle writes through tx) or 'external' (at least once): required with handle"
    faults.push({ what: `${what}.contract`, expected })
  }
  if (handleBatch !== undefined && contract === 'transactional') {
    faults.push({
      what: `${what}.contract`,
      given: contract,
      expected: "'external', the contract of handleBatch",
    })
  }
  if (batchSize !== undefined && handleBatch === undefined) {
    faults.push({ what: `${what}.batchSize`, expected: 'handleBatch beside it' })
  }
  const { base, max } = asRecord(processor['backoff'])
  const [baseMs, maxMs] = [parseDuration(base ?? 1000), parseDuration(max ?? 300_000)]
  if (baseMs !== undefined && maxMs !== undefined && baseMs > maxMs) {
    faults.push({ what: `${what}.backoff.max`, expected: 'no less than backoff.base' })
  }
  return faults
}

function deliveryFaults(what: string, processor: Record<string, unknown>): Fault[] {
  const { handle, handleBatch, contract } = processor
  const faults: Fault[] = []
  if (handle !== undefined || handleBatch !== undefined) {
    const other = handle === undefined ? 'handleBatch' : 'handle'
    faults.push({ what: `${what}.deliver`, expected: `either ${other} or deliver, not both` })
  }
  if (contract === 'transactional') {
    faults.push({
      what: `${what}.contract`,
      given: contract,
      expected: "'external', the contract of deliver",
    })
  }
  const ownMs = parseDuration(asRecord(processor['deliver'])['timeout'] ?? 0)
  const allMs = parseDuration(processor['timeout'] ?? 60_000)
  if (ownMs !== undefined && allMs !== undefined && ownMs > allMs) {
    faults.push({
      what: `${what}.deliver.timeout`,
      given: String(asRecord(processor['deliver'])['timeout']),
      expected: `no longer than the processor's own timeout (${formatDuration(allMs)})`,
    })
  }
  return faults
}

/** Slots and order are those of a key, so each source needs one. */
function keyFaults(
  what: string,
  { from, slots, ordered }: Record<string, unknown>,
  pollers: ReadonlyMap<string, Record<string, unknown>>,
): Fault[] {
  const faults: Fault[] = []
  const option = ordered === true ? 'ordered' : slots === undefined ? undefined : 'slots'
  if (option === undefined) return faults
  for (const source of new Set([from].flat())) {
    const poller = typeof source === 'string' ? pollers.get(source) : undefined
    if (typeof source !== 'string' || poller === undefined) continue
    if (asRecord(poller['source'])['groupKey'] !== undefined) continue
    const expected = `pollers.${source}.source.groupKey beside it: the column that names the key of a row`
    faults.push({ what: `${what}.${option}`, expected })
  }
  const { perKey } = asRecord(slots)
  if (ordered === true && typeof perKey === 'number' && perKey > 1) {
    const expected = '1, or no slots at all, beside ordered: a key in order has one message in work at once'
    faults.push({ what: `${what}.slots.perKey`, given: String(perKey), expected })
  }
  return faults
}

function listed(names: ReadonlySet<string>): string {
  return names.size === 0 ? ' (it has none)' : ` (${[...names].join(', ')})`
}

function asRecord(value: unknown): Record<string, unknown> {
  // Only ever read by key, and each value is looked at as `unknown`.
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
