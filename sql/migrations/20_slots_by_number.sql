-- Messages of a source with slots are found by their number like those of any other, as long as their keys have room: they
-- come in without next_attempt_at, so that no index changes from the claim to the outcome. Those of keys that have none are
-- lined up by their key, as all were before.

-- Looked at first: ADD COLUMN IF NOT EXISTS asks for its lock before it looks, and would wait for every claim and heartbeat.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = 'service_ops.slot_limit'::regclass AND a.attname = 'by_number_above' AND NOT a.attisdropped) THEN
    ALTER TABLE service_ops.slot_limit ADD COLUMN IF NOT EXISTS by_number_above bigint;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = 'service_ops.runner_instance'::regclass AND a.attname = 'slots_by_number' AND NOT a.attisdropped) THEN
    ALTER TABLE service_ops.runner_instance ADD COLUMN IF NOT EXISTS slots_by_number boolean NOT NULL DEFAULT false;
  END IF;
END $$;
COMMENT ON COLUMN service_ops.slot_limit.by_number_above IS 'In the row *: messages above this number that are not lined up by their key are in the order of the source. NULL: all are lined up when they come in.';
COMMENT ON COLUMN service_ops.runner_instance.slots_by_number IS 'True: it finds messages of sources with slots by their number. While one lives that does not, they are lined up when they come in.';

-- What becomes of messages that come in: NULL: the source has no slots; all: each is lined up by its key; late: those that are
-- not behind everything that came in before; none.
CREATE OR REPLACE FUNCTION service_ops.lined_up(of text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN l.by_number_above IS NULL
                OR EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.state <> 'stopped' AND NOT i.slots_by_number) THEN 'all'
              WHEN l.ordered THEN 'late' ELSE 'none' END
    FROM service_ops.slot_limit l WHERE l.source = of AND l.group_key = '*'
$$;
COMMENT ON FUNCTION service_ops.lined_up(text) IS 'Which messages of a source with slots are lined up by their key when they come in: all, late or none; NULL: it has no slots.';

CREATE OR REPLACE VIEW service_ops.slot_status AS
WITH fresh AS MATERIALIZED (
  SELECT m.source, left(m.group_key, 200) AS group_key, count(*) AS n
    FROM service_ops.integration_inbox m
   WHERE m.inbox_id > (SELECT min(coalesce(w.low, 0)) FROM service_ops.slot_limit d LEFT JOIN service_ops.inbox_low_water w USING (source) WHERE d.group_key = '*')
     AND CASE WHEN m.status = 'NEW' AND m.next_attempt_at IS NULL THEN true ELSE false END
   GROUP BY 1, 2)
SELECT l.source,
       l.group_key,
       CASE WHEN l.group_key = '*' THEN coalesce(l.max_slots, l.default_slots)
            WHEN d.ordered THEN least(coalesce(l.max_slots, d.max_slots, d.default_slots), 1)
            ELSE coalesce(l.max_slots, d.max_slots, d.default_slots) END AS max_slots,
       l.paused OR coalesce(d.paused, false) AS paused,
       coalesce(h.in_use, 0) AS in_use,
       CASE WHEN l.group_key = '*' THEN 0
            ELSE (SELECT count(*) FROM service_ops.integration_inbox m
                   WHERE m.source = l.source AND left(m.group_key, 200) = l.group_key AND m.next_attempt_at IS NOT NULL AND m.status IN ('NEW', 'FAILED'))
                 + coalesce(f.n, 0) END AS waiting,
       h.oldest_held_at,
       coalesce(h.holders, '{}') AS holders
  FROM service_ops.slot_limit l
  LEFT JOIN service_ops.slot_limit d ON d.source = l.source AND d.group_key = '*'
  LEFT JOIN fresh f ON f.source = l.source AND f.group_key = l.group_key
  LEFT JOIN LATERAL (
       SELECT count(*) AS in_use, min(m.locked_at) AS oldest_held_at, array_agg(DISTINCT m.locked_by ORDER BY m.locked_by) AS holders
         FROM unnest(l.held, l.held_claims) u(inbox_id, claim)
        CROSS JOIN LATERAL (
              SELECT i.locked_at, i.locked_by FROM service_ops.integration_inbox i
               WHERE i.inbox_id = u.inbox_id AND i.claim = u.claim AND i.status = 'PROCESSING' LIMIT 1) m) h ON true
 ORDER BY l.source, l.group_key;

COMMENT ON COLUMN service_ops.integration_inbox.next_attempt_at IS 'When it may be claimed, or be claimed again: after a failure or a give-back, and where it is lined up by its key, since its source has slots; infinity for DEAD. NULL: never failed, or finished.';

DO $$ BEGIN
  ASSERT (SELECT count(*) FROM pg_catalog.pg_attribute a
           WHERE NOT a.attisdropped AND ((a.attrelid = 'service_ops.slot_limit'::regclass AND a.attname = 'by_number_above')
                                      OR (a.attrelid = 'service_ops.runner_instance'::regclass AND a.attname = 'slots_by_number'))) = 2,
    'a column that finds messages with slots by their number is missing';
  ASSERT to_regprocedure('service_ops.lined_up(text)') IS NOT NULL, 'service_ops.lined_up(text) is missing';
  ASSERT to_regclass('service_ops.slot_status') IS NOT NULL, 'service_ops.slot_status is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (20, 5) ON CONFLICT DO NOTHING;
END $$;
