import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { readSettings } from '../../src/config/settings.ts'
import { readFly } from '../../src/doctor/fly/flyToml.ts'

/*
 * fly.toml as Fly.io takes it. Its published JSON schema is not ours to commit: the variable FLY_SCHEMA says where it lies.
 * It lets unknown keys through in most sections, so our own list of keys is looked at with and without it.
 */

const ROOT = join(import.meta.dirname, '../..')
const TEXT = readFileSync(join(ROOT, 'fly.toml'), 'utf8')
const SCHEMA = process.env['FLY_SCHEMA']

/** Keys that this fly.toml may have, by section, as flyctl spells them. `*`: a name that we give. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  '': [
    'app',
    'primary_region',
    'kill_signal',
    'kill_timeout',
    'build',
    'env',
    'deploy',
    'processes',
    'checks',
    'http_service',
    'metrics',
    'restart',
    'vm',
  ],
  build: ['dockerfile'],
  env: ['*'],
  deploy: ['strategy', 'release_command', 'wait_timeout'],
  processes: ['*'],
  checks: ['*'],
  'checks.*': ['type', 'port', 'method', 'path', 'interval', 'timeout', 'grace_period', 'processes'],
  http_service: [
    'internal_port',
    'force_https',
    'auto_stop_machines',
    'auto_start_machines',
    'processes',
    'concurrency',
    'checks',
  ],
  'http_service.concurrency': ['type', 'soft_limit', 'hard_limit'],
  'http_service.checks': ['method', 'path', 'interval', 'timeout', 'grace_period'],
  metrics: ['port', 'path', 'processes'],
  restart: ['policy', 'processes'],
  vm: ['size', 'memory', 'processes'],
}

/** Paths of keys that are in no list. */
function unknownKeys(value: unknown, section = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((one) => unknownKeys(one, section))
  if (typeof value !== 'object' || value === null) return []
  const known = KEYS[section] ?? []
  const within = (key: string): string => (section === '' ? key : `${section}.${key}`)
  return Object.entries(value).flatMap(([key, inner]) => {
    if (known.includes(key)) return unknownKeys(inner, within(key))
    return known.includes('*') ? unknownKeys(inner, within('*')) : [within(key)]
  })
}

/** What a schema says against a text, or null. */
function against(schema: z.ZodType, text: string): string | null {
  const { success, error } = schema.safeParse(parse(text))
  return success ? null : z.prettifyError(error)
}

function replaced(from: string, to: string): string {
  assert.ok(TEXT.includes(from), `${from} is in fly.toml`)
  return TEXT.replace(from, to)
}

