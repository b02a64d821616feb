import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { SpanStatusCode, trace } from '@opentelemetry/api'
import { readSettings } from '../../src/config/settings.ts'
import type { TidemarkConfig } from '../../src/config/types.ts'
import { createRunner } from '../../src/runner.ts'
import { readTrace } from '../../src/tables/trace.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { tidemark } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { programEnv } from '../support/programWay.ts'
import { receiver } from '../support/receiver.ts'
import type { Scope } from '../support/scope.ts'
import { family, keepSpans } from '../support/spans.ts'
import { until } from '../support/until.ts'

const TOKEN = 'a-token-of-more-than-16'

/** A whole instance in this process, where an SDK listens. */
async function listened(t: Scope, configOf: (url: string, secret: string) => TidemarkConfig) {
  const spans = keepSpans(t)
  const database = await createDatabase(t)
  const target = await receiver(t)
  const runner = createRunner(configOf(target.url, target.secret), {
    settings: readSettings({
      ...programEnv(database.url),
      PORT: '0',
      HOST: '127.0.0.1',
      INTAKE_TOKEN: TOKEN,
    }),
    identity: { instanceId: 'one', holder: randomUUID() },
    log: createLog({ service: 'test', instanceId: 'one', level: 'critical' }),
  })
  t.after(() => runner.stop())
  await runner.start()
  const traceId = randomBytes(16).toString('hex')
  const callerId = randomBytes(8).toString('hex')
  return {
    spans,
    database,
    target,
    traceId,
    callerId,
    send: async (source: string, id: string): Promise<Response> => {
      const answer = await fetch(`${runner.address ?? ''}/inbox/${source}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${TOKEN}`,
          'content-type': 'application/json',
          traceparent: `00-${traceId}-${callerId}-01`,
        },
        body: JSON.stringify({ message_id: id, payload: {} }),
      })
      assert.equal(answer.status, 202)
      return answer
    },
  }
}

test('a message sent with traceparent, processed and delivered is one trace, in the exporter, in SQL and at the command line', async (t) => {
  const { spans, database, target, traceId, callerId, send } = await listened(t, (url, secret) => ({
    intakes: { calls: {} },
    processors: { hook: { from: 'calls', deliver: { url, secret } } },
  }))
  let tries = 0
  target.react(() => ((tries += 1) === 1 ? 503 : 200))
  const answer = await send('calls', 'a')
  assert.equal(((await answer.json()) as { trace_id: string }).trace_id, traceId)
  await spans.named('process calls', ({ attributes }) => attributes['tidemark.outcome'] === 'done')

  const ours = spans.of(traceId)
  assert.deepEqual(family(ours), [
    'POST (CLIENT) of process calls',
    'POST (CLIENT) of process calls',
    'POST /inbox/:source (SERVER) of somebody else',
    'process calls (CONSUMER) of POST /inbox/:source',
    'process calls (CONSUMER) of POST /inbox/:source',
  ])
  const [server] = ours.filter(({ name }) => name.startsWith('POST /inbox'))
  assert.equal(server?.parentSpanContext?.spanId, callerId)
  assert.equal(server.attributes['http.response.status_code'], 202)
  const requests = ours.filter(({ name }) => name === 'POST')
  assert.deepEqual(
    requests.map(({ attributes, status }) => [attributes['http.response.status_code'], status.code]),
    [
      [503, SpanStatusCode.ERROR],
      [200, SpanStatusCode.UNSET],
    ],
  )
  assert.deepEqual(
    target.arrivals.map(({ headers }) => headers['traceparent']),
    requests.map((span) => `00-${traceId}-${span.spanContext().spanId}-01`),
  )
  // The claim brought other messages as well, perhaps: it links to what each came with.
  const claim = await spans.named('claim calls')
  assert.deepEqual(
    claim.links.map((link) => link.context.spanId),
    [server.spanContext().spanId],
  )

  const story = await readTrace(database.pool(), traceId)
  assert.deepEqual(
    story.map(({ what, who }) => `${what}, ${who ?? '-'}`),
    ['taken in, -', 'failed, one', 'delivered, one'],
  )
  assert.match(
    story[1]?.detail ?? '',
    /^attempt 1 of 10, after \d+ ms: DeliveryFailed: 503 from http:\/\/127\.0\.0\.1:\d+$/,
  )
  assert.match(story[2]?.detail ?? '', /^by hook, to http:\/\/127\.0\.0\.1:\d+, attempt 2 of 10$/)
  const { code, stdout } = await tidemark(['trace', traceId, '--json'], {
    env: { DATABASE_URL: database.url },
  })
  assert.equal(code, 0)
  assert.deepEqual((JSON.parse(stdout) as { traces: unknown }).traces, [{ trace_id: traceId, story }])
})

