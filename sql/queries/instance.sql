-- name: beat
-- $1 instance, $2 holder, $3 machine, $4 region, $5 release, $6 process group, $7 state, $8 sentinel, $9 tasks,
-- $10 targets that it sends nothing to, or NULL.
-- Makes the row, keeps it, and makes it again when somebody took this instance for dead. This release claims its jobs,
-- and finds messages with slots by their number; one that does not leaves the columns that say so at their default.
INSERT INTO service_ops.runner_instance AS i
       (instance_id, holder, machine_id, region, release, process_group, state, sentinel, tasks, circuits, claims_jobs, slots_by_number)
VALUES ($1, $2::uuid, $3, $4, $5, $6, $7, $8::boolean, $9::text[], $10::jsonb, true, true)
ON CONFLICT (instance_id) DO UPDATE
   SET state = EXCLUDED.state, sentinel = EXCLUDED.sentinel, circuits = EXCLUDED.circuits, last_seen_at = clock_timestamp();

-- name: beat_and_look
-- As `beat`, with what an instance asks as often as it beats: one round trip for all of it. `others` as below, `paused` as in
-- control.sql, `sentinel_held` of this very instance. What blocks one part blocks them all: then each is asked for alone.
WITH beat AS (
  INSERT INTO service_ops.runner_instance AS i
         (instance_id, holder, machine_id, region, release, process_group, state, sentinel, tasks, circuits, claims_jobs, slots_by_number)
  VALUES ($1, $2::uuid, $3, $4, $5, $6, $7, $8::boolean, $9::text[], $10::jsonb, true, true)
  ON CONFLICT (instance_id) DO UPDATE
     SET state = EXCLUDED.state, sentinel = EXCLUDED.sentinel, circuits = EXCLUDED.circuits, last_seen_at = clock_timestamp()),
held AS MATERIALIZED (
  SELECT coalesce(array_agg((l.classid::bigint << 32) | l.objid::bigint), '{}') AS keys
    FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())),
others AS (
  SELECT i.instance_id, i.sentinel, i.last_seen_at::text AS last_seen_at,
         hashtextextended('tidemark:sentinel:' || i.holder, 0) = ANY (held.keys) AS sentinel_held,
         pg_postmaster_start_time()::text AS boot
    FROM service_ops.runner_instance i CROSS JOIN held
   WHERE i.state <> 'stopped' AND i.instance_id <> $1),
paused AS (SELECT t.task_name, t.paused_by FROM service_ops.background_task t WHERE t.paused)
SELECT (SELECT coalesce(json_agg(o), '[]') FROM others o) AS others,
       (SELECT coalesce(json_agg(p), '[]') FROM paused p) AS paused,
       (SELECT hashtextextended('tidemark:sentinel:' || $2::uuid, 0) = ANY (held.keys) FROM held) AS sentinel_held;

-- name: others
-- $1 this instance. Every other instance that has not said that it stopped, with what can be seen of its life.
WITH held AS MATERIALIZED (
  SELECT coalesce(array_agg((l.classid::bigint << 32) | l.objid::bigint), '{}') AS keys
    FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))
SELECT i.instance_id, i.sentinel, i.last_seen_at::text AS last_seen_at,
       hashtextextended('tidemark:sentinel:' || i.holder, 0) = ANY (held.keys) AS sentinel_held,
       pg_postmaster_start_time()::text AS boot
  FROM service_ops.runner_instance i CROSS JOIN held
 WHERE i.state <> 'stopped' AND i.instance_id <> $1;

-- name: mark_stopped
-- $1 instance, $2 its last_seen_at as it was judged: one that moved since is alive.
UPDATE service_ops.runner_instance SET state = 'stopped'
 WHERE instance_id = $1 AND last_seen_at = $2::timestamptz AND state <> 'stopped';

-- name: silent
-- $1 instance, $2 its last_seen_at as it was judged. No row: its record has moved, or somebody has it locked, so that it
-- could write no heartbeat and its silence proves nothing. An UPDATE that changes nothing, so that a lock on the whole
-- table is an error here as it is there.
WITH free AS MATERIALIZED (
  SELECT i.instance_id FROM service_ops.runner_instance i
   WHERE i.instance_id = $1 AND i.last_seen_at = $2::timestamptz FOR NO KEY UPDATE SKIP LOCKED)
UPDATE service_ops.runner_instance i SET state = i.state FROM free WHERE i.instance_id = free.instance_id
RETURNING i.instance_id;

-- name: forget_stopped
-- $1 how long a stopped instance is remembered.
DELETE FROM service_ops.runner_instance WHERE state = 'stopped' AND last_seen_at < clock_timestamp() - $1::interval;

-- name: end_former
-- $1 application name, $2 how long ago. Ends this instance's own backends that are older: an outage cut them off, and
-- nobody else would end them, or their transactions, for a long time.
SELECT count(pg_terminate_backend(a.pid)) AS ended FROM pg_catalog.pg_stat_activity a
 WHERE a.application_name = $1 AND a.usename = current_user AND a.datname = current_database()
   AND a.pid <> pg_backend_pid() AND a.backend_start < clock_timestamp() - $2::interval;

-- name: end_transactions
-- $1 application name. Ends the backends of a frozen or dead instance that are in a transaction: they lock the rows of its
-- messages. Its idle ones are spared, the sentinel's among them, which tells that it is frozen and not dead.
SELECT count(pg_terminate_backend(a.pid)) AS ended FROM pg_catalog.pg_stat_activity a
 WHERE a.application_name = $1 AND a.usename = current_user AND a.datname = current_database()
   AND a.xact_start IS NOT NULL AND a.pid <> pg_backend_pid();
