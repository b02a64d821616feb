import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { CHECKS } from '../../src/doctor/checks.ts'
import { examined, finds, isSilent } from './patient.ts'

const ROOT = join(import.meta.dirname, '../..')
/** The project's own, which is right. */
const GOOD = readFileSync(join(ROOT, 'fly.toml'), 'utf8')
const DOCKERFILE = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
const FLY_CHECKS = CHECKS.map(({ name }) => name).filter((name) => name.startsWith('fly_'))

type Change = readonly [pattern: RegExp | string, text: string]

/** The good file with some of it changed. */
function changed(...changes: readonly Change[]): string {
  return changes.reduce((text, [pattern, replacement]) => {
    const next = text.replace(pattern, replacement)
    assert.notEqual(next, text, `${String(pattern)} is in fly.toml`)
    return next
  }, GOOD)
}

const RESTART = /\[\[restart\]\]\n.*\n.*\n/

function restart(policy: string, group: string): string {
  return `[[restart]]\n  policy = "${policy}"\n  processes = ["${group}"]\n`
}

const TRAPS: Readonly<Record<string, readonly [check: string, found: RegExp, ...changes: Change[]]>> = {
  'too little time to drain': [
    'fly_stop',
    /kill_timeout in fly\.toml is 30 s, and a drain may take 30 s/,
    ['kill_timeout = 45', 'kill_timeout = "30s"'],
  ],
  'the default time to drain': [
    'fly_stop',
    /kill_timeout is not in fly\.toml and so 5 s/,
    ['kill_timeout = 45', ''],
  ],
  'a drain that [env] makes longer': [
    'fly_stop',
    /a drain may take 60 s/,
    ['[env]', '[env]\n  SHUTDOWN_TIMEOUT_SECONDS = "60"'],
  ],
  'more time than Fly.io gives': [
    'fly_stop',
    /kill_timeout in fly\.toml is 360 s: Fly\.io takes 300 s at most/,
    ['kill_timeout = 45', 'kill_timeout = "6m"'],
    ['"5m"', '"10m"'],
  ],
  'a deploy that gives up during a drain': [
    'fly_stop',
    /wait_timeout in fly\.toml is 60 s: a deploy gives up/,
    ['wait_timeout = "5m"', 'wait_timeout = "1m"'],
  ],
  'a deploy that by default gives up during a drain': [
    'fly_stop',
    /wait_timeout in fly\.toml is 300 s/,
    ['wait_timeout = "5m"', ''],
    ['kill_timeout = 45', 'kill_timeout = 280'],
  ],
  'a signal that does not drain': [
    'fly_stop',
    /kill_signal in fly\.toml is SIGKILL/,
    ['"SIGTERM"', '"SIGKILL"'],
  ],
  'npm in front of the worker': [
    'fly_process',
    /worker is "npx tidemark start".* gets the signal/,
    [/worker = ".*"/, 'worker = "npx tidemark start"'],
  ],
  'no check': ['fly_checks', /fly\.toml has no check for worker/, [/\[checks\][^]*?\n\n/, '']],
  'a check of another group': [
    'fly_checks',
    /fly\.toml has no check for worker/,
    [/grace_period = "10s"\n +processes = \["worker"\]/, 'processes = ["web"]'],
    ['[processes]\n', '[processes]\n  web = "node web.js"\n'],
  ],
  'a check that speaks of the whole cluster': [
    'fly_checks',
    /asks \/health, which speaks of the whole cluster/,
    ['"/ready"', '"/health"'],
  ],
  'a check that says nothing': [
    'fly_checks',
    /asks only whether port 8080 is open/,
    [/ +method = "get"\n +path = "\/ready"\n/, ''],
  ],
  'a check at another port': [
    'fly_checks',
    /asks \/ready at port 3000, and PORT is 8080/,
    ['port = 8080', 'port = 3000'],
  ],
  'a limit of restarts in a check': [
    'fly_checks',
    /restart_limit in a check .* does nothing/,
    ['method = "get"', 'method = "get"\n    restart_limit = 3'],
  ],
  'a worker that stays down': [
    'fly_restart',
    /\[\[restart\]\] for worker in fly\.toml is on-failure/,
    [RESTART, `${restart('on-failure', 'worker')}${restart('always', 'intake')}`],
  ],
  'a worker that stays down by default': [
    'fly_restart',
    /is not there, and so on-failure/,
    [RESTART, restart('always', 'intake')],
  ],
  'a worker that is stopped for want of visitors': [
    'fly_restart',
    /auto_stop_machines is stop for intake/,
    ['auto_stop_machines = "off"', 'auto_stop_machines = "stop"'],
  ],
  'volumes under blue-green': [
    'fly_deploy',
    /mounts the volume data, and a bluegreen deploy takes no volumes/,
    ['[processes]\n', '[mounts]\n  source = "data"\n  destination = "/data"\n[processes]\n'],
  ],
  'every machine at once': [
    'fly_deploy',
    /strategy in fly\.toml is immediate/,
    ['"bluegreen"', '"immediate"'],
  ],
  'a setting of another strategy': [
    'fly_deploy',
    /max_unavailable in fly\.toml is for strategy rolling alone/,
    ['[deploy]', '[deploy]\n  max_unavailable = 1'],
  ],
  'nobody who migrates': [
    'fly_migrations',
    /RUN_MIGRATIONS is 0 in fly\.toml and there is no release_command/,
    [/ +release_command.*\n/, ''],
  ],
  'a release command that is ended in the middle of a migration': [
    'fly_migrations',
    /is ended after 300 s, and a wait for the lock and one statement of a migration may take 630 s/,
    ['[env]', '[env]\n  MIGRATION_STATEMENT_TIMEOUT_SECONDS = "600"'],
  ],
  'a release command that does something else': [
    'fly_migrations',
    /the release_command is "node bin\/tidemark\.js verify"/,
    ['tidemark.js migrate', 'tidemark.js verify'],
  ],
  'a secret in the file': [
    'fly_env',
    /\[env\] of fly\.toml has ADMIN_TOKEN: whoever reads the repository has it/,
    ['[env]', '[env]\n  ADMIN_TOKEN = "4c1d8e07b2a95f36"'],
  ],
  'a setting that cannot be used': [
    'fly_env',
    /\[env\] of fly\.toml: DRAIN_TIMEOUT_SECONDS is "soon", and the machine would not start/,
    ['[env]', '[env]\n  DRAIN_TIMEOUT_SECONDS = "soon"'],
  ],
  'a host that no check reaches': [
    'fly_env',
    /has HOST=127\.0\.0\.1: no check of Fly\.io reaches the machine/,
    ['[env]', '[env]\n  HOST = "127.0.0.1"'],
  ],
  'a dashboard that everybody sees': [
    'fly_env',
    /has DASHBOARD=public/,
    ['[env]', '[env]\n  DASHBOARD = "public"'],
  ],
  'a service at another port': [
    'fly_ports',
    /internal_port in fly\.toml is 3000, and Tidemark listens on 8080/,
    ['internal_port = 8080', 'internal_port = 3000'],
  ],
  'metrics at another place': [
    'fly_ports',
    /asks \/stats at port 9091, and metrics are at \/metrics on 9091/,
    ['path = "/metrics"', 'path = "/stats"'],
  ],
}

