import { interval } from '../db/interval.ts'
import { span } from '../kit/span.ts'
import { fault, note, warning, type Check, type DoctorContext, type Finding } from './check.ts'
import { sql } from './statements.ts'

/** Does somebody do what there is to do? */

type TaskRow = {
  task_name: string
  kind: string
  paused: boolean
  paused_by: string | null
  paused_seconds: number | null
  orphaned: boolean
  release: string
  living: number
}

export const tasks: Check = {
  name: 'tasks',
  title:
    'Every task that was ever configured is in the config of some living instance, and none was left paused.',
  async run(context) {
    const { rows } = await context.database().query<TaskRow>(sql.tasks)
    const found: Finding[] = []
    if (rows.length > 0 && rows.every(({ living }) => living === 0))
      found.push(note('no instance runs on this database', 'tidemark start'))
    for (const {
      task_name: name,
      kind,
      paused,
      paused_by: by,
      paused_seconds: seconds,
      orphaned,
      release,
      living,
    } of rows) {
      if (paused && (seconds ?? 0) * 1000 >= context.limits.pausedMs) {
        const seen = `${kind} ${name} is paused for ${span(seconds ?? 0)}${by === null ? '' : ` by ${by}`}: what waits for it waits on`
        found.push(warning(seen, `tidemark resume ${name}`))
      }
      // Somebody who paused it knows of it.
      if (orphaned && !paused && living > 0) {
        found.push(
          warning(
            `${kind} ${name} is in the config of no living instance (release ${release} had it last): what waits for it waits on`,
            `give it back to a config; or, when it is gone for good, tidemark pause ${name}`,
          ),
        )
      }
    }
    return found
  },
}

/** Sources that the processors of the config take. */
function taken(context: DoctorContext): Set<string> {
  return new Set(context.config().processors.flatMap(({ from }) => from))
}

export const processing: Check = {
  name: 'processing',
  title: 'Every source has a processor.',
  async run(context) {
    const database = context.database()
    const here = taken(context)
    const registered = await database.query<{ source: string }>(sql.taken)
    const anywhere = new Set([...here, ...registered.rows.map(({ source }) => source)])
    const { pollers, intakes } = context.config()
    const found = [...pollers, ...intakes]
      .filter(({ name }) => !anywhere.has(name))
      .map(({ name }) => nobodyTakes(name, 'its messages wait for ever'))
    const { rows } = await database.query<{ source: string }>(sql.unprocessed, [[...here]])
    const known = new Set([...pollers, ...intakes].map(({ name }) => name))
    const strays = rows.filter(({ source }) => !known.has(source))
    return [...found, ...strays.map(({ source }) => nobodyTakes(source, 'the inbox has open messages of it'))]
  },
}

function nobodyTakes(source: string, consequence: string): Finding {
  return warning(
    `no processor takes ${source}: ${consequence}`,
    `a processor with from: '${source}' in the config`,
  )
}

type StuckRow = { source: string; locked_by: string; messages: number; first: string; age_s: number }

type BacklogRow = {
  source: string
  processor: string
  paused: boolean
  dead: number
  due: number
  in_work: number
  oldest_due_s: number | null
}

export const messages: Check = {
  name: 'messages',
  title: 'No message is stuck.',
  async run(context) {
    const database = context.database()
    const age = [interval(context.limits.stuckMs)]
    const found: Finding[] = []
    const stuck = await database.query<StuckRow>(sql.stuck, age)
    for (const { source, locked_by: owner, messages: count, first, age_s: seconds } of stuck.rows) {
      found.push(
        fault(
          `${count} messages of ${source} (the first is ${first}) are in work with ${owner}, which is gone, for ${span(seconds)}: whoever runs takes them back within seconds, so nobody does`,
          'tidemark start',
        ),
      )
    }
    const backlog = await database.query<BacklogRow>(sql.backlog, age)
    for (const {
      source,
      processor,
      paused,
      dead,
      due,
      in_work: inWork,
      oldest_due_s: oldest,
    } of backlog.rows) {
      if (due > 0 && inWork === 0 && !paused) {
        found.push(
          warning(
            `${due} messages of ${source} are due for up to ${span(oldest ?? 0)}, and ${processor} has none in work`,
            'tidemark status tells whether an instance has it, and its log why it claims nothing (pool_pressure, slots, circuits)',
          ),
        )
      }
      if (dead > 0) {
        const seen = `${dead} messages of ${source} are DEAD, and wait for a person`
        found.push(note(seen, `tidemark inbox list --source ${source} --status DEAD`))
      }
    }
    return found
  },
}
