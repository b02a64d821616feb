import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createLive } from '../../../src/http/dashboard/live.ts'
import type { LiveOptions } from '../../../src/http/dashboard/live.ts'
import { until } from '../../support/until.ts'

/** A viewer that reads all it is sent. */
function follow(stream: ReadableStream<Uint8Array> | undefined) {
  assert.ok(stream !== undefined)
  const reader = stream.getReader()
  const seen = { text: '', over: false }
  const reading = (async () => {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      seen.text += new TextDecoder().decode(value)
    }
    seen.over = true
  })()
  return { seen, reading, leave: () => reader.cancel() }
}

function liveOn(options: Partial<LiveOptions> = {}) {
  const ending = new AbortController()
  let reads = 0
  const live = createLive({
    read: async () => `<p>${(reads += 1)}</p>\n<p>more</p>`,
    ending: ending.signal,
    everyMs: 5,
    ...options,
  })
  return { live, ending, reads: () => reads }
}

describe('news of Now', () => {
  test('come from one reader, however many look, and from none when nobody does', async () => {
    const { live, reads } = liveOn()
    assert.equal(reads(), 0)
    const viewers = Array.from({ length: 20 }, () => follow(live.open()))
    await until('three reads', () => reads() >= 3)
    const counts = viewers.map(({ seen }) => seen.text.split('event: now').length - 1)
    assert.ok(Math.max(...counts) <= reads(), `${counts.join()} of ${reads()}`)
    await Promise.all(viewers.map(({ leave }) => leave()))
    assert.equal(live.viewers, 0)
    const after = reads()
    // Another one, of which ten reads are as long as ten of this would be.
    const clock = liveOn()
    const watching = follow(clock.live.open())
    await until('ten reads of another', () => clock.reads() >= 10)
    await watching.leave()
    assert.ok(reads() - after <= 1, `${reads() - after} reads for nobody`)
  })

  test('are told line by line, as the format wants it', async () => {
    const { live } = liveOn()
    const viewer = follow(live.open())
    await until('news', () => viewer.seen.text.includes('more'))
    assert.match(viewer.seen.text, /^retry: 1000\n\nevent: now\ndata: <p>1<\/p>\ndata: <p>more<\/p>\n\n/)
    await viewer.leave()
  })

  test('end for all when the instance drains, and nobody is let in any more', async () => {
    const { live, ending } = liveOn()
    const viewers = [follow(live.open()), follow(live.open())]
    await until('news', () => viewers.every(({ seen }) => seen.text.includes('event: now')))
    ending.abort()
    await Promise.all(viewers.map(({ reading }) => reading))
    assert.equal(live.viewers, 0)
    assert.equal(live.open(), undefined)
  })

  test('are for so many viewers and no more; one that leaves makes room', async () => {
    const { live, ending } = liveOn({ most: 2 })
    const [one] = [follow(live.open()), follow(live.open())]
    assert.equal(live.open(), undefined)
    await one.leave()
    assert.ok(live.open() !== undefined)
    ending.abort()
  })

  test('end for a viewer after its time, so that it is asked again who it is', async () => {
    const { live } = liveOn({ lifeMs: 20 })
    await follow(live.open()).reading
    assert.equal(live.viewers, 0)
  })

  test('say when nothing can be read, and go on when it can be', async () => {
    let away = true
    const { live } = liveOn({
      read: () => (away ? Promise.reject(new Error('away')) : Promise.resolve('here')),
    })
    const viewer = follow(live.open())
    await until('to be told', () => viewer.seen.text.includes('event: away'))
    away = false
    await until('news', () => viewer.seen.text.includes('data: here'))
    await viewer.leave()
  })

  test('do not pile up for a browser that takes nothing', async () => {
    const { live, reads, ending } = liveOn()
    const stream = live.open()
    await until('many reads', () => reads() > 10)
    assert.ok(stream !== undefined)
    ending.abort()
    const { seen, reading } = follow(stream)
    await reading
    assert.ok(seen.text.split('event: now').length <= 3, seen.text)
  })
})
