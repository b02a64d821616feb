import { Hono } from 'hono'
import type { Context } from 'hono'
import { MessageRefused, MessageUnknown, PollerPaused, PollerUnknown, TaskUnknown } from '../../../errors.ts'
import { cleanError } from '../../../telemetry/errorText.ts'
import type { AdminPort } from '../../adminPort.ts'
import type { DashboardPort } from '../../dashboardPort.ts'
import { taskNamed } from '../../taskName.ts'
import { ownPath } from '../access.ts'
import type { Env } from '../access.ts'
import { formLimit } from '../formLimit.ts'
import type { Frame } from '../frame.ts'
import type { DryRun } from '../pages/task.ts'
import { timeOf } from '../query.ts'
import type { Said } from '../view/layout.ts'
import { counted } from '../view/text.ts'
import { taskBody } from './looking.ts'

/** A page of chosen messages and more; a form is no way to change thousands. */
const CHOSEN_MOST = 100
const BODY_BYTES = 65_536
const NUMBER = /^[1-9][0-9]{0,17}$/

/**
 * What a person does here. Each form is answered by a redirect to where it came from, which says how it went; a dry run is
 * answered by its page, since it changes nothing.
 */
export function actingRoutes(frame: Frame, port: DashboardPort, admin: AdminPort): Hono<Env> {
  const { access } = frame
  const routes = new Hono<Env>()
  // Paths of its own alone: what other routes answer must not meet these guards.
  for (const path of ['/messages', '/tasks/:name']) {
    routes.post(path, formLimit(frame, BODY_BYTES), access.act)
  }

  routes.post('/messages', async (context) => {
    const form = await context.req.parseBody({ all: true })
    const ids = [form['id'] ?? []]
      .flat()
      .filter((id) => typeof id === 'string' && NUMBER.test(id)) as string[]
    const action = form['action'] === 'retry' ? 'retry' : form['action'] === 'discard' ? 'discard' : undefined
    const back = ownPath(typeof form['back'] === 'string' ? form['back'] : undefined)
    if (action === undefined) return say(context, back, { kind: 'refused', text: 'Nothing was asked for.' })
    if (ids.length === 0) return say(context, back, { kind: 'refused', text: 'No message was chosen.' })
    const who = whoOf(context)
    let done = 0
    const refused: string[] = []
    for (const id of ids.slice(0, CHOSEN_MOST)) {
      try {
        await admin.change(action, id, who)
        done += 1
      } catch (error) {
        refused.push(reasonOf(error))
      }
    }
    return say(context, back, saidOf(action, done, refused))
  })

  routes.post('/tasks/:name', async (context) => {
    const name = taskNamed(context.req.param('name'))
    const form = await context.req.parseBody()
    const text = (field: string): string => (typeof form[field] === 'string' ? form[field].trim() : '')
    const who = whoOf(context)
    const here = `/tasks/${encodeURIComponent(name)}`
    const action = text('action')
    try {
      switch (action) {
        case 'pause':
        case 'resume':
          await admin.pause(name, action === 'pause', who)
          return say(context, here, {
            kind: 'done',
            text: `${name} is ${action === 'pause' ? 'paused' : 'let go on'}.`,
          })
        case 'poll':
          await admin.poll(name, who)
          return say(context, here, {
            kind: 'done',
            text: `A pass of ${name} was asked for; it is among the runs in a moment.`,
          })
        case 'look':
        case 'replay': {
          const [from, to] = [timeOf(text('from')), timeOf(text('to'))]
          const includeForgotten = text('include_forgotten') !== ''
          const typed = { from: text('from'), to: text('to'), includeForgotten }
          if (typeof from !== 'string' || typeof to !== 'string' || Date.parse(from) >= Date.parse(to)) {
            const refused = 'A range has a beginning and a later end.'
            return await shown(context, name, { ...typed, look: undefined, refused })
          }
          const request = { poller: name, from, to, includeForgotten }
          if (action === 'look')
            return await shown(context, name, {
              ...typed,
              look: await port.lookAtRange(request),
              refused: undefined,
            })
          const id = await port.replay(request, who)
          return say(context, here, {
            kind: 'done',
            text: `The replay has begun as action ${id}; what it took in is said there when it has ended.`,
          })
        }
        default:
          return say(context, here, { kind: 'refused', text: 'Nothing was asked for.' })
      }
    } catch (error) {
      const refused = reasonOf(error)
      if (action !== 'look') return say(context, here, { kind: 'refused', text: refused })
      const typed = { from: text('from'), to: text('to'), includeForgotten: text('include_forgotten') !== '' }
      return shown(context, name, { ...typed, look: undefined, refused })
    }
  })
  return routes

  function say(context: Context<Env>, path: string, said: Said): Response {
    access.say(context, said)
    return context.redirect(path, 303)
  }

  async function shown(context: Context<Env>, name: string, dryRun: DryRun): Promise<Response> {
    const body = await taskBody(port, name, frame.formToken(context), dryRun)
    if (body === undefined)
      return frame.problem(context, 404, 'No such task', `There is no task of that name.`)
    return frame.page(context, { title: name, place: 'now', body })
  }
}

function whoOf(context: Context<Env>): string {
  return context.get('visitor').session?.name ?? 'nobody'
}

function saidOf(action: 'retry' | 'discard', done: number, refused: readonly string[]): Said {
  const verb = action === 'retry' ? 'put back' : 'discarded'
  const did = `${counted(done, 'message')} ${verb}`
  if (refused.length === 0) return { kind: 'done', text: `${did}.` }
  const [first = ''] = refused
  return { kind: 'refused', text: `${did}, ${refused.length} not: ${first}` }
}

/** What is refused for a reason is said in its words; anything else by its class alone. */
function reasonOf(error: unknown): string {
  const isOurs =
    error instanceof MessageRefused ||
    error instanceof MessageUnknown ||
    error instanceof PollerPaused ||
    error instanceof PollerUnknown ||
    error instanceof TaskUnknown
  if (isOurs) return error.message
  const { class: name, text } = cleanError(error)
  return NAMED.has(name) ? text : `The database did not do it (${name}).`
}

/** Errors of a source, whose text is a remedy. */
const NAMED: ReadonlySet<string> = new Set([
  'SourceChanged',
  'SourceInvalid',
  'PermissionMissing',
  'RangeTooLarge',
  'ReplayUnderWay',
])
