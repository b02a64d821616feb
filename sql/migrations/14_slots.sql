-- Slots: how many messages of one group key may be in work at once, in all instances together.

-- Its rows are locked and written by every claim, so each is given room to stay where it is.
CREATE TABLE IF NOT EXISTS service_ops.slot_limit (
  source        text NOT NULL,
  group_key     text NOT NULL,
  max_slots     integer CONSTRAINT slot_limit_max_slots CHECK (max_slots >= 0),
  paused        boolean NOT NULL DEFAULT false,
  default_slots integer CONSTRAINT slot_limit_default_slots CHECK (default_slots >= 0),
  ordered       boolean NOT NULL DEFAULT false,
  held          bigint[] NOT NULL DEFAULT '{}',
  held_claims   integer[] NOT NULL DEFAULT '{}',
  held_under    integer,
  created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT slot_limit_pkey PRIMARY KEY (source, group_key)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
COMMENT ON TABLE service_ops.slot_limit IS 'How many messages of a group key may be in work at once. A key gets its row with its first message; UPDATE max_slots or paused to change it.';
COMMENT ON COLUMN service_ops.slot_limit.source IS 'Poller or intake that the messages came by.';
COMMENT ON COLUMN service_ops.slot_limit.group_key IS 'The tenant or other group, by the first 200 characters of its name; *: the default for every key of the source.';
COMMENT ON COLUMN service_ops.slot_limit.max_slots IS 'Messages in work at once. NULL: the default, which is that of the row *, or the config''s when that is NULL too. Holds from the next claim on; what is in work goes on.';
COMMENT ON COLUMN service_ops.slot_limit.paused IS 'Nothing of the key is claimed; in the row *, nothing of the source.';
COMMENT ON COLUMN service_ops.slot_limit.default_slots IS 'In the row *: what the config of the instance that started last says. NULL: no limit.';
COMMENT ON COLUMN service_ops.slot_limit.ordered IS 'In the row *: whether that config asks for the order of the source within each key.';
COMMENT ON COLUMN service_ops.slot_limit.held IS 'Messages that the newest claims took. A slot is in use while its message is in work under the claim of the same place in held_claims; whatever else stands here is free.';
COMMENT ON COLUMN service_ops.slot_limit.held_claims IS 'Numbers of those claims.';
COMMENT ON COLUMN service_ops.slot_limit.held_under IS 'The limit under which the newest claim took something.';
COMMENT ON COLUMN service_ops.slot_limit.created_at IS 'When the key was first seen.';

CREATE OR REPLACE VIEW service_ops.slot_status AS
SELECT l.source,
       l.group_key,
       CASE WHEN l.group_key = '*' THEN coalesce(l.max_slots, l.default_slots)
            WHEN d.ordered THEN least(coalesce(l.max_slots, d.max_slots, d.default_slots), 1)
            ELSE coalesce(l.max_slots, d.max_slots, d.default_slots) END AS max_slots,
       l.paused OR coalesce(d.paused, false) AS paused,
       coalesce(h.in_use, 0) AS in_use,
       CASE WHEN l.group_key = '*' THEN 0
            ELSE (SELECT count(*) FROM service_ops.integration_inbox m
                   WHERE m.source = l.source AND left(m.group_key, 200) = l.group_key AND m.next_attempt_at IS NOT NULL AND m.status IN ('NEW', 'FAILED')) END AS waiting,
       h.oldest_held_at,
       coalesce(h.holders, '{}') AS holders
  FROM service_ops.slot_limit l
  LEFT JOIN service_ops.slot_limit d ON d.source = l.source AND d.group_key = '*'
  LEFT JOIN LATERAL (
       SELECT count(*) AS in_use, min(m.locked_at) AS oldest_held_at, array_agg(DISTINCT m.locked_by ORDER BY m.locked_by) AS holders
         FROM unnest(l.held, l.held_claims) u(inbox_id, claim)
        CROSS JOIN LATERAL (
              SELECT i.locked_at, i.locked_by FROM service_ops.integration_inbox i
               WHERE i.inbox_id = u.inbox_id AND i.claim = u.claim AND i.status = 'PROCESSING' LIMIT 1) m) h ON true
 ORDER BY l.source, l.group_key;
COMMENT ON VIEW service_ops.slot_status IS 'One row a key: its limit, what is in work, what waits. Read from the messages themselves; the row * has the default alone.';
COMMENT ON COLUMN service_ops.slot_status.source IS 'Poller or intake that the messages came by.';
COMMENT ON COLUMN service_ops.slot_status.group_key IS 'The tenant or other group; *: the default.';
COMMENT ON COLUMN service_ops.slot_status.max_slots IS 'The limit in force; NULL: none.';
COMMENT ON COLUMN service_ops.slot_status.paused IS 'Held by an operator, alone or with the whole source.';
COMMENT ON COLUMN service_ops.slot_status.in_use IS 'Messages in work. More than max_slots only for as long as those run that were claimed before it was lowered.';
COMMENT ON COLUMN service_ops.slot_status.waiting IS 'Messages that wait for a slot, for their turn or for their next attempt.';
COMMENT ON COLUMN service_ops.slot_status.oldest_held_at IS 'When the oldest of those in work was claimed.';
COMMENT ON COLUMN service_ops.slot_status.holders IS 'Instances that have them.';

COMMENT ON COLUMN service_ops.integration_inbox.next_attempt_at IS 'When it may be claimed, or be claimed again: after a failure or a give-back, and from the start where its source has slots; infinity for DEAD. NULL: never failed, or finished.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.slot_limit') IS NOT NULL, 'service_ops.slot_limit is missing';
  ASSERT to_regclass('service_ops.slot_status') IS NOT NULL, 'service_ops.slot_status is missing';
  ASSERT (SELECT count(*) = 2 FROM pg_catalog.pg_index i
           WHERE i.indexrelid IN (to_regclass('service_ops.integration_inbox_due_by_key'), to_regclass('service_ops.integration_inbox_order_by_key'))
             AND i.indisvalid), 'an index of service_ops.integration_inbox is missing or invalid';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (14, 5) ON CONFLICT DO NOTHING;
END $$;
