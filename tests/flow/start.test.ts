import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { findEmbedded, useEmbedded } from '../../src/db/embedded.ts'
import { freePort } from '../support/port.ts'
import { cloneProject, inTerminal, type Terminal } from '../support/clone.ts'
import { until } from '../support/until.ts'

/*
 * What a new user does: clone, `npm start`, try what it says, start it again in another terminal, press Ctrl-C. The
 * limits are those that are promised for a quiet machine; only the first start, which makes a cluster, has more room.
 */

const FIRST_START_MS = 120_000
const NEXT_START_MS = 20_000
const DONE_MS = 15_000

test('npm start, as a new user would', async (t) => {
  const folder = cloneProject(t)
  const dataDir = join(folder, '.tidemark')
  t.after(() => stopLeftover(dataDir))
  const port = await freePort()
  const npmStart = (): Terminal =>
    inTerminal(t, folder, 'npm start', { PORT: String(port), LOG_FORMAT: 'json' })

  const first = npmStart()
  await t.test('it says where it listens, and messages are processed', async () => {
    const [, address] = await first.prints(/Open +(\S+)/, FIRST_START_MS)
    assert.equal(address, `http://127.0.0.1:${port}`)
    const response = await fetch(`${address}/ready`)
    assert.deepEqual([response.status, await response.json()], [200, { status: 'ready' }])
    await moreDone(dataDir)
  })

  await t.test('each of the three commands that it names works', async (t) => {
    const commands = first.printed.match(/npx tidemark .+/g) ?? []
    assert.equal(commands.length, 3)
    for (const command of commands) {
      const tried = inTerminal(t, folder, command, {})
      assert.equal(await tried.ended, 0, tried.printed)
      assert.ok(tried.printed.trim().length > 0)
    }
  })

  const second = npmStart()
  await t.test('a second one joins as a stand-by, on the next free port, and says so', async () => {
    const [, leader] = await first.prints(/"instance_id":"([^"]+)"/)
    await second.prints(/"event":"embedded_ready".*"joined":true/)
    for (const task of ['message_poller', 'clinical_ops_processor']) {
      await second.prints(new RegExp(`${task} not started as leader: stand-by, leader is ${leader}`))
    }
    const [, address] = await second.prints(/Open +(\S+)/, NEXT_START_MS)
    assert.notEqual(address, `http://127.0.0.1:${port}`)
    await second.prints(new RegExp(`port ${port} is taken`))
    assert.equal((await fetch(`${address}/ready`)).status, 200)
  })

  await t.test('Ctrl-C ends the first alone: the second leads, and the database runs on', async () => {
    first.signal('SIGINT')
    await second.prints(/message_poller: .*handed over/)
    await drained(first)
    await moreDone(dataDir)
  })

  await t.test('the last one stops the database', async () => {
    second.signal('SIGINT')
    await drained(second)
    assert.equal(await findEmbedded(dataDir), undefined)
  })

  await t.test('after a kill -9 of both it starts again, with what was there', async () => {
    const killed = [npmStart(), npmStart()]
    for (const one of killed) await one.prints(/Tidemark is ready/, NEXT_START_MS)
    for (const one of killed) one.signal('SIGKILL')
    await Promise.all(killed.map(({ ended }) => ended))
    const again = npmStart()
    await again.prints(/Tidemark is ready/, NEXT_START_MS)
    await moreDone(dataDir)
    await until('every invariant to hold', async () => {
      const verify = inTerminal(t, folder, 'npx tidemark verify', {})
      return (await verify.ended) === 0
    })
    again.signal('SIGINT')
    await drained(again)
    assert.equal(await findEmbedded(dataDir), undefined)
  })
})

/** npm's shell ends by the same Ctrl-C and its exit code tells nothing; the log tells of the drain, to its last step. */
async function drained(terminal: Terminal): Promise<void> {
  await terminal.ended
  assert.match(terminal.printed, /"event":"drain_completed"/)
}

/** Waits until more messages are DONE than were at first. */
async function moreDone(dataDir: string): Promise<void> {
  const url = await findEmbedded(dataDir)
  assert.ok(url !== undefined, 'the embedded server runs')
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    const count = async (): Promise<number> => {
      const { rows } = await client.query<{ done: number }>(
        `SELECT count(*)::int AS done FROM service_ops.integration_inbox WHERE status = 'DONE'`,
      )
      return rows[0]?.done ?? 0
    }
    const before = await count()
    await until('another message to be DONE', async () => (await count()) > before, DONE_MS)
  } finally {
    await client.end()
  }
}

/** A test that failed half-way may leave the server without a user: the next one to leave stops it. */
async function stopLeftover(dataDir: string): Promise<void> {
  if ((await findEmbedded(dataDir)) === undefined) return
  await (await useEmbedded(dataDir)).leave()
}
