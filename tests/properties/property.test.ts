import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { createDatabase } from '../support/database.ts'
import { openSessions, play } from './schedule.ts'
import { World } from './world.ts'

const SEEDS = 20

test(`no row is lost, none is made up and the edge moves on, under ${SEEDS} random schedules`, async (t) => {
  const world = await World.create((await createDatabase(t)).url)
  t.after(() => world.close())
  const sessions = await openSessions(world)
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const outcome = await play(world, sessions, seed, {}).catch((cause: unknown) => {
      throw new Error(`seed ${seed} (npm run property -- --seed ${seed} replays it)`, { cause })
    })
    assert.equal(outcome.taken, outcome.rows, `seed ${seed}`)
  }
})

test('a seed makes the same schedule each time', async (t) => {
  const world = await World.create((await createDatabase(t)).url)
  t.after(() => world.close())
  const sessions = await openSessions(world)
  const replay = async (): Promise<string[]> => {
    const steps: string[] = []
    await play(world, sessions, 7, {}, (line) => steps.push(line.replace(/ \[.*\]$/, '')))
    // Once two sessions wait for the same row, PostgreSQL decides who gets it first, and the schedules may part.
    const contended = steps.findIndex((line) => /\(waiting: [^)]*,/.test(line))
    return contended === -1 ? steps : steps.slice(0, contended)
  }
  let [first, second] = [await replay(), await replay()]
  // Another database of the server that commits a prepared transaction may have held the edge during one of the two.
  if (!isDeepStrictEqual(first, second)) [first, second] = [await replay(), await replay()]
  assert.deepEqual(first, second)
  assert.ok(first.length >= 20, `only ${first.length} steps could be compared`)
})
