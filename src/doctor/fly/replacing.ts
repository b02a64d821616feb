import { fault, warning, type Check, type Finding } from '../check.ts'
import { deployedSettings, ownGroups } from './deployed.ts'
import { isFor, type FlyApp, type FlyCheck } from './flyToml.ts'

/** Does green take over only when it works, and does blue stay until then? */

export const flyDeploy: Check = {
  name: 'fly_deploy',
  title: "fly.toml's strategy leaves one release at work while the other starts, and has all that it needs.",
  async run(context) {
    const app = context.fly()
    const { file, strategy, mounts, hasMaxUnavailable } = app
    const own = ownGroups(app)
    const found: Finding[] = []
    if (strategy === 'immediate') {
      found.push(
        warning(
          `strategy in ${file} is immediate: every machine is replaced at once, whether or not the new release starts`,
          'strategy = "bluegreen" under [deploy]',
        ),
      )
    }
    const mounted = mounts.filter(({ groups }) => own.some((group) => isFor(group, groups)))
    if (strategy === 'bluegreen' && mounted.length > 0) {
      const sources = mounted.map(({ source }) => source).join(', ')
      found.push(
        fault(
          `${file} mounts the volume ${sources}, and a bluegreen deploy takes no volumes`,
          'take [mounts] out (the database keeps everything), or strategy = "rolling"',
        ),
      )
    }
    if (strategy !== null && strategy !== 'rolling' && hasMaxUnavailable)
      found.push(warning(`max_unavailable in ${file} is for strategy rolling alone`, 'take it out'))
    return found
  },
}

export const flyChecks: Check = {
  name: 'fly_checks',
  title:
    'Each process group has a check of /ready: without one, green counts as well as soon as it has started.',
  async run(context) {
    const app = context.fly()
    const { file, checks } = app
    const { port, opsPort } = deployedSettings(app)
    const found = ownGroups(app).flatMap((group) => {
      const own = checks.filter(({ groups }) => isFor(group, groups))
      return own.some(({ path }) => path === '/ready') ? [] : [withoutReady(file, group, own, port)]
    })
    const asksElsewhere = ({ path, port: asked }: FlyCheck): boolean =>
      path === '/ready' && asked !== null && asked !== port && asked !== opsPort
    const strangers = checks.filter(asksElsewhere)
    for (const { port: other } of strangers)
      found.push(
        fault(
          `a check in ${file} asks /ready at port ${other}, and PORT is ${port}: green never passes`,
          `port = ${port}`,
        ),
      )
    if (checks.some(({ hasRestartLimit }) => hasRestartLimit))
      found.push(warning(`restart_limit in a check of ${file} does nothing any more`, 'take it out'))
    return found
  },
}

function withoutReady(file: string, group: string, own: readonly FlyCheck[], port: number): Finding {
  const remedy = `[checks.ready] type = "http", port = ${port}, method = "get", path = "/ready", interval = "5s", timeout = "3s", grace_period = "10s", processes = ["${group}"]`
  const [other] = own
  if (other === undefined)
    return fault(
      `${file} has no check for ${group}: a green that never gets ready takes over all the same`,
      remedy,
    )
  const asked = other.path === null ? `only whether port ${other.port ?? '?'} is open` : other.path
  const why =
    other.path === '/health'
      ? 'which speaks of the whole cluster: one dead message would stop a deploy'
      : 'which says nothing of whether it can work'
  return warning(`the check for ${group} in ${file} asks ${asked}, ${why}`, remedy)
}

export const flyRestart: Check = {
  name: 'fly_restart',
  title: 'Fly.io starts a worker again whenever it ends, and never stops one that has no visitors.',
  async run(context) {
    const app = context.fly()
    const { file, restarts, services } = app
    return ownGroups(app).flatMap((group) => {
      const found: Finding[] = []
      const policy = restarts.find(({ groups }) => isFor(group, groups))?.policy
      if (policy !== 'always') {
        found.push(
          fault(
            `[[restart]] for ${group} in ${file} is ${policy ?? 'not there, and so on-failure'}: after ten failures in five minutes, or an exit with 0, the worker stays down`,
            `[[restart]] policy = "always", processes = ["${group}"]`,
          ),
        )
      }
      for (const { autoStop } of services.filter(({ groups }) => isFor(group, groups))) {
        if (autoStop === null) continue
        const seen = `auto_stop_machines is ${autoStop} for ${group} in ${file}: Fly.io sees HTTP alone, and stops a worker in the middle of its work`
        found.push(fault(seen, 'auto_stop_machines = "off"'))
      }
      return found
    })
  },
}

/** What Fly.io gives a release command where nothing is said. */
const RELEASE_DEFAULT_S = 300

export const flyMigrations: Check = {
  name: 'fly_migrations',
  title: 'Somebody migrates, the release command or the machines, and has the time for it.',
  async run(context) {
    const app = context.fly()
    const { runMigrations, migrationLockWaitMs, migrationStatementTimeoutMs } = deployedSettings(app)
    if (migrates(app)) {
      const { file, releaseTimeoutS } = app
      const mostS = (migrationLockWaitMs + migrationStatementTimeoutMs) / 1000
      const givenS = releaseTimeoutS ?? RELEASE_DEFAULT_S
      if (mostS < givenS) return []
      return [
        warning(
          `the release_command in ${file} is ended after ${givenS} s, and a wait for the lock and one statement of a migration may take ${mostS} s`,
          `release_command_timeout = "${Math.ceil(mostS + RELEASE_DEFAULT_S)}s" under [deploy]`,
        ),
      ]
    }
    if (runMigrations) return []
    return [
      fault(
        `RUN_MIGRATIONS is 0 in ${app.file} and ${app.releaseCommand === null ? 'there is no release_command' : `the release_command is ${JSON.stringify(app.releaseCommand)}`}: nobody migrates, and a release that needs it stays not ready`,
        'release_command = "node bin/tidemark.js migrate" under [deploy]',
      ),
    ]
  },
}

function migrates({ releaseCommand }: FlyApp): boolean {
  // A script of the app's own may do it.
  return releaseCommand !== null && (/\bmigrate\b/.test(releaseCommand) || !/tidemark/.test(releaseCommand))
}

export const flyPorts: Check = {
  name: 'fly_ports',
  title: "fly.toml's services and metrics lead to the ports on which Tidemark listens.",
  async run(context) {
    const app = context.fly()
    const { port, opsPort } = deployedSettings(app)
    const own = ownGroups(app)
    const services = app.services
      .filter(
        ({ internalPort, groups }) =>
          internalPort !== null &&
          internalPort !== port &&
          internalPort !== opsPort &&
          own.some((group) => isFor(group, groups)),
      )
      .map(({ internalPort }) =>
        fault(
          `internal_port in ${app.file} is ${internalPort}, and Tidemark listens on ${port}`,
          `internal_port = ${port}`,
        ),
      )
    const told = opsPort ?? port
    const metrics = app.metrics
      .filter((one) => one.port !== told || one.path !== '/metrics')
      .map((one) =>
        warning(
          `[metrics] in ${app.file} asks ${one.path ?? '/metrics'} at port ${one.port ?? '?'}, and metrics are at /metrics on ${told}`,
          `[[metrics]] port = ${told}, path = "/metrics"`,
        ),
      )
    return [...services, ...metrics]
  },
}
