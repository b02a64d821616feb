import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Client } from 'pg'
import { claimMessages } from '../../src/tables/inbox.ts'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { tidemark, type Outcome } from './tidemark.ts'

/**
 * One message of each kind, in order of their numbers 1 to 8. Nothing fresh is open at or below the low-water mark. The
 * owner of the one in work has no record, and it counts as stuck 30 s after its claim, which is not yet.
 */
const MESSAGES = `
  INSERT INTO service_ops.integration_inbox
         (source, message_id, status, attempts, claim, locked_by, locked_at, next_attempt_at, processed_at, last_error, trace_id, payload, created_at)
  VALUES ('orders', 'new',        'NEW',        0, 0, NULL, NULL,  NULL,  NULL,  NULL, 't-new', '{}', now()),
         ('orders', 'processing', 'PROCESSING', 1, 1, 'me', now() + interval '1 hour', NULL, NULL, NULL, 't-2', '{}', now()),
         ('orders', 'done',       'DONE',       1, 1, NULL, NULL,  NULL,  now(), NULL, 't-3', '{}', now()),
         ('orders', 'failed',     'FAILED',     1, 1, NULL, NULL,  now() + interval '1 hour', NULL, 'RangeError: too far', 't-4', '{}', now()),
         ('visits', 'dead',       'DEAD',      10, 10, NULL, NULL, 'infinity', NULL, 'DatabaseError: [23505] there already', 't-5',
          '{"big": 12345678901234567890.5}', now() - interval '3 hours'),
         ('visits', 'discarded',  'DISCARDED',  0, 0, NULL, NULL,  NULL,  now(), NULL, 't-6', '{}', now()),
         ('visits', 'unread',     'DEAD',       0, 0, NULL, NULL,  'infinity', NULL, 'DatabaseError: [22P02] no JSON', 't-7', NULL, now()),
         ('visits', E'odd\\u001b[31m\\u202e', 'DONE',  1, 1, NULL, NULL,  NULL,  now(), NULL, 't-8', '{}', now())`

const CHANGED = `SELECT inbox_id::int AS id, status, attempts, last_error, next_attempt_at <= now() AS due, processed_at IS NOT NULL AS finished,
                        locked_by IS NULL AND locked_at IS NULL AS free
                   FROM service_ops.integration_inbox WHERE updated_at > created_at AND inbox_id <> 2 ORDER BY inbox_id`

async function inbox(scope: Scope) {
  const database = await createDatabase(scope)
  const client = await database.client()
  await client.query(MESSAGES)
  // As rows that nothing has touched yet: a change shows.
  await client.query('UPDATE service_ops.integration_inbox SET updated_at = created_at')
  const run = (...args: string[]): Promise<Outcome> =>
    tidemark(['inbox', ...args], { env: { DATABASE_URL: database.url } })
  const listed = async (...args: string[]): Promise<number[]> =>
    (JSON.parse((await run('list', '--json', ...args)).stdout) as { inbox_id: number }[]).map(
      ({ inbox_id: id }) => id,
    )
  const changed = async () => (await client.query<Record<string, unknown>>(CHANGED)).rows
  return { client, anotherClient: () => database.client(), pool: () => database.pool(), run, listed, changed }
}

async function assertInvariants(client: Client): Promise<void> {
  const { rows } = await client.query('SELECT name, detail FROM service_ops.verify() WHERE ok IS NOT TRUE')
  assert.deepEqual(rows, [])
}

