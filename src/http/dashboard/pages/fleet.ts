import { html } from 'hono/html'
import type { InstanceStatus, LeaderChange, StatusDocument } from '../../../tables/status.ts'
import { span } from '../../../kit/span.ts'
import { mark, stateMark, type Tone } from '../view/marks.ts'
import { section } from '../view/section.ts'
import { table } from '../view/table.ts'
import { counted, joined, millis, NONE, outside, since, type Html } from '../view/text.ts'

interface Release {
  readonly name: string
  readonly instances: readonly InstanceStatus[]
  /** While two releases run: the newer is green. */
  readonly colour: 'green' | 'blue' | undefined
}

/** Instances by release, the newest first. While several releases run, the newest is green and the others are blue. */
export function releasesOf(instances: readonly InstanceStatus[]): Release[] {
  const byRelease = [...Map.groupBy(instances, ({ release }) => release)]
  const begun = (of: readonly InstanceStatus[]): number =>
    Math.max(...of.map(({ started_at: at }) => Date.parse(at)))
  const ordered = byRelease.toSorted(([, one], [, other]) => begun(other) - begun(one))
  const living = ordered.filter(([, of]) => of.some(({ state }) => state !== 'stopped' && state !== 'lost'))
  return ordered.map(([name, of]) => ({
    name,
    instances: of,
    colour:
      living.length < 2 || !living.some(([alive]) => alive === name)
        ? undefined
        : name === living[0]?.[0]
          ? 'green'
          : 'blue',
  }))
}

export function instances({ instances: all, at }: StatusDocument): Html {
  const living = all.filter(({ state }) => state !== 'stopped').length
  const body =
    all.length === 0
      ? html`<p class="nothing">None has run in the last hour.</p>`
      : html`<div class="releases">
          ${releasesOf(all).map(
            ({ name, instances: of, colour }) =>
              html`<article class="release${colour === undefined ? '' : ` release-${colour}`}">
                <h3>
                  ${outside(name)}
                  ${colour === undefined ? '' : html`<span class="colour colour-${colour}">${colour}</span>`}
                </h3>
                <ul>
                  ${of.map((one) => instance(one, at))}
                </ul>
              </article>`,
          )}
        </div>`
  return section('instances', 'Instances', body, {
    aside: `${counted(living, 'runs', 'run')}${living === all.length ? '' : `, ${all.length - living} stopped within the hour`}`,
  })
}

function instance(one: InstanceStatus, at: string): Html {
  const { instance_id: id, state, region, leads, seen_seconds_ago: seen, started_at: started } = one
  return html`<li class="instance instance-${state}">
    <span class="instance-name">${outside(id)}</span>
    ${stateMark(state)}
    <span class="dim">
      ${region === null ? '' : html`${outside(region)}, `}${state === 'stopped' ? 'ended' : 'seen'}
      ${span(seen)} ago, began ${since(started, at)}
    </span>
    ${leads.length === 0 ? '' : html`<span class="leads">leads ${joined(leads.map(outside))}</span>`}
  </li>`
}

const REASON_TONES: Readonly<Record<string, Tone>> = {
  elected: 'quiet',
  handed_over: 'good',
  took_over: 'watch',
}

/** How leadership changed. */
export function reasonMark(reason: string): Html {
  return mark(REASON_TONES[reason] ?? 'quiet', reason.replaceAll('_', ' '))
}

export function changes({ leader_changes: all }: StatusDocument): Html {
  return section(
    'changes',
    'Changes of leadership',
    table<LeaderChange>(
      'Latest changes of leadership',
      [
        { head: 'Task', row: true, cell: ({ task_name: task }) => outside(task) },
        { head: 'When', num: true, cell: ({ seconds_ago: ago }) => `${span(ago)} ago` },
        { head: 'How', cell: ({ reason }) => reasonMark(reason) },
        { head: 'From', cell: ({ from_instance: from }) => (from === null ? NONE : outside(from)) },
        { head: 'To', cell: ({ to_instance: to }) => outside(to) },
        { head: 'Term', num: true, cell: ({ term }) => term },
        {
          head: 'Without a leader',
          num: true,
          cell: ({ gap_ms: gap }) => (gap === null ? NONE : millis(gap)),
        },
      ],
      all,
      'None yet.',
    ),
    { aside: 'the newest ten' },
  )
}
