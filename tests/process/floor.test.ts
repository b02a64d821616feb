import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasWork } from '../../src/tables/inbox.ts'
import { createDatabase } from '../support/database.ts'

/*
 * Where the look for what a dead instance had begins: at the lowest mark of any source that some processor of an
 * instance on record takes. A message in work below it shows where that is; in the program there is none.
 */
test('the floor is that of instances on record: a processor that is gone for good does not hold it', async (t) => {
  const pool = (await createDatabase(t)).pool()
  await pool.query(`
    INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release, sources)
    VALUES (1, 'reader', 'processor', false, '', '', '{letters}'), (2, 'former', 'processor', false, '', '', '{parcels}');
    INSERT INTO service_ops.runner_instance (instance_id, holder, release, state, tasks)
    VALUES ('one', gen_random_uuid(), '', 'ready', '{reader}'), ('two', gen_random_uuid(), '', 'stopped', '{former}');
    INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('letters', 10);
    INSERT INTO service_ops.integration_inbox (source, message_id, payload, trace_id, status, locked_by, claim, attempts)
    VALUES ('parcels', 'a', '{}', 'a', 'PROCESSING', 'two', 1, 1)`)
  assert.equal(await hasWork(pool, 'two'), false, 'the mark of letters is the floor')
  // One that died and is not cleared up yet has said what it takes, and its source has no mark.
  await pool.query(`UPDATE service_ops.runner_instance SET state = 'draining' WHERE instance_id = 'two'`)
  assert.equal(await hasWork(pool, 'two'), true, 'there is no floor')
  await pool.query(`INSERT INTO service_ops.inbox_low_water (source, low) VALUES ('parcels', 5)`)
  assert.equal(await hasWork(pool, 'two'), false, 'the lower mark is the floor')
})
