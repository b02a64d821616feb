-- Here and below, boot: one life of one server's memory. Another server has another start time; a crash of one backend
-- makes all of them recover from the disk under the same postmaster, and throws the statistics away.

-- name: low_water
-- $1 sources. Where to begin, and the boot of which this is true. A mark above every message is of a past that this inbox
-- does not have: its end was deleted, or it was restored without the marks. Its numbers may be given again, so the mark is
-- taken back now, while it still shows.
WITH h AS MATERIALIZED (SELECT coalesce(max(m.inbox_id), 0) AS head FROM service_ops.integration_inbox m),
taken_back AS (
  UPDATE service_ops.inbox_low_water w SET low = 0, updated_at = clock_timestamp() FROM h
   WHERE w.source = ANY ($1::text[]) AND w.low > h.head)
SELECT coalesce(min(CASE WHEN w.low <= h.head THEN w.low ELSE 0 END), 0) AS low,
       concat_ws(' ', pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time()) AS boot
  FROM unnest($1::text[]) s(source) CROSS JOIN h LEFT JOIN service_ops.inbox_low_water w USING (source);

-- name: look_back
-- $1 sources, $2 settled mark. See process/lowWater.ts: the first open and the first claimable message above the mark, the
-- newest number given so far, and who may still be inserting (anybody who holds the table's insert lock). CASE: by the
-- primary key whatever the statistics say (see inbox.sql).
SELECT (SELECT m.inbox_id FROM service_ops.integration_inbox m
         WHERE m.inbox_id > $2::bigint
           AND CASE WHEN m.status IN ('NEW', 'PROCESSING') AND m.next_attempt_at IS NULL AND m.source = ANY ($1::text[]) THEN true ELSE false END
         ORDER BY m.inbox_id LIMIT 1) AS first_open,
       (SELECT m.inbox_id FROM service_ops.integration_inbox m
         WHERE m.inbox_id > $2::bigint
           AND CASE WHEN m.status = 'NEW' AND m.next_attempt_at IS NULL AND m.source = ANY ($1::text[]) THEN true ELSE false END
         ORDER BY m.inbox_id LIMIT 1) AS first_new,
       (SELECT coalesce(max(m.inbox_id), 0) FROM service_ops.integration_inbox m) AS head,
       (SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}') FROM pg_catalog.pg_locks l
         WHERE l.locktype = 'relation' AND l.relation = 'service_ops.integration_inbox'::regclass AND l.granted
           AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())   -- a copy of this one has the same oids
           AND l.mode = 'RowExclusiveLock'        -- INSERT takes it whatever else it holds; VACUUM does not, and may run for long
           AND l.pid IS DISTINCT FROM pg_backend_pid()) AS writers,
       (SELECT extract(epoch FROM min(d.next_attempt_at) - clock_timestamp()) * 1000
          FROM unnest($1::text[]) s(source)
         CROSS JOIN LATERAL (
               SELECT m.next_attempt_at FROM service_ops.integration_inbox m
                WHERE m.source = s.source AND m.next_attempt_at < 'infinity' AND m.status IN ('NEW', 'FAILED')
                ORDER BY m.next_attempt_at LIMIT 1) d) AS next_due_ms,
       concat_ws(' ', pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time()) AS boot,
       -- Those of them that are due: a failure clears a suspect, an interruption may let it wait.
       (SELECT true FROM service_ops.integration_inbox m
         WHERE m.source = ANY ($1::text[]) AND m.next_attempt_at <= statement_timestamp() AND m.suspect
           AND CASE WHEN m.status IN ('NEW', 'FAILED') THEN true ELSE false END
         ORDER BY m.source, m.next_attempt_at LIMIT 1) IS NOT NULL AS suspects;

-- name: raise_low_water
-- $1 sources, $2 settled mark, $3 the boot that it was proven on: it says nothing of what another has.
INSERT INTO service_ops.inbox_low_water AS w (source, low)
SELECT s.source, $2::bigint FROM unnest($1::text[]) s(source)
 WHERE $3 = concat_ws(' ', pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time()) ORDER BY s.source
ON CONFLICT (source) DO UPDATE SET low = EXCLUDED.low, updated_at = clock_timestamp() WHERE w.low < EXCLUDED.low;

-- name: begin_low_water
-- $1 source that nobody has polled before: what it will bring gets numbers above all that are committed now.
INSERT INTO service_ops.inbox_low_water (source, low)
SELECT $1, coalesce((SELECT max(m.inbox_id) FROM service_ops.integration_inbox m), 0)
 WHERE NOT EXISTS (SELECT FROM service_ops.integration_inbox m WHERE m.source = $1)
ON CONFLICT (source) DO NOTHING;
