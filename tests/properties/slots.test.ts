import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import type { Scope } from '../support/scope.ts'
import { SlotViolation, SlotWorld } from './slotWorld.ts'
import type { Edit } from './slotClaimer.ts'
import type { SlotSessions } from './slotWorld.ts'

const SEEDS = Number(process.env['SLOT_SEEDS'] ?? 12)
const MUTANT_SEEDS = 150

interface Mutant {
  readonly ordered?: true
  readonly kind?: 'stuck'
  /** What is left out or done otherwise: each part stands in one of the statements at least. */
  readonly parts: readonly (readonly [string, string])[]
}

const HELD = "i.inbox_id = h.inbox_id AND i.claim = h.claim AND i.status = 'PROCESSING'"

const MUTANTS: Readonly<Record<string, Mutant>> = {
  'no lock of the key': { parts: [['ORDER BY l.source, l.group_key FOR UPDATE SKIP LOCKED', '']] },
  'a key is claimed from that somebody has written since the statement began': {
    parts: [['w.place IN (SELECT g.place FROM got g)', 'w.group_key IN (SELECT g.group_key FROM got g)']],
  },
  'by number, a key is claimed from that somebody has written since the statement began': {
    parts: [['r.place IN (SELECT g.place FROM got g)', 'r.group_key IN (SELECT g.group_key FROM got g)']],
  },
  'by number, what is in work of a key is not counted': {
    parts: [['k.ids[:greatest(s.most - s.in_use, 0)]', 'k.ids[:s.most]']],
  },
  'order: by number, what is lined up before it is passed': {
    ordered: true,
    parts: [
      [
        '(h.at, h.inbox_id) > (coalesce(m.source_created_at',
        'true OR (h.at, h.inbox_id) > (coalesce(m.source_created_at',
      ],
    ],
  },
  'order: by key, what is not lined up before it is passed': {
    ordered: true,
    parts: [['r.key IN (SELECT b.group_key FROM behind b)', 'false']],
  },
  'order: by number, what is in work of a key is not counted': {
    ordered: true,
    parts: [['k.ids[:greatest(s.most - s.in_use, 0)]', 'k.ids']],
  },
  'a claim forgets what the one before took': {
    parts: [
      ['n.ids || n.new_ids', 'n.new_ids'],
      ['n.claims || n.new_claims', 'n.new_claims'],
    ],
  },
  'a finished message keeps its slot': {
    kind: 'stuck',
    parts: [[HELD, 'i.inbox_id = h.inbox_id AND i.claim = h.claim']],
  },
  'a pause of the whole source is not looked at': {
    parts: [['NOT l.paused AND (false OR NOT l.ordered) AS agreed', 'true AS agreed']],
  },
  'order: a message that waits for its retry lets the next one pass': {
    ordered: true,
    parts: [
      [
        'AND h.next_attempt_at IS NOT NULL\n         ORDER BY',
        'AND h.next_attempt_at <= statement_timestamp()\n         ORDER BY',
      ],
      ['m.source_created_at, m.inbox_id LIMIT 1', 'm.next_attempt_at, m.inbox_id LIMIT 1'],
    ],
  },
  'order: a DEAD message lets the next one pass': {
    ordered: true,
    parts: [
      [
        'AND h.next_attempt_at IS NOT NULL\n         ORDER BY',
        "AND h.next_attempt_at < 'infinity'\n         ORDER BY",
      ],
      [
        'm.next_attempt_at IS NOT NULL\n     ORDER BY m.source, left(m.group_key, 200), m.source_created_at',
        "m.next_attempt_at < 'infinity'\n     ORDER BY m.source, left(m.group_key, 200), m.source_created_at",
      ],
      [
        'm.next_attempt_at IS NOT NULL\n          ORDER BY m.source, left(m.group_key, 200), m.source_created_at',
        "m.next_attempt_at < 'infinity'\n          ORDER BY m.source, left(m.group_key, 200), m.source_created_at",
      ],
    ],
  },
  'order: one that comes in late begins beside a later one': {
    ordered: true,
    parts: [
      ['AND k.in_use < k.most', ''],
      ['u.in_use < r.most', 'true'],
    ],
  },
  'order: the first message is passed over while somebody has its row locked': {
    ordered: true,
    parts: [
      [
        'AND h.next_attempt_at IS NOT NULL\n         ORDER BY h.source, left(h.group_key, 200), h.source_created_at, h.inbox_id LIMIT 1)',
        'AND h.next_attempt_at IS NOT NULL\n         ORDER BY h.source, left(h.group_key, 200), h.source_created_at, h.inbox_id LIMIT 1 FOR UPDATE SKIP LOCKED)',
      ],
    ],
  },
  'order: by arrival, not by the time of the source': {
    ordered: true,
    parts: [
      [
        'h.source, left(h.group_key, 200), h.source_created_at, h.inbox_id',
        'h.source, left(h.group_key, 200), h.inbox_id',
      ],
    ],
  },
}

async function openSessions(t: Scope): Promise<SlotSessions> {
  const database = await createDatabase(t)
  // Nothing here may wait for long: a step that does is a fault of the schedule, and says which.
  await database
    .pool()
    .query(
      `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''5s''', current_database()); END $$`,
    )
  const clients = [
    await database.client(),
    await database.client(),
    await database.client(),
    await database.client(),
    await database.client(),
    await database.client(),
  ] as const
  return { pool: database.pool(), clients }
}

/** Of a schedule that failed, so many steps are told. */
const STEPS_TOLD = 40

async function play(
  sessions: SlotSessions,
  seed: number,
  ordered: boolean,
  edit: Edit = (text) => text,
): Promise<{ claimed: number }> {
  const steps: string[] = []
  const world = new SlotWorld(sessions, seed, { ordered, edit, say: (step) => steps.push(step) })
  try {
    return await world.play()
  } catch (error) {
    if (error instanceof SlotViolation) error.message += `, after ${steps.slice(-STEPS_TOLD).join('; ')}`
    throw error
  }
}

for (const ordered of [false, true]) {
  const what = ordered ? 'order holds' : 'no key is above its limit'
  test(`${what}, and nothing stands still, under ${SEEDS} random schedules`, async (t) => {
    const sessions = await openSessions(t)
    let claimed = 0
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      claimed += (
        await play(sessions, seed, ordered).catch((cause: unknown) => {
          throw new Error(`seed ${seed}: ${String(cause)}`, { cause })
        })
      ).claimed
    }
    assert.ok(claimed > 0)
  })
}

describe('random schedules catch the mutant', () => {
  for (const [name, mutant] of Object.entries(MUTANTS)) {
    test(name, async (t) => {
      const sessions = await openSessions(t)
      const used = new Set<string>()
      const edit: Edit = (text) =>
        mutant.parts.reduce((edited, [from, to]) => {
          if (edited.includes(from)) used.add(from)
          return edited.replaceAll(from, to)
        }, text)
      for (let seed = 1; seed <= MUTANT_SEEDS; seed += 1) {
        try {
          await play(sessions, seed, mutant.ordered === true, edit)
        } catch (error) {
          assert.ok(error instanceof SlotViolation, String(error))
          assert.equal(error.kind, mutant.kind ?? 'unsafe', error.message)
          assert.equal(used.size, mutant.parts.length, 'every part of the mutant stands in a statement')
          t.diagnostic(`caught by seed ${seed}: ${error.message}`)
          return
        }
      }
      assert.fail(`${name} survived ${MUTANT_SEEDS} seeds`)
    })
  }
})
