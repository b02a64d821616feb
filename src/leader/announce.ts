import type { Leadership } from '../tables/leader.ts'
import type { Log } from '../telemetry/log.ts'

/** Says that this instance leads a task from now on, and how that came about. `first`: its first word on this task. */
export function announceLeader(log: Log, task: string, won: Leadership, first: boolean): void {
  const { from_instance: from, gap_ms: gapMs } = won
  const term = Number(won.term)
  if (first) log.event('task_started_as_leader', `${task} started as LEADER (term ${term})`, { task, term })
  const gap = gapMs === null ? '' : ` after ${Math.round(gapMs)} ms`
  if (won.reason === 'elected') log.event('leader_elected', `${task}: elected (term ${term})`, { task, term })
  else if (won.reason === 'handed_over') {
    const msg = `${task}: handed over by ${from ?? 'an unknown instance'}${gap} (term ${term})`
    log.event('leader_handed_over', msg, { task, term, from, gap_ms: gapMs })
  } else {
    const msg = `${task}: took over from ${from ?? 'an unknown instance'}${gap} (term ${term})`
    log.event('leader_took_over', msg, { task, term, from, gap_ms: gapMs })
  }
}
