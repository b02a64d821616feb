import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { backendKilledWhilePrepared, ownServer, serializableLeftOvers } from './crash.ts'
import type { OwnServer } from './crash.ts'
import { isViolation } from './invariants.ts'
import { NAMED_MUTANTS } from './mutants.ts'
import { World } from './world.ts'

let server: OwnServer
let world: World

before(async () => {
  server = await ownServer()
  world = await World.create(server.url)
})
after(async () => {
  await world.close()
  await server.end()
})

describe('committed SERIALIZABLE transactions that PostgreSQL has summarised', () => {
  test('do not hold the edge', () => serializableLeftOvers(world))

  test('would hold it, were their predicate locks counted as living transactions', async () => {
    const standing = serializableLeftOvers(world, NAMED_MUTANTS.siread_counted, 3_000)
    await assert.rejects(standing, isViolation('stuck'))
  })
})

// These come last: they crash the server.
describe('a backend killed by kill -9 while a transaction is prepared', () => {
  test('loses no row of it', async () => {
    world = await backendKilledWhilePrepared(world)
  })

  test('would lose them, were only the start time of the server compared', async (t) => {
    t.after(async () => {
      world = await World.open(server.url)
    })
    await assert.rejects(
      backendKilledWhilePrepared(world, NAMED_MUTANTS.boot_marker_alone),
      isViolation('unsafe'),
    )
  })
})
