import { fault, type Check, type Finding } from '../check.ts'
import { deployedSettings, ownGroups } from './deployed.ts'
import type { FlyApp } from './flyToml.ts'

/** Does Fly.io leave a machine the time to drain, and does its signal arrive? */

/** Fly.io's default where `kill_timeout` is not said, and the most that it takes. */
const KILL_DEFAULT_S = 5
const KILL_MOST_S = 300
/** Without a word about it a deploy waits five minutes for a machine. */
const WAIT_DEFAULT_S = 300
/** What a deploy needs to wait longer than a machine takes to stop. */
const WAIT_MARGIN_S = 30
/** Between the end of a drain and the end of its process. */
const KILL_MARGIN_S = 15

const HANDLED_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP']

export const flyStop: Check = {
  name: 'fly_stop',
  title:
    "fly.toml's kill_timeout is longer than a drain, wait_timeout longer than that, and kill_signal one that drains.",
  async run(context) {
    const app = context.fly()
    const shutdownS = deployedSettings(app).shutdownTimeoutMs / 1000
    return [...signalFindings(app), ...killFindings(app, shutdownS), ...waitFindings(app)]
  },
}

function signalFindings({ file, killSignal }: FlyApp): Finding[] {
  if (killSignal === null || HANDLED_SIGNALS.includes(killSignal)) return []
  return [
    fault(
      `kill_signal in ${file} is ${killSignal}: the machine ends without a drain`,
      'kill_signal = "SIGTERM"',
    ),
  ]
}

function killFindings({ file, killTimeoutS }: FlyApp, shutdownS: number): Finding[] {
  const kill = killTimeoutS ?? KILL_DEFAULT_S
  const said =
    killTimeoutS === null
      ? `kill_timeout is not in ${file} and so ${kill} s`
      : `kill_timeout in ${file} is ${kill} s`
  if (kill > KILL_MOST_S)
    return [fault(`${said}: Fly.io takes ${KILL_MOST_S} s at most`, `kill_timeout = ${KILL_MOST_S}`)]
  if (kill > shutdownS) return []
  const wanted = Math.ceil(shutdownS + KILL_MARGIN_S)
  const remedy =
    wanted <= KILL_MOST_S
      ? `kill_timeout = ${wanted}`
      : `kill_timeout = ${KILL_MOST_S}, and SHUTDOWN_TIMEOUT_SECONDS=${KILL_MOST_S - KILL_MARGIN_S} in [env]`
  return [
    fault(`${said}, and a drain may take ${shutdownS} s (SHUTDOWN_TIMEOUT_SECONDS): it is cut off`, remedy),
  ]
}

function waitFindings({ file, killTimeoutS, waitTimeoutS }: FlyApp): Finding[] {
  const needed = Math.min(killTimeoutS ?? KILL_DEFAULT_S, KILL_MOST_S) + WAIT_MARGIN_S
  const wait = waitTimeoutS ?? WAIT_DEFAULT_S
  if (wait >= needed) return []
  return [
    fault(
      `wait_timeout in ${file} is ${wait} s: a deploy gives up while a machine of kill_timeout ${killTimeoutS ?? KILL_DEFAULT_S} s still drains`,
      `wait_timeout = "${needed}s" under [deploy], or more`,
    ),
  ]
}

export const flyProcess: Check = {
  name: 'fly_process',
  title: 'The signal to stop reaches Tidemark itself: nothing like npm or a shell stands in front of it.',
  async run(context) {
    const app = context.fly()
    const own = ownGroups(app)
    const found = Object.entries(app.groups)
      .filter(([group, command]) => own.includes(group) && isWrapped(command))
      .map(([group, command]) =>
        fault(
          `[processes] in ${app.file}: ${group} is ${JSON.stringify(command)}, and what stands in front gets the signal to stop, not the worker`,
          `${group} = "node bin/tidemark.js start" (installed: node node_modules/tidemark/bin/tidemark.js start)`,
        ),
      )
    return [...found, ...imageFindings(app, own)]
  },
}

function isWrapped(command: string): boolean {
  return /^(?:\S*\/)?(npm|npx|pnpm|yarn|sh|bash|dash)\b/.test(command.trim())
}

/** The last instruction of a kind is the one that counts. */
function instruction(dockerfile: string, name: string): string | undefined {
  return [...dockerfile.replaceAll(/\\\r?\n/g, ' ').matchAll(new RegExp(`^\\s*${name}\\s+(.+)$`, 'gim'))]
    .at(-1)?.[1]
    ?.trim()
}

function imageFindings({ dockerfile, groups }: FlyApp, own: readonly string[]): Finding[] {
  if (dockerfile === null) return []
  // A command of a group stands in the place of CMD, behind ENTRYPOINT.
  const usesCmd = own.some((group) => groups[group] === '')
  return [...(usesCmd ? ['CMD'] : []), 'ENTRYPOINT'].flatMap((name) => {
    const found = instruction(dockerfile, name)
    if (found === undefined) return []
    const isShell = !found.startsWith('[')
    const first = /^\[\s*"([^"]+)"/.exec(found)?.[1] ?? ''
    if (!isShell && !isWrapped(first)) return []
    const how = isShell ? 'runs it through a shell' : `runs ${first} in front of it`
    return [
      fault(
        `${name} of the Dockerfile (${found}) ${how}, which gets the signal to stop in its place`,
        name === 'CMD' ? 'CMD ["node", "bin/tidemark.js", "start"]' : 'ENTRYPOINT []',
      ),
    ]
  })
}
