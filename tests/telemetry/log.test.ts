import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { createLog, handlerLog, type LogOptions } from '../../src/telemetry/log.ts'
import { createSampler } from '../../src/telemetry/sampler.ts'
import { keptLines } from './lines.ts'

function logTo(options: Partial<LogOptions> = {}) {
  const lines = keptLines()
  return { lines, log: createLog({ service: 'orders', instanceId: 'fra-1a2b3c', sink: lines, ...options }) }
}

const ready = { address: 'http://127.0.0.1:8080', since_start_ms: 12 }

describe('what others wrote, in a log line', () => {
  test('obeys nobody in the terminal that shows it, and is one line', () => {
    const { log, lines } = logTo({ format: 'pretty' })
    log.event('ready', 'a\u001b[31mb\u202ec\nd\u2028e', ready)
    assert.equal(lines.text.join(''), '[-] [-] INFO a\ufffd[31mb\ufffdc\ufffdd\ufffde\n')
  })

  test('ends no line, for those either who take more than a line feed for an end', async () => {
    const program = `
      import { createLog } from ${JSON.stringify(import.meta.resolve('../../src/telemetry/log.ts'))}
      createLog({ service: 's', instanceId: 'i' }).event('ready', 'a\\u2028b\\u2029c', { address: '\\u2028', since_start_ms: 1 })`
    const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program])
    assert.doesNotMatch(stderr.trimEnd(), /[\n\u2028\u2029]/)
    const line = JSON.parse(stderr) as { msg: string; address: string }
    assert.deepEqual([line.msg, line.address], ['a\u2028b\u2029c', '\u2028'])
  })
})

