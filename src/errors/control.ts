/** No instance was ever configured with a task of this name; `known` are those that there are. */
export class TaskUnknown extends Error {
  override readonly name = 'TaskUnknown'
  readonly known: readonly string[]
  constructor(task: string, known: readonly string[]) {
    const names = known.length === 0 ? 'this database knows none yet' : `there are ${known.join(', ')}`
    super(`there is no task named ${JSON.stringify(task)}: ${names}`)
    this.known = known
  }
}

/** A pause would reach no instance and no record: the triggers that see to it are gone, or were never made. */
export class PauseUntold extends Error {
  override readonly name = 'PauseUntold'
  constructor() {
    super(
      'service_ops.background_task has no triggers that tell of a pause: nothing was changed; make them with ' +
        '`tidemark migrate`, or with `tidemark migrate --repair` where they were dropped',
    )
  }
}

/** A paused poller makes no pass, also when it is asked to. */
export class PollerPaused extends Error {
  override readonly name = 'PollerPaused'
  constructor(poller: string, by: string | null) {
    super(
      `${poller} is paused${by === null ? '' : ` by ${by}`} and makes no pass: \`tidemark resume ${poller}\` first`,
    )
  }
}

/** There is no message of this number: there never was, or retention has forgotten it. */
export class MessageUnknown extends Error {
  override readonly name = 'MessageUnknown'
  constructor(id: string) {
    super(`there is no message ${id}`)
  }
}

/** A message's status does not allow what was asked for. */
export class MessageRefused extends Error {
  override readonly name = 'MessageRefused'
  readonly status: string
  constructor(id: string, status: string, action: string, takes: readonly string[]) {
    super(
      takes.includes(status)
        ? `message ${id} is held by somebody else at this moment: try again`
        : `message ${id} is ${status}: ${action} is for messages that are ${takes.join(', ')}`,
    )
    this.status = status
  }
}

/** A range of a source has more rows than can be looked at while somebody waits for a page. */
export class RangeTooLarge extends Error {
  override readonly name = 'RangeTooLarge'
  constructor(poller: string) {
    super(
      `the range has more rows than can be looked at here: choose a shorter one, or \`tidemark replay ${poller}\``,
    )
  }
}

/** One replay at a time is taken in by an instance. */
export class ReplayUnderWay extends Error {
  override readonly name = 'ReplayUnderWay'
  constructor(poller: string) {
    super(`a replay of ${poller} is under way here: the record of actions tells when it has ended`)
  }
}