describe('fly.toml', () => {
  test('is what Fly.io’s published schema asks for', (t) => {
    if (SCHEMA === undefined) {
      t.diagnostic('FLY_SCHEMA names no schema of Fly.io: only our own list of keys was looked at')
    } else {
      // A file of somebody else's: what it is, the converter finds out; it refuses what it cannot convert.
      const published = JSON.parse(readFileSync(SCHEMA, 'utf8')) as Parameters<typeof z.fromJSONSchema>[0]
      const schema = z.fromJSONSchema(published)
      assert.equal(against(schema, TEXT), null)
      // It judges: what Fly.io would refuse it refuses, in every form of section.
      for (const [from, to] of [
        ['"SIGTERM"', '"SIGNONE"'],
        ['kill_timeout = 45', 'kill_timeout = true'],
        ['"bluegreen"', '"bluegrean"'],
        ['[deploy]', '[deploy]\n  wait = "5m"'],
        ['internal_port = 8080', 'internal_port = "8080"'],
        ['type = "requests"', 'type = "request"'],
        ['hard_limit = 250', 'hard_limit = "250"'],
        ['auto_stop_machines = "off"', 'auto_stop_machines = "never"'],
        ['port = 9091', 'port = "ops"'],
        ['method = "GET"', 'method = 1'],
        ['"shared-cpu-1x"', '"shared-cpu-3x"'],
      ] as const)
        assert.notEqual(against(schema, replaced(from, to)), null, to)
    }
    assert.deepEqual(unknownKeys(parse(TEXT)), [])
  })

  test('our own list of keys knows a misspelt one, wherever it stands', () => {
    for (const [from, to, found] of [
      ['kill_signal', 'kill_signl', 'kill_signl'],
      ['wait_timeout', 'wait_time', 'deploy.wait_time'],
      ['grace_period', 'grace', 'checks.*.grace'],
      ['hard_limit', 'hardlimit', 'http_service.concurrency.hardlimit'],
      ['[[http_service.checks]]', '[[http_service.check]]', 'http_service.check'],
      ['policy =', 'polcy =', 'restart.polcy'],
    ] as const)
      assert.deepEqual(unknownKeys(parse(replaced(from, to))), [found])
  })

  test('gives a drain its time: each limit lies above the one within it', () => {
    const app = fly()
    const settings = readSettings({ DATABASE_URL: 'postgres://user@host/database', ...app.env })
    const [drainS, shutdownS] = [settings.drainTimeoutMs / 1000, settings.shutdownTimeoutMs / 1000]
    const { killTimeoutS, waitTimeoutS, killSignal } = app
    assert.ok(killTimeoutS !== null && waitTimeoutS !== null)
    assert.ok(shutdownS >= drainS + 10, 'clean-ups and the hand-over have 10 s after the work')
    assert.ok(
      killTimeoutS >= shutdownS + 15,
      'the machine is cut off 15 s after the process would have ended',
    )
    assert.ok(killTimeoutS <= 300, 'Fly.io takes no more')
    assert.ok(waitTimeoutS >= killTimeoutS + 30, 'a deploy waits longer than a machine takes to stop')
    assert.equal(killSignal, 'SIGTERM')
    assert.match(
      TEXT,
      new RegExp(`SHUTDOWN_TIMEOUT_SECONDS \\(${shutdownS}\\)`),
      'the comment names the limit',
    )
  })

  test('asks the ports that the settings open, and gives /ready longer than its database probe', () => {
    const app = fly()
    const { port, opsPort } = readSettings({ DATABASE_URL: 'postgres://user@host/database', ...app.env })
    const ready = app.checks.filter(({ path }) => path === '/ready')
    assert.deepEqual(
      ready.map((check) => [check.port, check.groups]),
      [
        [port, ['worker']],
        [port, ['intake']],
      ],
    )
    assert.deepEqual(app.metrics, [{ port: opsPort ?? port, path: '/metrics' }])
    assert.notEqual(opsPort, undefined, 'what operators see is on no public port')
    const timeouts = [...TEXT.matchAll(/ timeout = "(\d+)s"/g)].map(([, seconds]) => Number(seconds))
    assert.equal(timeouts.length, ready.length)
    for (const timeoutS of timeouts) assert.ok(timeoutS > 2, '/health and /ready answer within 2 s')
  })

  test('makes the intake public, with its limits, and no worker', () => {
    const { services, groups, restarts, releaseCommand, strategy } = fly()
    assert.deepEqual(services, [{ internalPort: 8080, groups: ['intake'], autoStop: null }])
    const { concurrency } = (parse(TEXT) as { http_service: { concurrency: object } }).http_service
    assert.deepEqual({ ...concurrency }, { type: 'requests', soft_limit: 200, hard_limit: 250 })
    assert.deepEqual(
      Object.entries(groups).map(([name, command]) => [name, command.split(' --only ')[1]]),
      [
        ['worker', 'pollers,processors,jobs'],
        ['intake', 'intake'],
      ],
    )
    assert.deepEqual(restarts, [{ policy: 'always', groups: ['worker', 'intake'] }])
    assert.deepEqual([releaseCommand, strategy], ['node bin/tidemark.js migrate', 'bluegreen'])
  })
})

function fly(): NonNullable<ReturnType<typeof readFly>> {
  const app = readFly(join(ROOT, 'fly.toml'), ROOT)
  assert.ok(app !== undefined)
  return app
}