describe('fly.toml', () => {
  test('of this project is right', async () => {
    for (const name of FLY_CHECKS) await isSilent(name, { fly: GOOD, dockerfile: DOCKERFILE })
  })

  for (const [what, [check, found, ...changes]] of Object.entries(TRAPS)) {
    test(what, async () => {
      await finds(check, found, { fly: changed(...changes) })
    })
  }

  test('a remedy for the time to drain holds, however long the drain is', async () => {
    for (const shutdown of [29, 44, 200, 285]) {
      const long: Change = ['[env]', `[env]\n  SHUTDOWN_TIMEOUT_SECONDS = "${shutdown}"`]
      const short: Change = ['kill_timeout = 45', 'kill_timeout = 10']
      const { remedy } = await finds('fly_stop', /it is cut off/, { fly: changed(long, short) })
      assert.match(remedy, /^kill_timeout = \d+$/)
      await isSilent('fly_stop', { fly: changed(long, ['kill_timeout = 45', remedy], ['"5m"', '"10m"']) })
    }
  })

  test('a Dockerfile that puts something in front of the worker', async () => {
    const ofImage = changed([/\[processes\][^]*?\n\n/, ''], [/ +processes = \["worker"\]\n/g, ''])
    const with_ = (line: string) => ({ fly: ofImage, dockerfile: `${DOCKERFILE}\n${line}\n` })
    await isSilent('fly_process', with_(''))
    await finds(
      'fly_process',
      /CMD of the Dockerfile .* runs it through a shell/,
      with_('CMD node bin/tidemark.js start'),
    )
    await finds('fly_process', /CMD of the Dockerfile .* runs npm in front/, with_('CMD ["npm", "start"]'))
    await finds(
      'fly_process',
      /ENTRYPOINT of the Dockerfile .* runs \/bin\/sh in front/,
      with_('ENTRYPOINT ["/bin/sh", "-c"]'),
    )
    // The command of a group stands in its place.
    await isSilent('fly_process', { fly: GOOD, dockerfile: `${DOCKERFILE}\nCMD npm start\n` })
  })

  test('that is no TOML is told with its line; the other checks of it could not run', async () => {
    const fly = changed(['kill_timeout = 45', 'kill_timeout = = 45'])
    const line = fly.split('\n').findIndex((text) => text.includes('= =')) + 1
    await finds('fly_file', new RegExp(`^fly\\.toml cannot be read at line ${line}, column \\d+: `), { fly })
    const { status, why, is_optional: optional } = await examined('fly_stop', { fly })
    assert.deepEqual([status, why, optional], ['not_run', 'fly.toml cannot be read (see fly_file)', false])
  })

  test('that is not there keeps its checks from running, which is no alarm', async () => {
    for (const name of FLY_CHECKS) {
      const { status, why, is_optional: optional } = await examined(name)
      assert.deepEqual([status, why, optional], ['not_run', 'there is no fly.toml', true])
    }
  })
})
