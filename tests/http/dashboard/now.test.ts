import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { releasesOf } from '../../../src/http/dashboard/pages/fleet.ts'
import { now } from '../../../src/http/dashboard/pages/now.ts'
import type { InstanceStatus, StatusDocument } from '../../../src/tables/status.ts'
import { NOTHING } from './fixture.ts'

function instance(id: string, release: string, started: number, state = 'ready'): InstanceStatus {
  return {
    ...{ instance_id: id, release, state, region: null, machine_id: null, process_group: null, leads: [] },
    ...{ seen_seconds_ago: 1, started_at: `2026-03-01T0${started}:00:00Z` },
  }
}

async function page(change: Partial<StatusDocument>, rates?: ReadonlyMap<string, number>): Promise<string> {
  return String(await now({ status: { ...NOTHING, ...change }, ages: [], rates }))
}

describe('the releases on Now', () => {
  test('are green for the newest and blue for the others, while several run', () => {
    const found = releasesOf([
      instance('a', '1.0', 1),
      instance('b', '1.1', 2),
      instance('c', '1.0', 0, 'draining'),
    ])
    assert.deepEqual(
      found.map(({ name, colour, instances }) => [name, colour, instances.length]),
      [
        ['1.1', 'green', 1],
        ['1.0', 'blue', 2],
      ],
    )
  })

  test('have no colour when one runs, whatever has stopped', () => {
    const found = releasesOf([instance('a', '1.0', 1, 'stopped'), instance('b', '1.1', 2)])
    assert.deepEqual(
      found.map(({ colour }) => colour),
      [undefined, undefined],
    )
  })

  test('say of each instance how it is', async () => {
    const text = await page({ instances: [instance('a', '1.0', 1, 'draining'), instance('b', '1.1', 2)] })
    assert.match(text, /release-blue[\s\S]*mark-watch[\s\S]*draining/)
    assert.match(text, /release-green/)
  })
})

describe('Now', () => {
  test('begins with the verdict, and leads from each finding to where it can be looked at', async () => {
    const finding = {
      kind: 'dead_messages',
      needs_person: true,
      subject: 'packing',
      text: '2 <b>',
      remedy: 'tidemark inbox list',
    } as const
    const text = await page({
      verdict: { level: 'person', sentence: '1 thing needs a person: 2 <b>.', findings: [finding] },
    })
    assert.match(text, /verdict-act/)
    assert.match(text, /<h1><bdi>1 thing needs a person: 2 &lt;b&gt;\.<\/bdi><\/h1>/)
    assert.match(text, /href="\/messages\?status=DEAD"[^>]*>[\s\S]*2 &lt;b&gt;/)
    assert.match(text, /tidemark inbox list/)
  })

  test('says of a processor what it does in a second, where that was counted', async () => {
    const processor = {
      ...{
        id: 2,
        processor: 'packing',
        sources: ['orders'],
        exclusive: false,
        leader: null,
        term: null,
        orphaned: false,
      },
      ...{ waiting: 3, processing: 1, failed: 0, dead: 0, oldest_open_seconds: 2, waited_seconds: null },
      ...{ paused: false, paused_by: null, paused_at: null, paused_seconds: null },
    }
    assert.match(await page({ processors: [processor] }, new Map([['orders', 12.3]])), />12\/s</)
    assert.match(await page({ processors: [processor] }, new Map([['orders', 0.25]])), />0\.3\/s</)
    assert.match(await page({ processors: [processor] }), /data-label="Rate"><span><span class="none"/)
  })
})
