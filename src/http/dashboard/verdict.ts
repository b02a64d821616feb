import type { StatusDocument } from '../../tables/status.ts'
import { counted, span } from './view/text.ts'

/** Something that a person should know of. */
export interface Finding {
  /** `act`: it does not mend itself. `watch`: it may. */
  readonly level: 'act' | 'watch'
  readonly text: string
  /** Where to look further. */
  readonly path: string
}

/** How everything is, in one sentence, and why. */
export interface Verdict {
  readonly level: 'well' | 'watch' | 'act'
  readonly sentence: string
  readonly findings: readonly Finding[]
}

/** So many intervals without a completed pass are too many; and so many seconds, whatever the interval. */
const LATE_INTERVALS = 3
const LATE_LEAST_S = 30
/** An open message older than this is late, in seconds. */
const OLD_S = 600

/** Judges a status document. */
export function verdict(status: StatusDocument): Verdict {
  const findings = [
    ...pollers(status),
    ...processors(status),
    ...status.circuits.map(
      ({ target, instance_id: instance, class: because, open_seconds: seconds }): Finding => ({
        level: 'watch',
        text: `Nothing is sent to ${target} by ${instance} for ${span(seconds)}: ${because}`,
        path: '/#circuits',
      }),
    ),
    ...instances(status),
  ]
  const act = findings.filter(({ level }) => level === 'act')
  const ordered = [...act, ...findings.filter(({ level }) => level === 'watch')]
  const level = act.length > 0 ? 'act' : findings.length > 0 ? 'watch' : 'well'
  return { level, sentence: sentenceOf(level, ordered, status), findings: ordered }
}

function sentenceOf(
  level: Verdict['level'],
  findings: readonly Finding[],
  { pollers, processors, instances }: StatusDocument,
): string {
  const [first] = findings
  if (first !== undefined) {
    const more = findings.length - 1
    const rest =
      more === 0 ? '' : `, and ${counted(more, 'more thing')} ${level === 'act' ? 'to look at' : 'to watch'}`
    return `${first.text}${rest}.`
  }
  if (instances.every(({ state }) => state === 'stopped')) return 'No instance runs.'
  const lags = pollers.flatMap(({ lag_seconds: lag, paused, orphaned }) =>
    lag === null || paused || orphaned ? [] : [lag],
  )
  const waiting = processors.reduce((sum, { waiting: n }) => sum + n, 0)
  const taken =
    lags.length === 0
      ? 'All is well'
      : `All is well: everything written up to ${span(Math.max(...lags))} ago has been looked for`
  return `${taken}${waiting === 0 ? ', and nothing waits' : ''}.`
}

function pollers({ pollers }: StatusDocument): Finding[] {
  return pollers.flatMap((poller): Finding[] => {
    const path = `/tasks/${encodeURIComponent(poller.poller)}`
    const { poller: name, paused, paused_by: by, paused_seconds: pausedFor } = poller
    if (poller.orphaned) return []
    if (paused)
      return [
        {
          level: 'watch',
          text: `${name} is paused${by === null ? '' : ` by ${by}`}${pausedFor === null ? '' : ` for ${span(pausedFor)}`}`,
          path,
        },
      ]
    if (poller.leader === null) return [{ level: 'act', text: `${name} has no leader`, path }]
    const latest = Math.max(LATE_LEAST_S, LATE_INTERVALS * (poller.interval_seconds ?? 0))
    const lag = poller.lag_seconds ?? 0
    const isLate = lag > latest
    if (poller.last_outcome === 'failed')
      return [
        {
          level: isLate ? 'act' : 'watch',
          text: `The newest pass of ${name} failed: ${poller.last_error ?? 'no reason given'}`,
          path,
        },
      ]
    if (isLate) return [{ level: 'act', text: `${name} has completed no pass for ${span(lag)}`, path }]
    return []
  })
}

function processors({ processors }: StatusDocument): Finding[] {
  return processors.flatMap((processor): Finding[] => {
    const { processor: name, paused, paused_by: by, paused_seconds: pausedFor, dead } = processor
    const path = `/tasks/${encodeURIComponent(name)}`
    if (processor.orphaned) return []
    const found: Finding[] = []
    if (dead > 0) {
      const of = (processor.sources ?? []).map((source) => `&source=${encodeURIComponent(source)}`).join('')
      found.push({
        level: 'act',
        text: `${counted(dead, 'message')} of ${name} ${dead === 1 ? 'is' : 'are'} given up`,
        path: `/messages?status=DEAD${of}`,
      })
    }
    if (paused)
      found.push({
        level: 'watch',
        text: `${name} is paused${by === null ? '' : ` by ${by}`}${pausedFor === null ? '' : ` for ${span(pausedFor)}`}`,
        path,
      })
    else if (processor.exclusive && processor.leader === null)
      found.push({ level: 'act', text: `${name} has no leader`, path })
    else if ((processor.oldest_open_seconds ?? 0) > OLD_S)
      found.push({
        level: 'watch',
        text: `The oldest open message of ${name} is ${span(processor.oldest_open_seconds ?? 0)} old`,
        path,
      })
    return found
  })
}

function instances({ instances }: StatusDocument): Finding[] {
  const lost = instances.filter(({ state }) => state === 'lost')
  if (lost.length > 0)
    return [
      {
        level: 'watch',
        text: `${lost.map(({ instance_id: id }) => id).join(', ')} ${lost.length === 1 ? 'has' : 'have'} not been heard of`,
        path: '/#instances',
      },
    ]
  const runs = instances.some(
    ({ state }) => state === 'ready' || state === 'starting' || state === 'draining',
  )
  return runs ? [] : [{ level: 'act', text: 'No instance runs', path: '/#instances' }]
}
