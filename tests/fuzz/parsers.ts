import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { conditionFault } from '../../src/config/condition.ts'
import { parseDuration } from '../../src/config/durations.ts'
import { CRON_FORM, cronFault, longestWaitMs, RRULE_FORM, rruleFault } from '../../src/config/recurrence.ts'
import { ENVIRONMENT, readSettings } from '../../src/config/settings.ts'
import { resolveConfig } from '../../src/config/validate.ts'
import { splitQualified } from '../../src/db/identifier.ts'
import { FlyTomlInvalid, readFly } from '../../src/doctor/fly/flyToml.ts'
import { ConfigInvalid, IdentifierInvalid, SettingsInvalid } from '../../src/errors.ts'
import { ownPath } from '../../src/http/dashboard/access.ts'
import { readMessagesQuery, timeOf } from '../../src/http/dashboard/query.ts'
import { createSessions } from '../../src/http/dashboard/session.ts'
import { callerAt } from '../../src/http/caller.ts'
import { bearerOf } from '../../src/http/guard.ts'
import { IntakeFault } from '../../src/http/intakeFault.ts'
import { parseMessages } from '../../src/http/intakeMessages.ts'
import { retryAfterMs } from '../../src/process/deliver/retryAfter.ts'
import { cleanError, cleanText } from '../../src/telemetry/errorText.ts'
import { acceptTraceId, parseTraceparent } from '../../src/telemetry/trace.ts'
import type { AnyProperty, Target } from './target.ts'
import { SLOW_MS } from './target.ts'
import { anyText, textLike } from './texts.ts'
import { CRON, DURATIONS, leaf, RIGHT, RULES, shaken } from './configs.ts'

type Kind = abstract new (...args: never[]) => Error

/** Whatever it is given, `read` answers soon, and throws nothing but what it says. */
function reads<T>(
  values: fc.Arbitrary<T>,
  read: (value: T) => unknown,
  ...throws: readonly Kind[]
): AnyProperty {
  const timed = (value: T): number => {
    const startedAt = performance.now()
    try {
      read(value)
    } catch (error) {
      if (!throws.some((kind) => error instanceof kind)) throw error
    }
    return performance.now() - startedAt
  }
  return fc.property(values, (value) => {
    // Whoever shares the machine may have been in the way once.
    if (timed(value) > SLOW_MS) assert.ok(timed(value) <= SLOW_MS, `it takes longer than ${SLOW_MS} ms`)
  })
}

function parser(name: string, what: string, property: () => AnyProperty): Target {
  return { name, what, open: () => Promise.resolve({ property: property() }) }
}

const SETTING_SAMPLES = [
  '8080',
  '30',
  '0.5',
  '1',
  'true',
  'debug',
  'json',
  'token',
  'a-token-of-more-than-16',
  'https://shop.example, http://localhost:3000',
  '*',
  'postgres://app:secret@db.internal:5432/shop?sslmode=require',
  'postgres:///shop?host=/run/postgresql',
  'registry.fly.io/app:deployment-01H@sha256:00',
]

const settings = parser('settings', 'the environment', () => {
  const name = fc.oneof(
    fc.constantFrom(...Object.keys(ENVIRONMENT.shape), 'ORDERS_INTERVAL_SECONDS', '__proto__'),
    anyText(),
  )
  const entries = fc.array(fc.tuple(name, textLike(...SETTING_SAMPLES)), { maxLength: 12 })
  return reads(entries, (given) => readSettings(Object.fromEntries(given)), SettingsInvalid)
})

const config = parser(
  'config',
  'a config file: names, columns, conditions, durations, zones, schedules',
  () =>
    reads(
      fc.oneof({ arbitrary: shaken(RIGHT), weight: 9 }, { arbitrary: leaf(), weight: 1 }),
      (given) => resolveConfig(given),
      ConfigInvalid,
    ),
)

const HEADERS = [
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  'Bearer a-token-of-more-than-16',
  'Thu, 26 Nov 2026 12:00:30 GMT',
  'Thu Nov  5 12:00:30 2026',
  '120',
  '2001:db8::1%eth0',
  '::ffff:203.0.113.7',
  '/messages?status=DEAD',
  '2026-03-01T08:00:00.123+15:59',
  'bmFtZQ.c2ln',
  'eyJuYW1lIjoiQW5uIn0.AAAA',
]

