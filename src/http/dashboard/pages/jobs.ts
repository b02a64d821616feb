import { html } from 'hono/html'
import type { DeadJob, JobOverview, JobRun } from '../../../tables/dashboardJobs.ts'
import { mark, outcomeMark } from '../view/marks.ts'
import { section } from '../view/section.ts'
import { table } from '../view/table.ts'
import { counted, EMPTY, joined, millis, NONE, outside, short, time, whole, type Html } from '../view/text.ts'

export interface JobsState {
  readonly jobs: readonly JobOverview[]
  readonly dead: readonly DeadJob[]
}

export function jobs({ jobs: all, dead }: JobsState): Html {
  return html`<h1>Jobs</h1>
    ${section(
      'jobs',
      'Schedules and states',
      table<JobOverview>(
        'Jobs',
        [
          {
            head: 'Job',
            row: true,
            cell: ({ job }) => html`<a href="/tasks/${encodeURIComponent(job)}">${outside(job)}</a>`,
          },
          { head: 'State', cell: stateOf },
          {
            head: 'Schedule',
            cell: ({ schedule, timezone }) =>
              schedule === null
                ? html`<span class="dim">when sent</span>`
                : html`<code>${outside(schedule)}</code> <span class="dim">${timezone ?? 'UTC'}</span>`,
          },
          { head: 'Next', num: true, cell: ({ next_at: at }) => time(at) },
          { head: 'Queued', num: true, cell: ({ queued }) => whole(queued) },
          { head: 'In work', num: true, cell: ({ active }) => whole(active) },
          { head: 'To be retried', num: true, cell: ({ retrying }) => whole(retrying) },
          {
            head: 'Last run',
            cell: ({ runs: [last] }) =>
              last === undefined
                ? NONE
                : html`${outcomeMark(last.state)} <span class="dim">${time(last.completed_on)}</span>`,
          },
          {
            head: 'Instances',
            wide: true,
            cell: ({ instances }) => (instances.length === 0 ? NONE : joined(instances.map(outside))),
          },
        ],
        all,
        'No job is in any config.',
      ),
    )}
    ${all.map(({ job, runs }, n) => (runs.length === 0 ? EMPTY : section(`runs-${n}`, `Last runs of ${job}`, runsTable(runs), { half: true })))}
    ${section(
      'dead',
      'Failed for good',
      table<DeadJob>(
        'Jobs that failed for good',
        [
          {
            head: 'Job',
            row: true,
            cell: ({ source_name: name, id }) =>
              html`${outside((name ?? '?').replace(/^job\./, ''))} <span class="dim id">${id}</span>`,
          },
          { head: 'When', num: true, cell: ({ created_on: at }) => time(at) },
          { head: 'Retries', num: true, cell: ({ source_retry_count: n }) => n ?? NONE },
          { head: 'Error', wide: true, cell: ({ error }) => (error === null ? NONE : short(error, 160)) },
        ],
        dead,
        'None has.',
      ),
      { aside: dead.length === 0 ? '' : counted(dead.length, 'job') },
    )}`
}

function stateOf({ orphaned, paused, paused_by: by, active, queued }: JobOverview): Html {
  if (orphaned) return mark('quiet', 'in no config')
  if (paused) return mark('watch', html`paused${by === null ? '' : html` by ${outside(by)}`}`)
  if (active > 0) return mark('busy', 'in work')
  return queued > 0 ? mark('good', 'queued') : mark('quiet', 'idle')
}

function runsTable(runs: readonly JobRun[]): Html {
  return table<JobRun>(
    'Last runs',
    [
      { head: 'Ended', row: true, cell: ({ completed_on: at }) => time(at) },
      { head: 'Outcome', cell: ({ state }) => outcomeMark(state) },
      { head: 'Took', num: true, cell: ({ took_ms: ms }) => (ms === null ? NONE : millis(ms)) },
      { head: 'Retries', num: true, cell: ({ retry_count: n }) => n },
      { head: 'Error', wide: true, cell: ({ error }) => (error === null ? NONE : short(error, 120)) },
    ],
    runs,
    'None.',
  )
}
