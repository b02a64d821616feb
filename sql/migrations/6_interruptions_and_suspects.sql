-- Two columns for messages that somebody should look at more closely. Neither is in an index, and the normal path of a
-- message leaves both at their defaults, so its updates stay heap-only. Constant defaults: no row is rewritten.

-- ADD COLUMN IF NOT EXISTS asks for its lock before it looks, and would wait for every handler at work, and everybody else
-- behind it: what is there is not asked for.
DO $$ BEGIN
  IF (SELECT count(*) < 2 FROM pg_catalog.pg_attribute
       WHERE attrelid = 'service_ops.integration_inbox'::regclass AND NOT attisdropped
         AND attname IN ('interruptions_in_a_row', 'suspect')) THEN
    ALTER TABLE service_ops.integration_inbox
      ADD COLUMN IF NOT EXISTS interruptions_in_a_row integer NOT NULL DEFAULT 0,
      ADD COLUMN IF NOT EXISTS suspect boolean NOT NULL DEFAULT false;
  END IF;
END $$;
COMMENT ON COLUMN service_ops.integration_inbox.interruptions_in_a_row IS 'Interruptions since its handler last ended by itself, those by a drain left out. After 20 of them one attempt counts.';
COMMENT ON COLUMN service_ops.integration_inbox.suspect IS 'It was in work in a process that died or stood still, and may be the reason: it is claimed alone, with nothing beside it in that instance.';
COMMENT ON COLUMN service_ops.inbox_low_water.low IS 'Greatest inbox_id that is proven to have nothing open at or below it. Grows, but for a mark above every message, which is taken back.';

-- An inbox that was made again, in a database that was used before, goes on with numbers above all that were ever given;
-- here, since nobody writes to it before the columns above are there. From 1 they would lie below the low-water marks,
-- where nobody looks, and outcomes still on their way would fit other messages. A running process can be ahead of the mark
-- that it keeps, by far less than 10^9.
DO $$ BEGIN
  IF NOT (SELECT s.is_called FROM service_ops.integration_inbox_inbox_id_seq s)
     AND (EXISTS (SELECT FROM service_ops.background_task) OR EXISTS (SELECT FROM service_ops.inbox_low_water)) THEN
    PERFORM setval('service_ops.integration_inbox_inbox_id_seq', 1000000000 + coalesce((SELECT max(w.low) FROM service_ops.inbox_low_water w), 0));
  END IF;
END $$;

DO $$ BEGIN
  ASSERT (SELECT count(*) = 2 FROM pg_catalog.pg_attribute
           WHERE attrelid = 'service_ops.integration_inbox'::regclass AND NOT attisdropped
             AND attname IN ('interruptions_in_a_row', 'suspect')), 'a column of service_ops.integration_inbox is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (6, 5) ON CONFLICT DO NOTHING;
END $$;