const headers = parser(
  'headers',
  'traces, Authorization, Retry-After, addresses, cookies, queries, paths to go on to',
  () => {
    const sessions = createSessions('a-token-of-more-than-16', () => 0)
    const own = [...HEADERS, sessions.open('Ann'), sessions.sign('{"text":"x"}')]
    return reads(fc.tuple(textLike(...own), textLike(...own)), ([one, other]) => {
      const parent = parseTraceparent(one)
      assert.ok(parent === undefined || /^[0-9a-f]{32}$/.test(parent.traceId))
      assert.ok(acceptTraceId(one)?.length !== 0)
      const waitMs = retryAfterMs(one, other)
      assert.ok(waitMs === undefined || (waitMs >= 0 && waitMs <= 86_400_000))
      assert.ok(bearerOf(one) !== '')
      assert.ok(callerAt(one).place.length < 60)
      assert.match(ownPath(one), /^\/(?![/\\])/)
      const session = sessions.read(one)
      assert.ok(session === undefined || session.name === 'Ann')
      sessions.unsign(one)
      timeOf(one)
      const query = new URLSearchParams({ q: one, since: one, until: other, below: one, status: other })
      readMessagesQuery(`http://a/messages?${query.toString()}`)
    })
  },
)

const TEXTS = [
  'connect failed: postgres://app:hunter2@db.internal/shop at /srv/app/index.js:3:4',
  "password='x' token=abc secret: y",
  'Unexpected token a in JSON at position 1',
  'invalid input syntax for type integer: "4111"',
  'shop.orders',
  '"odd.schema"."say ""hi"""',
  "state <> 'draft' AND (a = $$b$$ OR c[1] = E'\\'')",
]

const texts = parser(
  'texts',
  'cron, recurrence rules, durations, conditions, names of tables, errors of others',
  () =>
    reads(
      fc.tuple(
        textLike(...CRON),
        textLike(...RULES),
        fc.oneof(textLike(...DURATIONS), fc.anything()),
        textLike(...TEXTS),
      ),
      ([cron, rule, duration, text]) => {
        if (CRON_FORM.test(cron) && cronFault(cron) === undefined) {
          const waitMs = longestWaitMs(cron)
          assert.ok(waitMs >= 0 && Number.isFinite(waitMs), `${waitMs} ms`)
        }
        if (RRULE_FORM.test(rule)) rruleFault(rule)
        const ms = parseDuration(duration)
        assert.ok(ms === undefined || ms >= 0)
        conditionFault(text)
        cleanText(text)
        assert.ok(cleanError(new Error(text)).text.length <= 200)
        assert.ok(cleanError(text).text.length <= 200)
        try {
          splitQualified(text)
        } catch (error) {
          assert.ok(error instanceof IdentifierInvalid)
        }
      },
    ),
)

const MESSAGES = [
  '{"message_id":"a","group_key":"k","payload":{"n":1.10,"list":[1e2,true,null,"\\u00e9"]}}',
  '[{"message_id":"a","payload":1},{"message_id":"b","payload":"x"}]',
  `[{"message_id":"a","payload":${'['.repeat(63)}${']'.repeat(63)}}]`,
]

const bodies = parser('bodies', 'what is sent to /inbox', () =>
  reads(
    fc.oneof(
      textLike(...MESSAGES),
      fc.json({ maxDepth: 6 }),
      fc.json().map((json) => `{"message_id":"a","payload":${json}}`),
    ),
    parseMessages,
    IntakeFault,
  ),
)

const TOML = `app = "orders"
kill_signal = "SIGTERM"
kill_timeout = "40s"
[env]
DRAIN_TIMEOUT_SECONDS = "20"
[deploy]
strategy = "bluegreen"
release_command = "npx tidemark migrate"
[processes]
app = "start"
[http_service]
internal_port = 8080
auto_stop_machines = "off"
[[http_service.checks]]
path = "/ready"
[checks.alive]
type = "http"
port = 8080
[[restart]]
policy = "always"
[[mounts]]
source = "data"
[[metrics]]
port = 9091
path = "/metrics"
`

const fly: Target = {
  name: 'fly',
  what: 'fly.toml',
  open(scope) {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-fuzz-'))
    scope.after(() => rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, 'fly.toml')
    const values = fc.oneof(
      textLike(TOML),
      // One value of each line replaced by another.
      fc
        .tuple(
          fc.integer({ min: 0, max: 22 }),
          fc.constantFrom('[]', '{}', '1', '-1.5', 'true', '"x"', '[[1]]', '1979-05-27'),
        )
        .map(([at, value]) =>
          TOML.split('\n')
            .map((line, n) => (n === at ? line.replace(/=.*/, `= ${value}`) : line))
            .join('\n'),
        ),
    )
    const read = (text: string): void => {
      writeFileSync(file, text)
      readFly(file, folder)
    }
    return Promise.resolve({ property: reads(values, read, FlyTomlInvalid) })
  },
}

export const PARSERS: readonly Target[] = [settings, config, texts, headers, bodies, fly]
