import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LowWater } from '../../src/process/lowWater.ts'
import { createSlotClaims } from '../../src/process/slots.ts'
import type { SlotClaims } from '../../src/process/slots.ts'
import { writeDone } from '../../src/tables/inbox.ts'
import type { Scope } from '../support/scope.ts'
import { until } from '../support/until.ts'
import { INSTANCE, programPool, SOURCE } from './fixture.ts'
import { keyed, numbered } from './keyed.ts'

const MEBIBYTE = 1024 * 1024

/** The claims of one processor, made one by one; each message is done at once. */
async function claims(t: Scope, { maxBytes = 16 * MEBIBYTE } = {}) {
  const { url, send, sql } = await keyed(t)
  const pool = programPool(t, url)
  let replans = 0
  const watched = { ...pool, replan: () => void (replans += 1) }
  const slots: SlotClaims = createSlotClaims({
    pool: watched,
    processor: { from: [SOURCE], maxAttempts: 10 },
    rules: { perKey: 2, ordered: false },
    instanceId: INSTANCE,
    maxBytes,
    lowWater: new LowWater(pool, [SOURCE]),
  })
  /** Group keys of what a claim of up to so many has brought. */
  async function claim(limit: number): Promise<(string | null)[]> {
    const rows = await slots.claim(limit)
    await writeDone(
      pool,
      INSTANCE,
      rows.map((row) => ({ inboxId: row.inbox_id, claim: row.claim })),
    )
    return rows.map((row) => row.group_key)
  }
  return { send, sql, claim, replans: () => replans }
}

describe('how many keys a claim locks', () => {
  test('small claims in between do not make the large ones small', async (t) => {
    const { send, claim } = await claims(t)
    for (const key of numbered('key', 300)) await send(key, [`of ${key}`])
    const large: number[] = []
    for (let i = 0; i < 12; i += 1) {
      await claim(1)
      large.push((await claim(60)).length)
    }
    // Keys that are seen for the first time are entered, and claimed from the next time.
    assert.ok(Math.max(...large) >= 20, `60 were asked for, and these came: ${large.join(' ')}`)
  })
})

describe('messages without a key leave half to the others', () => {
  test('of claims of one message, too', async (t) => {
    const { send, claim } = await claims(t)
    for (const key of numbered('key', 20)) await send(key, [`of ${key}`])
    await send(null, numbered('none', 40))
    const got: (string | null)[] = []
    while (got.length < 30) got.push(...(await claim(1)))
    const keyless = got.filter((key) => key === null).length
    assert.ok(keyless >= 10 && keyless <= 20, `${keyless} of 30 had no key`)
  })

  test('of the bytes, too', async (t) => {
    const { send, sql, claim } = await claims(t, { maxBytes: MEBIBYTE })
    for (const key of numbered('key', 20)) await send(key, [`of ${key}`])
    await send(null, numbered('none', 20))
    await sql.query(`
      UPDATE service_ops.integration_inbox
         SET payload = (SELECT to_jsonb(string_agg(md5(n::text), '')) FROM generate_series(1, 40000) n)
       WHERE group_key IS NULL`)
    const got: (string | null)[] = []
    for (let i = 0; i < 6; i += 1) got.push(...(await claim(10)))
    assert.ok(got.includes(null), 'one without a key came')
    assert.ok(
      got.some((key) => key !== null),
      'one with a key came',
    )
  })
})

test('a claim that takes long has its statement planned anew, and one that does not has not', async (t) => {
  const { send, sql, claim, replans } = await claims(t)
  await send('a', ['a1', 'a2'])
  await until('the first', async () => (await claim(1)).length === 1)
  const before = replans()
  await sql.query(`
    CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN new; END $$;
    CREATE TRIGGER linger BEFORE UPDATE ON service_ops.slot_limit FOR EACH ROW EXECUTE FUNCTION linger()`)
  await until('the second', async () => (await claim(1)).length === 1)
  assert.equal(replans(), before + 1)
})