describe('inbox list', () => {
  test('shows the newest first, a page at a time', async (t) => {
    const { run, listed } = await inbox(t)
    const { code, stdout, stderr } = await run('list', '--limit', '4')
    assert.deepEqual([code, stderr], [0, ''])
    const [head = '', ...rows] = stdout.trimEnd().split('\n')
    assert.match(head, /^id +source +message_id +status +attempts +age +error$/)
    assert.match(rows[0] ?? '', /^8 +visits +odd\uFFFD\[31m\uFFFD +DONE +1 of 10 +[\d.]+ m?s +-$/)
    assert.match(
      rows[3] ?? '',
      /^5 +visits +dead +DEAD +10 of 10 +3 h +DatabaseError: \[23505\] there already$/,
    )
    assert.equal(rows[4], '(4 shown; go on with --before 5)')
    assert.deepEqual(await listed('--before', '5'), [4, 3, 2, 1])
  })

  test('takes filters, together and in lists', async (t) => {
    const { listed } = await inbox(t)
    const cases: [args: string[], found: number[]][] = [
      [
        ['--status', 'dead'],
        [7, 5],
      ],
      [['--status', 'FAILED,DEAD', '--source', 'orders'], [4]],
      [
        ['--source', 'visits,nobody', '--status', 'DONE,DISCARDED'],
        [8, 6],
      ],
      [
        ['--id', '3,1'],
        [3, 1],
      ],
      [
        ['--id', '3', '--id', '1'],
        [3, 1],
      ],
      [['--status', 'dead', '--status', 'failed', '--source', 'orders', '--source', 'nobody'], [4]],
      [['--trace', 't-4'], [4]],
      [['--error', 'RangeError'], [4]],
      [
        ['--error', 'DatabaseError'],
        [7, 5],
      ],
      [['--error', '23505'], [5]],
      [['--since', '2h', '--status', 'DEAD'], [7]],
      [
        ['--since', new Date(Date.now() - 4 * 3_600_000).toISOString(), '--status', 'DEAD'],
        [7, 5],
      ],
    ]
    for (const [args, found] of cases) assert.deepEqual(await listed(...args), found, args.join(' '))
  })

  test('of nothing exits 1 and says so, and names a number that no message has', async (t) => {
    const { run } = await inbox(t)
    const none = await run('list', '--json', '--source', 'nobody')
    assert.deepEqual([none.code, none.stdout, none.stderr], [1, '[]\n', 'no message matches\n'])
    const unknown = await run('list', '--id', '1,99')
    assert.deepEqual([unknown.code, unknown.stderr], [1, 'there is no message 99\n'])
  })
})

describe('inbox show', () => {
  test('shows every column, and the payload only when asked, with its numbers exact', async (t) => {
    const { run, client } = await inbox(t)
    const { code, stdout } = await run('show', '--id', '5')
    assert.equal(code, 0)
    assert.match(stdout, /^inbox_id +5\nsource +visits\nmessage_id +dead\n/)
    assert.doesNotMatch(stdout, /12345678901234567890/)
    const { rows } = await client.query<{ name: string }>(
      `SELECT attname AS name FROM pg_attribute WHERE attrelid = 'service_ops.integration_inbox'::regclass AND attnum > 0 AND NOT attisdropped`,
    )
    const text = (await run('show', '--id', '5', '--json', '--payload')).stdout
    const [message] = JSON.parse(text) as Record<string, unknown>[]
    assert.deepEqual(
      Object.keys(message ?? {}).sort(),
      [...rows.map(({ name }) => name), 'message_attempts'].sort(),
    )
    assert.match(text, /"payload":\{"big": 12345678901234567890\.5\}/)
    assert.match(
      (await run('show', '--trace', 't-5', '--payload')).stdout,
      /payload +\{"big": 12345678901234567890\.5\}/,
    )
  })
})

describe('inbox show of messages by their numbers', () => {
  const ATTEMPTS = `INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, started_at, ended_at, instance_id, outcome, error)
    VALUES (5, 1, 1, '2026-03-04 05:06:07Z', '2026-03-04 05:06:07.25Z', 'one-a', 'failed', E'RangeError: too far\\u202e'),
           (5, 2, 2, NULL, '2026-03-04 05:06:09Z', 'one-b', 'dead', 'DatabaseError: [23505] there already')`

  test('shows the attempts of each, with what they failed with', async (t) => {
    const { run, client } = await inbox(t)
    await client.query(ATTEMPTS)
    const { code, stdout } = await run('show', '5', '4')
    assert.equal(code, 0)
    const [first = '', second = ''] = stdout.split(/(?=inbox_id)/)
    assert.match(first, /^inbox_id +5\n/)
    assert.deepEqual(
      first
        .trimEnd()
        .split('\n')
        .slice(-3)
        .map((line) => line.replace(/ {2,}/g, ' | ')),
      [
        'attempt | ended | instance | at | after | error',
        '1 | failed | one-a | 2026-03-04 05:06:07 UTC | 0.3 s | RangeError: too far\uFFFD',
        '2 | dead | one-b | 2026-03-04 05:06:09 UTC | not begun | DatabaseError: [23505] there already',
      ],
    )
    assert.match(second, /^inbox_id +4\n/)
    assert.doesNotMatch(second, /instance +at/)
    const [message] = JSON.parse((await run('show', '5', '--json')).stdout) as Record<string, unknown[]>[]
    assert.deepEqual(message?.['message_attempts']?.[1], {
      claim: 2,
      attempt: 2,
      instance_id: 'one-b',
      outcome: 'dead',
      error: 'DatabaseError: [23505] there already',
      started_at: null,
      ended_at: '2026-03-04T05:06:09.000000Z',
    })
    assert.deepEqual((await run('show', '5', '99', '--id', '4')).stderr, 'there is no message 99\n')
  })

  test('shows the rest where the attempts are gone, and says what brings them back', async (t) => {
    const { run, client } = await inbox(t)
    await client.query('DROP TABLE service_ops.message_attempt')
    const { code, stdout, stderr } = await run('show', '5')
    assert.deepEqual([code, stdout.slice(0, 8)], [0, 'inbox_id'])
    assert.match(stderr, /^their attempts could not be read: .*tidemark migrate --repair/)
    const [message] = JSON.parse((await run('show', '5', '--json')).stdout) as Record<string, unknown>[]
    assert.equal(message?.['message_attempts'], null)
  })
})

describe('inbox retry', () => {
  test('puts back what is DEAD, FAILED or DISCARDED, and says what it left alone and why', async (t) => {
    const { run, changed, client, pool } = await inbox(t)
    await client.query(`INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('visits', 8)`)
    const heard: (string | undefined)[] = []
    client.on('notification', ({ payload }) => heard.push(payload))
    await client.query('LISTEN tidemark_inbox')
    const { code, stdout } = await run('retry', '--all')
    assert.equal(code, 0)
    assert.deepEqual(stdout.trimEnd().split('\n').sort(), [
      '1 message left alone, NEW: waiting for its turn already',
      '1 message left alone, PROCESSING: in work',
      '1 message left alone: the source row could not be read, so the payload is null; name each with --id to run it all the same',
      '2 messages left alone, DONE: finished',
      '3 messages put back, to be processed now',
    ])
    const back = { status: 'NEW', attempts: 0, due: true, finished: false, free: true }
    assert.deepEqual(await changed(), [
      { id: 4, ...back, last_error: 'RangeError: too far' },
      { id: 5, ...back, last_error: 'DatabaseError: [23505] there already' },
      { id: 6, ...back, last_error: null },
    ])
    await until('both sources to be told', () => heard.length >= 2)
    assert.deepEqual(heard.sort(), ['orders', 'visits'])
    await assertInvariants(client)
    const request = {
      sources: ['visits'],
      instanceId: 'me',
      limit: 10,
      low: '8',
      maxAttempts: 3,
      maxBytes: 1e6,
    }
    const claimed = await claimMessages(pool(), request)
    assert.deepEqual(
      claimed.map(({ inbox_id: id, attempts }) => [id, attempts]),
      [
        ['5', 1],
        ['6', 1],
      ],
    )
  })

  test('runs a message without a payload only when it is named, and says that its payload is null', async (t) => {
    const { run, changed } = await inbox(t)
    const bySource = await run('retry', '--error', '22P02')
    assert.equal(bySource.code, 1)
    assert.match(
      bySource.stdout,
      /^0 messages put back.*\n1 message left alone: the source row could not be read/,
    )
    assert.deepEqual(await changed(), [])
    const { code, stdout } = await run('retry', '7')
    assert.equal(code, 0)
    assert.match(stdout, /^1 message put back.*\n1 of them without a payload: .*null/)
    assert.deepEqual(
      (await changed()).map(({ id, status }) => [id, status]),
      [[7, 'NEW']],
    )
  })

  test('goes in batches, the oldest first, and leaves alone what somebody else holds', async (t) => {
    const { run, client, anotherClient } = await inbox(t)
    await client.query(`
      INSERT INTO service_ops.integration_inbox (source, message_id, status, claim, attempts, next_attempt_at, last_error, trace_id, payload)
      SELECT 'many', i, 'DEAD', 10, 10, 'infinity', 'Error: no', 't', '{}' FROM generate_series(1, 2500) i`)
    // What a careful administrator may have set for the role must not stop it.
    await client.query(`DO $$ BEGIN
      EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
      EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
    const limited = await run('retry', '--source', 'many', '--limit', '1200')
    assert.equal(
      limited.stdout,
      '1200 messages put back, to be processed now\nmore match: 1200 is the --limit\n',
    )
    const { rows } = await client.query<{ n: number; last: number }>(
      `SELECT count(*)::int AS n, max(message_id::int) AS last FROM service_ops.integration_inbox WHERE source = 'many' AND status = 'NEW'`,
    )
    assert.deepEqual(rows, [{ n: 1200, last: 1200 }])

    const other = await anotherClient()
    await other.query('BEGIN READ WRITE')
    await other.query(
      `SELECT FROM service_ops.integration_inbox WHERE source = 'many' AND message_id = '2000' FOR UPDATE`,
    )
    const rest = await run('retry', '--source', 'many', '--status', 'DEAD')
    assert.equal(
      rest.stdout,
      '1299 messages put back, to be processed now\n1 message left alone: held by somebody else at that moment; run it again\n',
    )
    assert.equal(rest.code, 0)
    await other.query('ROLLBACK')
    assert.match((await run('retry', '--source', 'many', '--status', 'DEAD')).stdout, /^1 message put back/)
    await assertInvariants(client)
  })
})

describe('inbox discard', () => {
  test('gives up what is NEW, FAILED or DEAD, and never what is in work or finished', async (t) => {
    const { run, changed, client } = await inbox(t)
    const { code, stdout } = await run('discard', '--all')
    assert.equal(code, 0)
    assert.deepEqual(stdout.trimEnd().split('\n').sort(), [
      '1 message left alone, DISCARDED: discarded before',
      '1 message left alone, PROCESSING: in work',
      '2 messages left alone, DONE: finished',
      '4 messages discarded',
    ])
    const given = { status: 'DISCARDED', due: null, finished: true, free: true }
    assert.deepEqual(await changed(), [
      { id: 1, ...given, attempts: 0, last_error: null },
      { id: 4, ...given, attempts: 1, last_error: 'RangeError: too far' },
      { id: 5, ...given, attempts: 10, last_error: 'DatabaseError: [23505] there already' },
      { id: 7, ...given, attempts: 0, last_error: 'DatabaseError: [22P02] no JSON' },
    ])
    await assertInvariants(client)
    assert.match(
      (await run('retry', '--status', 'DISCARDED')).stdout,
      /^4 messages put back.*\n1 message left alone: the source row/,
    )
    await assertInvariants(client)
  })

  test('of a message that is in work changes nothing and exits 1, as a retry does', async (t) => {
    const { run, client } = await inbox(t)
    const row = async () =>
      (
        await client.query<Record<string, unknown>>(
          'SELECT * FROM service_ops.integration_inbox WHERE inbox_id = 2',
        )
      ).rows
    const before = await row()
    for (const verb of ['retry', 'discard']) {
      const { code, stdout } = await run(verb, '--id', '2')
      assert.equal(code, 1, verb)
      assert.match(stdout, /^0 messages .*\n1 message left alone, PROCESSING: in work\n$/)
    }
    assert.deepEqual(await row(), before)
  })
})

test('what names no message, or cannot be read, is refused with 64 before anything is done', async (t) => {
  const { run, changed } = await inbox(t)
  const cases: [args: string[], named: RegExp][] = [
    [[], /Usage: tidemark inbox/],
    [['frob'], /frob/],
    [['retry'], /say which messages.*--all/],
    [['discard', '--limit', '5'], /say which messages.*--all/],
    [['show'], /say which messages/],
    [['list', '--status', 'DEAD,GONE'], /GONE is none of NEW/],
    [['list', '--since', 'yesterday'], /--since.*2h/],
    [['list', '--since', '2026-01-01T00:00:00'], /zone/],
    [['list', '--since', '2026-02-31T00:00:00Z'], /zone.*7d/],
    [['list', '--limit', '0'], /--limit/],
    [['retry', '--id', '7;8'], /--id/],
    [['retry', '--id', ''], /--id.*empty/],
    [['retry', 'all'], /number/],
    [['list', '7'], /too many arguments/],
  ]
  for (const [args, named] of cases) {
    const { code, stdout, stderr } = await run(...args)
    assert.deepEqual([code, stdout], [64, ''], args.join(' '))
    assert.match(stderr, named)
  }
  assert.deepEqual(await changed(), [])
})