test('a handler runs within its span: what it makes, sends and calls is of its trace', async (t) => {
  const heard: string[] = []
  const { spans, database, traceId, send } = await listened(t, () => ({
    intakes: { calls: {} },
    processors: {
      reader: {
        from: 'calls',
        contract: 'transactional',
        async handle({ messageId }, context) {
          heard.push(context.traceHeaders()['traceparent'] ?? '')
          trace.getTracer('user').startSpan('their own').end()
          if (heard.length === 1) throw new RangeError('too far')
          await context.send('mail', { messageId })
        },
      },
    },
    jobs: {
      mail: {
        handle(_job, context) {
          heard.push(context.traceHeaders()['traceparent'] ?? '', context.traceId)
        },
      },
    },
  }))
  await send('calls', 'a')
  const job = await spans.named('job mail')
  await spans.named('process job.mail')
  const ours = spans.of(traceId)
  for (const line of [
    'POST /inbox/:source (SERVER) of somebody else',
    'process calls (CONSUMER) of POST /inbox/:source',
    'their own (INTERNAL) of process calls',
    // pg-boss's own, between the handler that sent the job and the job.
    'send job.mail (PRODUCER) of process calls',
    'process job.mail (CONSUMER) of send job.mail',
    'job mail (INTERNAL) of process job.mail',
  ])
    assert.ok(family(ours).includes(line), `${line}: ${family(ours).join('; ')}`)
  const [failed] = ours.filter(({ name }) => name === 'process calls')
  assert.equal(failed?.status.code, SpanStatusCode.ERROR)
  assert.equal(failed.attributes['error.type'], 'RangeError')
  assert.deepEqual(heard.slice(2), [`00-${traceId}-${job.spanContext().spanId}-01`, traceId])
  assert.deepEqual(
    heard.slice(0, 2),
    ours
      .filter(({ name }) => name === 'process calls')
      .map((span) => `00-${traceId}-${span.spanContext().spanId}-01`),
  )
  const told = await until('the whole story', async () => {
    const lines = (await readTrace(database.pool(), traceId)).map(({ what }) => what)
    return lines.includes('job done') && lines
  })
  assert.deepEqual(told.toSorted(), ['done', 'failed', 'job done', 'job sent', 'job started', 'taken in'])
})

test('a batch, and messages of a poller, begin traces of their own, and passes do; a row that says what span wrote it goes on with that', async (t) => {
  const spans = keepSpans(t)
  const [traceId, writerId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')]
  const database = await createDatabase(t)
  await database.pool()
    .query(`CREATE TABLE arrival (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO arrival VALUES (1), (2);
    CREATE TABLE written (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), parent text);
    INSERT INTO written (id, parent) VALUES (1, '00-${traceId}-${writerId}-01')`)
  const runner = createRunner(
    {
      pollers: {
        arrivals: { source: { table: 'arrival', id: 'id', createdAt: 'at' }, every: '1s' },
        written: { source: { table: 'written', id: 'id', createdAt: 'at', traceId: 'parent' }, every: '1s' },
      },
      processors: {
        reader: { from: 'arrivals', contract: 'external', handleBatch: () => undefined },
        single: { from: 'written', contract: 'external', handle: () => undefined },
      },
    },
    {
      settings: readSettings({ ...programEnv(database.url), PORT: '0', HOST: '127.0.0.1' }),
      identity: { instanceId: 'one', holder: randomUUID() },
      log: createLog({ service: 'test', instanceId: 'one', level: 'critical' }),
    },
  )
  t.after(() => runner.stop())
  await runner.start()
  const pass = await spans.named(
    'pass arrivals',
    ({ attributes }) => attributes['tidemark.rows_inserted'] === 2,
  )
  assert.equal(pass.parentSpanContext, undefined)
  assert.equal(pass.attributes['tidemark.outcome'], 'completed')
  const batch = await spans.named('process arrivals')
  assert.deepEqual(
    [batch.parentSpanContext, batch.attributes['messaging.batch.message_count']],
    [undefined, 2],
  )
  const one = await spans.named('process written')
  assert.deepEqual(
    [one.spanContext().traceId, one.parentSpanContext?.spanId, one.attributes['tidemark.trace_id']],
    [traceId, writerId, traceId],
  )
})
