import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tidemark, type Outcome } from '../cli/tidemark.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { until } from '../support/until.ts'

/*
 * What a person does with messages while an instance works: one that is given up comes back when its cause is mended,
 * one that is in work stays with its owner.
 */
test('the inbox in the hands of a person, beside an instance that works', async (t) => {
  const database = await createDatabase(t)
  const pool = database.pool()
  await pool.query(`
    CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), what text);
    CREATE TABLE flag (name text PRIMARY KEY);
    CREATE TABLE effect (id text)`)
  const instance = await startInstance(t, {
    databaseUrl: database.url,
    config: `
      import { setTimeout as sleep } from 'node:timers/promises'
      export default {
        pollers: { orders: { source: { table: 'orders', id: 'id', createdAt: 'at' }, every: '1s' } },
        processors: { packing: { from: 'orders', contract: 'transactional', maxAttempts: 3, backoff: { base: '10ms', max: '20ms' },
          async handle({ messageId, payload }, { tx }) {
            const flag = async (name) => (await tx.query('SELECT FROM flag WHERE name = $1', [name])).rowCount === 1
            if (payload.what === 'breaks' && !(await flag('mended'))) throw new RangeError('the cause is there still')
            while (payload.what === 'lasts' && !(await flag('enough'))) await sleep(20)
            await tx.query('INSERT INTO effect VALUES ($1)', [messageId])
          } } },
      }`,
  })
  await instance.said('ready')

  const inbox = (...args: string[]): Promise<Outcome> =>
    tidemark(['inbox', ...args], { env: { DATABASE_URL: database.url } })
  const messages = async (): Promise<Record<string, { id: string; state: string }>> => {
    const { rows } = await pool.query<{ message_id: string; id: string; state: string }>(
      `SELECT message_id, inbox_id AS id, status || ' after ' || attempts AS state FROM service_ops.integration_inbox`,
    )
    return Object.fromEntries(rows.map(({ message_id: name, id, state }) => [name, { id, state }]))
  }
  const becomes = (name: string, state: string): Promise<string> =>
    until(`message ${name} to be ${state}`, async () => {
      const message = (await messages())[name]
      return message?.state === state && message.id
    })
  const assertSound = async (): Promise<void> => {
    const { code, stdout } = await tidemark(['verify'], { env: { DATABASE_URL: database.url } })
    assert.equal(code, 0, stdout)
  }

  await t.test(
    'a message that was given up is found by its error, and done once its cause is mended',
    async () => {
      await pool.query(`INSERT INTO orders (id, what) VALUES (1, 'breaks'), (2, 'breaks'), (3, 'works')`)
      const id = await becomes('1', 'DEAD after 3')
      const other = await becomes('2', 'DEAD after 3')
      await becomes('3', 'DONE after 1')
      const { stdout } = await inbox('list', '--error', 'RangeError', '--json')
      assert.deepEqual(
        (JSON.parse(stdout) as { inbox_id: number }[]).map((message) => String(message.inbox_id)).sort(),
        [id, other].sort(),
      )

      // Without the cause mended it has all its attempts again, and no more.
      assert.equal((await inbox('retry', '--id', id)).code, 0)
      await until('three more attempts', () => instance.of('message_dead', { message_id: '1' }).length === 2)
      await becomes('1', 'DEAD after 3')

      await pool.query(`INSERT INTO flag VALUES ('mended')`)
      assert.equal((await inbox('retry', '--id', id)).stdout, '1 message put back, to be processed now\n')
      await becomes('1', 'DONE after 1')
      assert.deepEqual((await pool.query('SELECT id FROM effect ORDER BY id')).rows, [
        { id: '1' },
        { id: '3' },
      ])
      await assertSound()
    },
  )

  await t.test('one that is discarded stays so, until it is retried', async () => {
    assert.equal((await inbox('discard', '--status', 'DEAD')).stdout, '1 message discarded\n')
    await assertSound()
    await becomes('2', 'DISCARDED after 3')
    assert.equal((await inbox('retry', '--source', 'orders', '--status', 'DISCARDED')).code, 0)
    await becomes('2', 'DONE after 1')
  })

  await t.test('one that is in work is never touched', async () => {
    await pool.query(`INSERT INTO orders (id, what) VALUES (4, 'lasts')`)
    // Claimed ahead, it counts as an attempt when it ends.
    const id = await until('message 4 to be in work', async () => {
      const message = (await messages())['4']
      return message?.state.startsWith('PROCESSING') === true && message.id
    })
    for (const verb of ['retry', 'discard']) {
      const { code, stdout } = await inbox(verb, '--id', id)
      assert.equal(code, 1)
      assert.match(stdout, /PROCESSING: in work/)
    }
    await pool.query(`INSERT INTO flag VALUES ('enough')`)
    await becomes('4', 'DONE after 1')
    assert.deepEqual((await pool.query(`SELECT id FROM effect WHERE id = '4'`)).rows, [{ id: '4' }])
    await assertSound()
  })
})
