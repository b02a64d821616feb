-- Which pollers an insert wakes. The trigger itself is not made here: `tidemark wake on` makes it, for those who want it.

-- Readable where the name leaves room; a longer one is cut, and told apart by a digest.
CREATE OR REPLACE FUNCTION service_ops.wake_name(poller text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $wake$
  SELECT 'tidemark_wake_' || CASE WHEN octet_length(poller) <= 45 THEN poller ELSE left(poller, 36) || '_' || left(md5(poller), 8) END
$wake$;
COMMENT ON FUNCTION service_ops.wake_name(text) IS 'Name of the trigger that wakes this poller, and of its function in service_ops.';

CREATE OR REPLACE VIEW service_ops.wake_status AS
SELECT t.id,
       t.task_name AS poller,
       EXISTS (SELECT FROM pg_catalog.pg_trigger g
                 JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
                 JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
                WHERE p.proname = n.name AND p.pronamespace = 'service_ops'::regnamespace AND g.tgenabled IN ('O', 'A')
                  AND c.relnamespace::regnamespace::text || '.' || quote_ident(c.relname) = t.source_table) AS is_on,
       EXISTS (SELECT FROM pg_catalog.pg_locks l
                WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ExclusiveLock' AND l.granted
                  AND (l.classid::bigint << 32) | l.objid::bigint = k.key
                  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())) AS is_asleep,
       n.name AS trigger_name,
       k.key AS lock_key
  FROM service_ops.background_task t
 CROSS JOIN LATERAL (SELECT service_ops.wake_name(t.task_name) AS name) n
 CROSS JOIN LATERAL (SELECT hashtextextended('tidemark:wake:' || t.task_name, 0) AS key) k
 WHERE t.kind = 'poller'
 ORDER BY t.id;
COMMENT ON VIEW service_ops.wake_status IS 'One row a poller: whether an insert into its source wakes it, and whether it sleeps.';
COMMENT ON COLUMN service_ops.wake_status.id IS 'Number of the task.';
COMMENT ON COLUMN service_ops.wake_status.poller IS 'Name of the poller.';
COMMENT ON COLUMN service_ops.wake_status.is_on IS 'Its source has the trigger of `tidemark wake on`, and it is enabled.';
COMMENT ON COLUMN service_ops.wake_status.is_asleep IS 'Its leader sleeps: the next insert notifies it. While it is awake inserts do not, since it looks by itself.';
COMMENT ON COLUMN service_ops.wake_status.trigger_name IS 'Name of the trigger, and of its function in service_ops.';
COMMENT ON COLUMN service_ops.wake_status.lock_key IS 'Advisory lock that the leader holds while it sleeps, and that each writer shares from its insert to its end while it does not.';

DO $$ BEGIN
  ASSERT to_regprocedure('service_ops.wake_name(text)') IS NOT NULL, 'service_ops.wake_name() is missing';
  ASSERT to_regclass('service_ops.wake_status') IS NOT NULL, 'service_ops.wake_status is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (11, 5) ON CONFLICT DO NOTHING;
END $$;
