import { Hono } from 'hono'
import { createSeldom } from '../../../kit/seldom.ts'
import { actionsBefore, allInvariants, allTasks, runsOf, walkRuns } from '../../../tables/dashboard.ts'
import { deadJobs, jobOverview } from '../../../tables/dashboardJobs.ts'
import { errorClasses, inboxSources, readMessage } from '../../../tables/dashboardMessages.ts'
import type { DashboardPort } from '../../dashboardPort.ts'
import { taskNamed } from '../../taskName.ts'
import { pathOf } from '../access.ts'
import type { Env } from '../access.ts'
import type { Frame } from '../frame.ts'
import { actions } from '../pages/actions.ts'
import { jobs } from '../pages/jobs.ts'
import { message, PAYLOAD_SHOWN } from '../pages/message.ts'
import { messages } from '../pages/messages.ts'
import { OUTCOMES, runs } from '../pages/runs.ts'
import { task, type DryRun } from '../pages/task.ts'
import { verify } from '../pages/verify.ts'
import { readMessagesQuery, textOf } from '../query.ts'
import { PAGE, search } from '../search.ts'
import { readStory } from '../story.ts'
import { TOP, walk } from '../walk.ts'

/** Runs shown of a job, and of a poller. */
const JOB_RUNS = 5
const TASK_RUNS = 10
const DEAD_JOBS = 20
const TASK_ACTIONS = 10
/** Of what waits, so many are looked at for the classes of errors, of which so many are shown. */
const ERRORS_LOOK = 20_000
const ERRORS_SHOWN = 8
/** What changes seldom is asked for once for all who look within this time, in milliseconds. */
const SELDOM_MS = 5_000
const NUMBER = /^[1-9][0-9]{0,17}$/

/** Pages that change nothing. */
export function lookingRoutes(frame: Frame, port: DashboardPort): Hono<Env> {
  const routes = new Hono<Env>()
  const once = { everyMs: () => SELDOM_MS, share: 1 }
  const sources = createSeldom({ ask: async () => inboxSources(port.database()), ...once })
  const errors = createSeldom({
    ask: async () => errorClasses(port.database(), ERRORS_LOOK, ERRORS_SHOWN),
    ...once,
  })

  routes.get('/messages', async (context) => {
    const db = port.database()
    const { url } = context.req
    const query = readMessagesQuery(url)
    const nothing = { rows: [], below: undefined, cut: false }
    const [found, known, classes] = await Promise.all([
      query.fault === undefined ? search(db, query) : nothing,
      sources.need(),
      errors.need(),
    ])
    const names = known.map(({ source }) => source)
    const formToken = frame.formToken(context)
    const body = messages({ query, url, found, sources: names, errors: classes, formToken })
    return frame.page(context, { title: 'Messages', place: 'messages', body })
  })

  routes.get('/messages/:id', async (context) => {
    const id = context.req.param('id')
    const db = port.database()
    const { trusted } = context.get('visitor')
    const read = NUMBER.test(id) ? await readMessage(db, id, trusted ? PAYLOAD_SHOWN : undefined) : undefined
    if (read === undefined)
      return frame.problem(
        context,
        404,
        'No such message',
        `There is no message ${id.slice(0, 40)}, or retention has forgotten it.`,
      )
    const story = await readStory(db, read.message)
    const body = message({
      read,
      story,
      trusted,
      canLogIn: frame.sessions !== undefined,
      formToken: frame.formToken(context),
      here: pathOf(context),
    })
    return frame.page(context, { title: `Message ${id}`, place: 'messages', body })
  })

  routes.get('/runs', async (context) => {
    const db = port.database()
    const { url } = context.req
    const { searchParams: given } = new URL(url)
    const poller = textOf(given, 'poller')
    const outcomes = OUTCOMES.filter((outcome) => given.getAll('outcome').includes(outcome))
    const below = textOf(given, 'below')
    const filter = { poller, outcomes: outcomes.length === 0 ? undefined : outcomes }
    const [found, tasks] = await Promise.all([
      walk({
        below: below !== undefined && NUMBER.test(below) ? below : TOP,
        floor: '0',
        limit: PAGE,
        step: (step) => walkRuns(db, filter, step),
        idOf: ({ run_id: id }) => id,
      }),
      allTasks(db),
    ])
    const pollers = tasks.filter(({ kind }) => kind === 'poller').map(({ task_name: name }) => name)
    const body = runs({ found, pollers, poller, outcomes, url })
    return frame.page(context, { title: 'Runs', place: 'runs', body })
  })

  routes.get('/jobs', async (context) => {
    const db = port.database()
    const [all, dead] = await Promise.all([jobOverview(db, JOB_RUNS), deadJobs(db, DEAD_JOBS)])
    return frame.page(context, { title: 'Jobs', place: 'jobs', body: jobs({ jobs: all, dead }) })
  })

  routes.get('/verify', async (context) => {
    const invariants = await allInvariants(port.database())
    const body = verify({ invariants, results: undefined, tookMs: 0 })
    return frame.page(context, { title: 'Verify', place: 'verify', body })
  })

  routes.get('/actions', async (context) => {
    const { url } = context.req
    const below = textOf(new URL(url).searchParams, 'below')
    const found = await actionsBefore(
      port.database(),
      below !== undefined && NUMBER.test(below) ? below : TOP,
      PAGE + 1,
    )
    const shown = found.slice(0, PAGE)
    const next = found.length > PAGE ? shown.at(-1)?.action_id : undefined
    return frame.page(context, { title: 'Actions', place: 'actions', body: actions(shown, next, url) })
  })

  routes.get('/tasks/:name', async (context) => {
    const body = await taskBody(
      port,
      taskNamed(context.req.param('name')),
      frame.formToken(context),
      undefined,
    )
    if (body === undefined)
      return frame.problem(
        context,
        404,
        'No such task',
        'No instance was ever configured with a task of that name.',
      )
    return frame.page(context, { title: context.req.param('name'), place: 'now', body })
  })
  return routes
}

/** A task's page; undefined: there is no such task. */
export async function taskBody(
  port: DashboardPort,
  name: string,
  formToken: string | undefined,
  dryRun: DryRun | undefined,
) {
  const db = port.database()
  const [tasks, status, runs, acts] = await Promise.all([
    allTasks(db),
    port.status(),
    runsOf(db, name, TASK_RUNS),
    actionsBefore(db, TOP, TASK_ACTIONS, name),
  ])
  const row = tasks.find(({ task_name: one }) => one === name)
  if (row === undefined) return undefined
  return task({
    task: row,
    poller: status.pollers.find(({ poller }) => poller === name),
    processor: status.processors.find(({ processor }) => processor === name),
    runs,
    actions: acts,
    formToken,
    canReplay: port.pollers().includes(name),
    dryRun,
  })
}
