import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { findEmbedded, useEmbedded } from '../../src/db/embedded.ts'
import { freePort } from '../support/port.ts'
import { cloneProject, inTerminal, type Terminal } from '../support/clone.ts'
import { until } from '../support/until.ts'

/*
 * What a new user does: clone, `npm start`, try what it says, start it again in another terminal, press Ctrl-C.
 */

/** Promised for a quiet machine is a tenth and less; this only catches a hang. */
const LIMIT_MS = 120_000

/** Free ports to try: one may be taken between the moment that it was found free and the first start. */
const PORTS = 5

const OPEN = /Open +(\S+)/

test('npm start, as a new user would', async (t) => {
  const folder = cloneProject(t)
  const dataDir = join(folder, '.tidemark')
  t.after(() => stopLeftover(dataDir))
  let port = await freePort()
  const npmStart = (): Terminal =>
    inTerminal(t, folder, 'npm start', { PORT: String(port), LOG_FORMAT: 'json' })

  let first = npmStart()
  await t.test('it says where it listens, and messages are processed', async () => {
    let [, address = ''] = await first.prints(OPEN, LIMIT_MS)
    for (let tries = 1; tries < PORTS && address !== `http://127.0.0.1:${port}`; tries += 1) {
      await first.prints(new RegExp(`port ${port} is taken`), LIMIT_MS)
      first.signal('SIGINT')
      await first.ended
      port = await freePort()
      first = npmStart()
      ;[, address = ''] = await first.prints(OPEN, LIMIT_MS)
    }
    assert.equal(address, `http://127.0.0.1:${port}`)
    await ready(address)
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
    const [, leader] = await first.prints(/"instance_id":"([^"]+)"/, LIMIT_MS)
    await second.prints(/"event":"embedded_ready".*"joined":true/, LIMIT_MS)
    for (const task of ['message_poller', 'clinical_ops_processor']) {
      await second.prints(
        new RegExp(`${task} not started as leader: stand-by, leader is ${leader}`),
        LIMIT_MS,
      )
    }
    const [, address = ''] = await second.prints(OPEN, LIMIT_MS)
    assert.notEqual(address, `http://127.0.0.1:${port}`)
    await second.prints(new RegExp(`port ${port} is taken`), LIMIT_MS)
    await ready(address)
  })

  await t.test('Ctrl-C ends the first alone: the second leads, and the database runs on', async () => {
    first.signal('SIGINT')
    await second.prints(/message_poller: .*handed over/, LIMIT_MS)
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
    for (const one of killed) await one.prints(/Tidemark is ready/, LIMIT_MS)
    for (const one of killed) one.signal('SIGKILL')
    await Promise.all(killed.map(({ ended }) => ended))
    const again = npmStart()
    await again.prints(/Tidemark is ready/, LIMIT_MS)
    await moreDone(dataDir)
    await until(
      'every invariant to hold',
      async () => {
        const verify = inTerminal(t, folder, 'npx tidemark verify', {})
        return (await verify.ended) === 0
      },
      LIMIT_MS,
    )
    again.signal('SIGINT')
    await drained(again)
    assert.equal(await findEmbedded(dataDir), undefined)
  })
})

/** Waits until it says that it is ready: a busy machine may keep the database from answering it for a moment. */
async function ready(address: string): Promise<void> {
  await until(
    `${address} to be ready`,
    async () => {
      const response = await fetch(`${address}/ready`)
      const body = await response.json()
      if (response.status === 200) assert.deepEqual(body, { status: 'ready' })
      return response.status === 200
    },
    LIMIT_MS,
  )
}

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
    await until('another message to be DONE', async () => (await count()) > before, LIMIT_MS)
  } finally {
    await client.end()
  }
}

/** A test that failed half-way may leave the server without a user: the next one to leave stops it. */
async function stopLeftover(dataDir: string): Promise<void> {
  if ((await findEmbedded(dataDir)) === undefined) return
  await (await useEmbedded(dataDir)).leave()
}