describe('a log line', () => {
  test('is one JSON object with time, level, event, msg, service, instance and its fields', () => {
    const { log, lines } = logTo()
    log.event('ready', 'ready at last', { ...ready, trace_id: 't-1' })
    const [line = {}] = lines.json
    assert.equal(lines.text[0]?.endsWith('\n'), true)
    assert.match(String(line['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    delete line['time']
    assert.deepEqual(line, {
      level: 'info',
      service: 'orders',
      instance_id: 'fra-1a2b3c',
      event: 'ready',
      msg: 'ready at last',
      trace_id: 't-1',
      ...ready,
    })
  })

  test('of a critical event begins its message with CRITICAL:, once', () => {
    const { log, lines } = logTo()
    log.event('table_missing', 'the inbox is gone', { table: 'a', command: 'b' })
    log.event('table_missing', 'CRITICAL: the inbox is gone', { table: 'a', command: 'b' })
    assert.deepEqual(
      lines.json.map(({ level, msg }) => [level, msg]),
      [
        ['critical', 'CRITICAL: the inbox is gone'],
        ['critical', 'CRITICAL: the inbox is gone'],
      ],
    )
  })

  test('below the level is not written', () => {
    const { log, lines } = logTo({ level: 'critical' })
    log.event('ready', 'ready', ready)
    log.event('table_missing', 'gone', { table: 'a', command: 'b' })
    assert.deepEqual(
      lines.json.map(({ event }) => event),
      ['table_missing'],
    )
  })

  test('of a child carries its bindings, and those of its parent', () => {
    const { log, lines } = logTo()
    log.child({ trace_id: 't' }).child({ request_id: 'r' }).event('ready', 'ready', ready)
    assert.deepEqual([lines.json[0]?.['trace_id'], lines.json[0]?.['request_id']], ['t', 'r'])
  })

  test('in the pretty form is [trace] [request] LEVEL message', () => {
    const { log, lines } = logTo({ format: 'pretty' })
    log.event('ready', 'ready', { ...ready, trace_id: 't', request_id: 'r' })
    log.event('database_lost', 'lost', { class: 'connection' })
    assert.deepEqual(lines.text, ['[t] [r] INFO ready\n', '[-] [-] ERROR lost\n'])
  })
})

describe('the log of a handler', () => {
  test('writes handler_log at the level that was called, with task, trace and fields apart', () => {
    const { log, lines } = logTo({ level: 'debug' })
    const handler = handlerLog(log, { task: 'billing', trace_id: 't', message_id: 'm' })
    handler.debug('a')
    handler.warn('b', { level: 'mine', event: 'mine too' })
    assert.deepEqual(
      lines.json.map(({ level, event, task, trace_id, message_id, fields, msg }) => ({
        level,
        event,
        task,
        trace_id,
        message_id,
        fields,
        msg,
      })),
      [
        {
          level: 'debug',
          event: 'handler_log',
          task: 'billing',
          trace_id: 't',
          message_id: 'm',
          fields: undefined,
          msg: 'a',
        },
        {
          level: 'warn',
          event: 'handler_log',
          task: 'billing',
          trace_id: 't',
          message_id: 'm',
          fields: { level: 'mine', event: 'mine too' },
          msg: 'b',
        },
      ],
    )
  })

  test('hides redacted names at every depth, connection strings everywhere, and survives strange values', () => {
    const { log, lines } = logTo({ redact: ['patientName'] })
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    handlerLog(log, { task: 'billing' }).info('at postgres://me:pw@db/x', {
      patient_name: 'Ada',
      rows: [{ PatientName: 'Ada', apiKey: 'k', big: 10n }],
      note: 'see postgres://me:pw@db/x',
      error: new TypeError('no'),
      circle,
    })
    const [text = ''] = lines.text
    assert.doesNotMatch(text, /Ada|pw|"k"/)
    const { fields, msg } = lines.json[0] as { fields: Record<string, unknown>; msg: string }
    assert.equal(msg, 'at [connection string]')
    assert.deepEqual(fields['rows'], [{ PatientName: '[redacted]', apiKey: '[redacted]', big: '10' }])
    assert.deepEqual(fields['error'], { class: 'TypeError', text: 'no' })
  })
})

describe('per-message lines', () => {
  test('are thinned out above the limit, and the next line says how many were left out', () => {
    let now = 0
    const sampler = createSampler(() => now, 2)
    const admitted = [1, 2, 3, 4].map(() => sampler.admit('message_done'))
    assert.deepEqual(admitted, [0, 0, null, null])
    assert.equal(sampler.admit('message_picked'), 0, 'each event has a budget of its own')
    now = 1000
    assert.deepEqual([sampler.admit('message_done'), sampler.admit('message_done')], [2, 0])
  })

  test('never thin out what a person must see', () => {
    const sampler = createSampler(() => 0, 1)
    const all = [1, 2, 3].map(() => sampler.admit('message_dead'))
    assert.deepEqual(all, [0, 0, 0])
  })

  test('are all there at level debug', () => {
    const { log, lines } = logTo({ level: 'debug' })
    for (let i = 0; i < 200; i += 1) {
      log.event('message_done', 'done', { source: 's', message_id: String(i), duration_ms: 1 })
    }
    assert.equal(lines.text.length, 200)
  })
})

test('nothing that was logged is lost when the process exits at once, even into a slow pipe', async () => {
  const script = `
    import { createLog } from ${JSON.stringify(new URL('../../src/telemetry/log.ts', import.meta.url).href)}
    const log = createLog({ service: 's', instanceId: 'i' })
    for (let i = 0; i < 3000; i += 1) log.event('poll_failed', 'x'.repeat(100), { poller: 'p', class: String(i) })
    process.exit(3)`
  const failure = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    maxBuffer: 10_000_000,
  }).then(
    () => assert.fail('it exits with 3'),
    (error: unknown) => error as { code: number; stderr: string },
  )
  const lines = failure.stderr.trim().split('\n')
  assert.deepEqual([failure.code, lines.length], [3, 3000])
  assert.equal((JSON.parse(lines.at(-1) ?? '') as { class: string }).class, '2999')
})
