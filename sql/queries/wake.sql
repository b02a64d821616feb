-- The insert trigger that wakes a poller, and the lock that says whether it sleeps. ingest/sleeper.ts says how they play
-- together, and why nothing is missed.

-- name: on
-- $1 poller. No row: there is no such poller.
SELECT w.is_on FROM service_ops.wake_status w WHERE w.poller = $1;

-- name: end_former
-- $1 poller. Ends sessions of former leaders that sleep still: one that is frozen, or whose connection was lost without a
-- word. Only a leader asks; while such a session lives every insert notifies, and none is missed.
SELECT count(pg_terminate_backend(a.pid)) AS ended
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ExclusiveLock' AND a.pid <> pg_backend_pid()
   AND a.datname = current_database() AND a.usename = current_user AND a.application_name LIKE 'tidemark:%'
   AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('tidemark:wake:' || $1::text, 0)
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database());

-- name: fall_asleep
-- $1 poller. Waits for the writers that inserted in silence, and keeps later ones from doing so from the moment that it
-- waits. No row: the trigger is not there. OFFSET 0: the lock is asked for after the look.
SELECT pg_advisory_lock(w.lock_key)::text AS held
  FROM (SELECT s.lock_key FROM service_ops.wake_status s WHERE s.poller = $1 AND s.is_on OFFSET 0) w;

-- name: wake_up
-- $1 poller.
SELECT pg_advisory_unlock(hashtextextended('tidemark:wake:' || $1::text, 0)) AS was_held;

-- name: stop_waiting
-- $1 pid. Whoever waits in vain for a writer: it must be looked, not waited.
SELECT pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity a
 WHERE a.pid = $1::integer AND a.state = 'active' AND a.wait_event_type = 'Lock' AND a.wait_event = 'advisory';

-- name: describe
-- $1 poller, $2 its source, quoted; NULL: as it is registered. What `wake on` must know; no row: there is no such table.
SELECT t.name AS table, c.relkind, quote_ident(current_user) AS role, has_table_privilege(c.oid, 'TRIGGER') AS may_trigger,
       has_schema_privilege('service_ops', 'CREATE') AS may_create,
       quote_ident(service_ops.wake_name($1)) AS wake_name,
       hashtextextended('tidemark:wake:' || $1::text, 0)::text AS lock_key,
       current_setting('max_prepared_transactions')::integer > 0 AS prepares,
       EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
                WHERE g.tgrelid = c.oid AND g.tgenabled IN ('O', 'A')
                  AND p.pronamespace = 'service_ops'::regnamespace AND p.proname = service_ops.wake_name($1)) AS is_on
  FROM (SELECT coalesce($2::text, (SELECT k.source_table FROM service_ops.background_task k WHERE k.task_name = $1 AND k.kind = 'poller')) AS name) t
  JOIN pg_catalog.pg_class c ON c.relnamespace::regnamespace::text || '.' || quote_ident(c.relname) = t.name;

-- name: known
-- $1 poller. Whether it is registered, with its source; and the name of its function, where there is one.
SELECT t.source_table, p.oid IS NOT NULL AS has_function, quote_ident(n.name) AS wake_name
  FROM (SELECT service_ops.wake_name($1) AS name) n
  LEFT JOIN service_ops.background_task t ON t.task_name = $1 AND t.kind = 'poller'
  LEFT JOIN pg_catalog.pg_proc p ON p.proname = n.name AND p.pronamespace = 'service_ops'::regnamespace
 WHERE t.task_name IS NOT NULL OR p.oid IS NOT NULL;

-- name: create_function
-- Silent while the poller is awake: a NOTIFY in each transaction would put all commits of the database in one line. The
-- lock that it takes in silence is the writer's until its end, and costs about a microsecond. What fails here (no room for
-- one more lock, say) must not fail the insert: the poller then finds the row by the clock.
CREATE OR REPLACE FUNCTION service_ops.:"wake_name"() RETURNS trigger LANGUAGE plpgsql AS $wake$
BEGIN
  IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(:"lock_key"::bigint) THEN
    PERFORM pg_catalog.pg_notify('tidemark_wake', :"poller");
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $wake$;

-- name: comment_function
COMMENT ON FUNCTION service_ops.:"wake_name"() IS 'Wakes a poller when rows come in while it sleeps. Made by `tidemark wake on`, removed with its trigger by `tidemark wake off`.';

-- name: create_trigger
CREATE TRIGGER :"wake_name" AFTER INSERT ON :"table" FOR EACH STATEMENT EXECUTE FUNCTION service_ops.:"wake_name"();

-- name: drop
-- The function is ours, and its trigger goes with it, also where the table is somebody else's.
DROP FUNCTION IF EXISTS service_ops.:"wake_name"() CASCADE;

-- name: look_again
-- $1 poller. Its leader looks whether it is to sleep with the flag.
SELECT pg_notify('tidemark_wake', $1);
