-- Plans must not depend on statistics here: an inbox may hold a million finished rows and never have been analyzed, and
-- what is open changes faster than any ANALYZE. So the columns that say what is open are compared inside a CASE, which
-- no index can serve and no histogram can estimate, and limits stand as plain parameters, which the planner may read.
--
-- What is in work with locked_at NULL was claimed ahead, and attempts does not count its claim yet (process/ahead.ts).
--
-- Whatever ends a claim otherwise than DONE writes that down in message_attempt, in the same statement: `ended` has the rows,
-- and :"attempts" stands for the rest (attempt.sql). What is DONE writes nothing there.

-- name: claim
-- $1 sources, $2 instance, $3 messages at most, $4 low-water mark, $5 attempts a message has, $6 bytes at most, $7 ahead: more than
-- can begin at once, so the attempt is counted later (process/ahead.ts), $8 the claim must outlive a crash of the server.
-- What waits comes first and by its own small index (statement_timestamp() can be a bound of it, clock_timestamp() only a
-- filter over everything that waits, DEAD messages too); what is fresh by the primary key from the low-water mark on.
-- The outer LIMIT stops the inner one early, so that nothing is locked that is not taken. The first message always fits,
-- so one that is larger than the bound still gets its turn. pg_column_size is what a payload takes on disk, compressed as
-- it may be, to a hundredth; #> '{}' gives the same value back as it is in memory, without walking through it. Smaller
-- ones are not worth that: what is claimed of them is small even when it is unpacked. Suspects are left to
-- claim_suspect; they always wait.
WITH w AS MATERIALIZED (        -- source by source, in the order of the index: = ANY would sort everything that waits
  SELECT x.inbox_id, x.bytes
    FROM unnest($1::text[]) s(source)
   CROSS JOIN LATERAL (
         SELECT m.inbox_id, CASE WHEN pg_column_size(m.payload) > 8192 THEN pg_column_size(m.payload #> '{}') ELSE pg_column_size(m.payload) END AS bytes FROM service_ops.integration_inbox m
          WHERE m.source = s.source AND m.next_attempt_at <= statement_timestamp()
            AND CASE WHEN m.status IN ('NEW', 'FAILED') AND NOT m.suspect THEN true ELSE false END
          ORDER BY m.next_attempt_at LIMIT $3::integer FOR UPDATE SKIP LOCKED) x
   LIMIT $3::integer),
f AS MATERIALIZED (
  SELECT g.inbox_id, g.bytes
    FROM (SELECT m.inbox_id, CASE WHEN pg_column_size(m.payload) > 8192 THEN pg_column_size(m.payload #> '{}') ELSE pg_column_size(m.payload) END AS bytes FROM service_ops.integration_inbox m
           WHERE m.inbox_id > $4::bigint
             AND CASE WHEN m.status = 'NEW' AND m.next_attempt_at IS NULL AND m.source = ANY ($1::text[]) THEN true ELSE false END
           ORDER BY m.inbox_id LIMIT $3::integer FOR UPDATE SKIP LOCKED) g
   LIMIT $3::integer - (SELECT count(*) FROM w)::integer),
fit AS MATERIALIZED (
  SELECT b.inbox_id
    FROM (SELECT g.inbox_id, sum(g.bytes) OVER (ORDER BY g.turn, g.inbox_id) - coalesce(g.bytes, 0) AS before
            FROM (SELECT 0 AS turn, * FROM w UNION ALL SELECT 1, * FROM f) g) b
   WHERE coalesce(b.before, 0) < $6::bigint)
UPDATE service_ops.integration_inbox m
   SET status = 'PROCESSING', claim = m.claim + 1, attempts = m.attempts + ($7::boolean IS FALSE)::integer, max_attempts = greatest($5::integer, m.attempts + 1),
       locked_at = CASE WHEN NOT $7::boolean THEN clock_timestamp() END, updated_at = clock_timestamp(),
       locked_by = CASE WHEN $8::boolean OR (SELECT set_config('synchronous_commit', 'off', true)) = 'off' THEN $2 END
 WHERE m.inbox_id = ANY (ARRAY(SELECT fit.inbox_id FROM fit))
RETURNING m.inbox_id, m.source, m.message_id, m.payload, m.group_key, m.claim, m.attempts + (m.locked_at IS NULL)::integer AS attempts, m.max_attempts, m.trace_id,
          m.next_attempt_at IS NULL AS fresh, m.interruptions_in_a_row,
          to_char(m.source_created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS source_created_at,
          -- An infinite time has no age, and PostgreSQL before 17 cannot even subtract it.
          extract(epoch FROM clock_timestamp() - CASE WHEN isfinite(m.source_created_at) THEN m.source_created_at ELSE m.created_at END) * 1000 AS age_ms;

-- name: claim_suspect
-- $1 sources, $2 instance, $3 attempts a message has. One message that may have ended the process that had it.
UPDATE service_ops.integration_inbox m
   SET status = 'PROCESSING', claim = m.claim + 1, attempts = m.attempts + 1, max_attempts = greatest($3::integer, m.attempts + 1),
       locked_by = $2, locked_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE m.inbox_id = ANY (ARRAY(
       SELECT x.inbox_id
         FROM unnest($1::text[]) s(source)
        CROSS JOIN LATERAL (
              SELECT m.inbox_id FROM service_ops.integration_inbox m
               WHERE m.source = s.source AND m.next_attempt_at <= statement_timestamp() AND m.suspect
                 AND CASE WHEN m.status IN ('NEW', 'FAILED') THEN true ELSE false END
               ORDER BY m.next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED) x
        LIMIT 1))
RETURNING m.inbox_id, m.source, m.message_id, m.payload, m.group_key, m.claim, m.attempts, m.max_attempts, m.trace_id,
          m.next_attempt_at IS NULL AS fresh, m.interruptions_in_a_row,
          to_char(m.source_created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS source_created_at,
          extract(epoch FROM clock_timestamp() - CASE WHEN isfinite(m.source_created_at) THEN m.source_created_at ELSE m.created_at END) * 1000 AS age_ms;

-- name: still_ours
-- $1 ids, $2 claims. Those of our claims that nobody has taken from us: a claim's number is never used twice, so with the
-- number unchanged it is ours while in work, and was ours to the end when it is done (a COMMIT whose answer is on its way).
SELECT m.inbox_id
  FROM service_ops.integration_inbox m
  JOIN (SELECT u.* FROM unnest($1::bigint[], $2::integer[]) u(inbox_id, claim) OFFSET 0) o ON m.inbox_id = o.inbox_id AND m.claim = o.claim
 WHERE m.inbox_id = ANY (ARRAY(SELECT unnest($1::bigint[])))
   AND CASE WHEN m.status IN ('PROCESSING', 'DONE') THEN true ELSE false END;

-- name: begun
-- $1 instance, $2 ids, $3 claims. Handlers of messages claimed ahead have begun and run on: their attempts count from here on.
UPDATE service_ops.integration_inbox m
   SET attempts = m.attempts + 1, locked_at = clock_timestamp(), updated_at = clock_timestamp()
  FROM (SELECT u.*, CASE WHEN (SELECT set_config('synchronous_commit', 'off', true)) = 'off' THEN $1::text END AS owner, 'PROCESSING' AS status
          FROM unnest($2::bigint[], $3::integer[]) u(inbox_id, claim) OFFSET 0) o
 WHERE m.inbox_id = ANY (ARRAY(SELECT unnest($2::bigint[])))
   AND m.inbox_id = o.inbox_id AND m.claim = o.claim AND m.locked_by = o.owner AND m.status = o.status AND m.locked_at IS NULL
RETURNING m.inbox_id;

-- name: done
-- $1 instance, $2 ids, $3 claims. Written only where the claim is still ours; locked_by stays, and tells who did it.
-- In this, the one before and the next two statements, rows
-- are found by the primary key alone (the planner takes an ARRAY(SELECT …) for ten values, an index's work whatever the
-- statistics say), and the owner is compared as a column of the arrays: as constants, locked_by and status let it expect
-- one row and compare all pairs (183 ms for 1,000 outcomes, against 5).
WITH written AS (
UPDATE service_ops.integration_inbox m
   SET status = 'DONE', processed_at = clock_timestamp(), updated_at = clock_timestamp(), locked_at = NULL,
       next_attempt_at = NULL, last_error = NULL, attempts = m.attempts + (m.locked_at IS NULL)::integer
  FROM (SELECT u.*, $1::text AS owner, 'PROCESSING' AS status
          FROM unnest($2::bigint[], $3::integer[]) u(inbox_id, claim) OFFSET 0) o
 WHERE m.inbox_id = ANY (ARRAY(SELECT unnest($2::bigint[])))
   AND m.inbox_id = o.inbox_id AND m.claim = o.claim AND m.locked_by = o.owner AND m.status = o.status
RETURNING m.inbox_id)
SELECT count(*) = cardinality($2::bigint[]) AS all_of_them,       -- nearly always, and a row each is a microsecond of each
       CASE WHEN count(*) < cardinality($2::bigint[]) THEN coalesce(array_agg(written.inbox_id::text), '{}') END AS inbox_ids
  FROM written;

-- name: done_first
-- $1 instance, $2 id, $3 claim, $4 how long its session may be idle from here on. The first statement of a handler's transaction; also
-- tells which backend has it.
UPDATE service_ops.integration_inbox m
   SET status = 'DONE', processed_at = clock_timestamp(), updated_at = clock_timestamp(), locked_at = NULL,
       next_attempt_at = NULL, last_error = NULL, attempts = m.attempts + (m.locked_at IS NULL)::integer
 WHERE m.inbox_id = $2::bigint AND CASE WHEN m.claim = $3::integer AND m.locked_by = $1 AND m.status = 'PROCESSING' THEN true ELSE false END
RETURNING pg_backend_pid() AS pid, extract(epoch FROM now())::text AS since, set_config('idle_in_transaction_session_timeout', $4, true);

-- name: failed
-- $1 instance, $2 ids, $3 claims, $4 errors, $5 waits in milliseconds, $6 whether it is no use to try again. That, or the
-- last attempt, makes it DEAD, which waits for ever. $7 and $8 how long ago the handler began and ended, in milliseconds.
-- A handler that ended by itself has not ended its process.
WITH written AS (
UPDATE service_ops.integration_inbox m
   SET status = CASE WHEN o.final OR m.attempts + (m.locked_at IS NULL)::integer >= m.max_attempts THEN 'DEAD' ELSE 'FAILED' END,
       next_attempt_at = CASE WHEN o.final OR m.attempts + (m.locked_at IS NULL)::integer >= m.max_attempts THEN timestamptz 'infinity'
                              ELSE clock_timestamp() + o.wait_ms * interval '1 ms' END,
       last_error = o.error, updated_at = clock_timestamp(), locked_by = NULL, locked_at = NULL,
       interruptions_in_a_row = 0, suspect = false, attempts = m.attempts + (m.locked_at IS NULL)::integer
  FROM (SELECT u.*, $1::text AS owner, 'PROCESSING' AS status
          FROM unnest($2::bigint[], $3::integer[], $4::text[], $5::double precision[], $6::boolean[], $7::double precision[], $8::double precision[])
               u(inbox_id, claim, error, wait_ms, final, began_ms, ended_ms) OFFSET 0) o
 WHERE m.inbox_id = ANY (ARRAY(SELECT unnest($2::bigint[])))
   AND m.inbox_id = o.inbox_id AND m.claim = o.claim AND m.locked_by = o.owner AND m.status = o.status
RETURNING m.inbox_id, m.status, m.claim, m.attempts, o.error, o.began_ms, o.ended_ms),
ended AS MATERIALIZED (
  SELECT w.inbox_id, w.claim, w.attempts AS attempt, clock_timestamp() - w.began_ms * interval '1 ms' AS started_at,
         clock_timestamp() - coalesce(w.ended_ms, 0) * interval '1 ms' AS ended_at, lower(w.status) AS outcome, w.error
    FROM written w),
:"attempts"
SELECT w.inbox_id, w.status FROM written w;

-- name: give_back
-- $1 instance, $2 ids, $3 claims, $4 waits in milliseconds, $5 whether each interruption counts among those in a row, $6 how
-- many of these make an attempt, $7 errors to be kept, or NULL, $8 why each was interrupted, $9 and $10 how long ago the
-- handler began (NULL: it did not) and ended, in milliseconds. Through no fault of the message: the attempt is given back,
-- the claim number is not. But what is interrupted again and again may be what interrupts.
WITH written AS (
UPDATE service_ops.integration_inbox m
   SET status = CASE WHEN m.interruptions_in_a_row + o.counts < $6::integer THEN CASE WHEN m.attempts + (m.locked_at IS NULL)::integer <= 1 THEN 'NEW' ELSE 'FAILED' END
                     WHEN m.attempts + (m.locked_at IS NULL)::integer >= m.max_attempts THEN 'DEAD' ELSE 'FAILED' END,
       attempts = CASE WHEN m.interruptions_in_a_row + o.counts < $6::integer THEN greatest(m.attempts - (m.locked_at IS NOT NULL)::integer, 0)
                       ELSE m.attempts + (m.locked_at IS NULL)::integer END,
       interruptions = m.interruptions + 1,
       interruptions_in_a_row = (m.interruptions_in_a_row + o.counts) % $6::integer,
       next_attempt_at = CASE WHEN m.interruptions_in_a_row + o.counts >= $6::integer AND m.attempts + (m.locked_at IS NULL)::integer >= m.max_attempts
                              THEN timestamptz 'infinity' ELSE clock_timestamp() + o.wait_ms * interval '1 ms' END,
       last_error = CASE WHEN m.interruptions_in_a_row + o.counts < $6::integer THEN coalesce(o.error, m.last_error)
                         ELSE 'Interrupted: ' || $6::integer || ' times in a row, which counts as one attempt' END,
       updated_at = clock_timestamp(), locked_by = NULL, locked_at = NULL
  FROM (SELECT u.inbox_id, u.claim, u.wait_ms, u.counts::integer AS counts, u.error, u.reason, u.began_ms, u.ended_ms, $1::text AS owner, 'PROCESSING' AS status
          FROM unnest($2::bigint[], $3::integer[], $4::double precision[], $5::boolean[], $7::text[], $8::text[], $9::double precision[], $10::double precision[])
               u(inbox_id, claim, wait_ms, counts, error, reason, began_ms, ended_ms) OFFSET 0) o
 WHERE m.inbox_id = ANY (ARRAY(SELECT unnest($2::bigint[])))
   AND m.inbox_id = o.inbox_id AND m.claim = o.claim AND m.locked_by = o.owner AND m.status = o.status
RETURNING m.inbox_id, m.status, m.claim, m.attempts, o.counts = 1 AND m.interruptions_in_a_row = 0 AS counted, o.error, o.reason, o.began_ms, o.ended_ms),
ended AS MATERIALIZED (
  SELECT w.inbox_id, w.claim, w.attempts + (NOT w.counted)::integer AS attempt, clock_timestamp() - w.began_ms * interval '1 ms' AS started_at,
         clock_timestamp() - coalesce(w.ended_ms, 0) * interval '1 ms' AS ended_at,
         CASE w.status WHEN 'DEAD' THEN 'dead' ELSE 'interrupted' END AS outcome,
         concat_ws(': ', 'Interrupted', w.reason, w.error) || CASE WHEN w.counted THEN ', ' || $6::integer || ' times in a row, which counts as one attempt' ELSE '' END AS error
    FROM written w),
:"attempts"
SELECT w.inbox_id, w.status, w.counted FROM written w;

-- name: locked
-- $1 ids. Those whose rows somebody else has locked at this moment: an outcome would wait for them.
WITH free AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.inbox_id = ANY (ARRAY(SELECT unnest($1::bigint[]))) FOR UPDATE SKIP LOCKED)
SELECT m.inbox_id FROM service_ops.integration_inbox m
 WHERE m.inbox_id = ANY (ARRAY(SELECT unnest($1::bigint[]))) AND NOT m.inbox_id = ANY (ARRAY(SELECT free.inbox_id FROM free));

-- name: give_back_strays
-- $1 instance, $2 sources, $3 settled mark, $4 messages that it knows of. What it has claimed without knowing, because the
-- answer was lost, comes back like what is given back. No handler has begun with it, so it counts against nothing.
WITH r AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.inbox_id > $3::bigint AND m.source = ANY ($2::text[])
     AND CASE WHEN m.locked_by = $1 AND m.status = 'PROCESSING' AND m.next_attempt_at IS NULL THEN true ELSE false END
   UNION ALL
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.source = ANY ($2::text[]) AND m.next_attempt_at < 'infinity'
     AND CASE WHEN m.locked_by = $1 AND m.status = 'PROCESSING' THEN true ELSE false END),
written AS (
UPDATE service_ops.integration_inbox m
   SET status = CASE WHEN m.attempts <= (m.locked_at IS NOT NULL)::integer THEN 'NEW' ELSE 'FAILED' END, attempts = greatest(m.attempts - (m.locked_at IS NOT NULL)::integer, 0),
       interruptions = m.interruptions + 1, next_attempt_at = clock_timestamp(), updated_at = clock_timestamp(),
       locked_by = NULL, locked_at = NULL
 WHERE m.inbox_id = ANY (ARRAY(SELECT r.inbox_id FROM r WHERE NOT r.inbox_id = ANY ($4::bigint[])))
   AND m.locked_by = $1 AND m.status = 'PROCESSING'
RETURNING m.inbox_id, m.claim, m.attempts),
ended AS MATERIALIZED (
  SELECT w.inbox_id, w.claim, w.attempts + 1 AS attempt, NULL::timestamptz AS started_at, clock_timestamp() AS ended_at, 'interrupted' AS outcome,
         'Interrupted: the answer of the claim was lost' AS error
    FROM written w),
:"attempts"
SELECT w.inbox_id FROM written w;

-- name: floor
-- The lowest low-water mark of any source that a processor of some instance takes, dead ones that are not cleared up
-- included: nothing fresh is in work at or below it. A processor that is gone for good must not hold it for ever.
SELECT coalesce(min(coalesce(w.low, 0)), 0) AS floor
  FROM (SELECT DISTINCT unnest(t.sources) AS source FROM service_ops.background_task t
         WHERE t.kind = 'processor'
           AND EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.state <> 'stopped' AND t.task_name = ANY (i.tasks))) s
  LEFT JOIN service_ops.inbox_low_water w USING (source);

-- name: reclaim
-- $1 dead instance, $2 rows at most, $3 true: it is frozen, not dead, $4 floor, $5 interruptions that make an attempt. What
-- it had comes back as suspect. The death of a process counts as an attempt of what it ran; a freeze is an interruption,
-- unless it met a suspect, which had nothing beside it: whatever blocks one event loop after another must come to an end.
-- It did not meet what was claimed when the heartbeat had long been still: whoever comes back after a silence can claim
-- before it beats, and is still judged by that silence. 5 s are more than two heartbeats.
-- What was claimed ahead had not begun as far as anybody knows, which counts against nothing; but it may have, a moment ago.
-- SKIP LOCKED: several may do this at once.
-- Here and below, what is in work again has a finite next_attempt_at: DEAD messages, the most of that index, are left out.
WITH r AS MATERIALIZED (
  SELECT m.inbox_id, m.suspect, m.locked_at, m.interruptions_in_a_row FROM service_ops.integration_inbox m
   WHERE m.inbox_id > $4::bigint
     AND CASE WHEN m.locked_by = $1 AND m.status = 'PROCESSING' AND m.next_attempt_at IS NULL THEN true ELSE false END
   ORDER BY m.inbox_id LIMIT $2::integer FOR UPDATE SKIP LOCKED),
q AS MATERIALIZED (
  SELECT m.inbox_id, m.suspect, m.locked_at, m.interruptions_in_a_row FROM service_ops.integration_inbox m
   WHERE m.next_attempt_at < 'infinity' AND CASE WHEN m.locked_by = $1 AND m.status = 'PROCESSING' THEN true ELSE false END
   ORDER BY m.source, m.next_attempt_at LIMIT $2::integer FOR UPDATE SKIP LOCKED),
silence AS MATERIALIZED (
  SELECT (SELECT i.last_seen_at FROM service_ops.runner_instance i WHERE i.instance_id = $1) + interval '5 seconds' AS since),
met AS MATERIALIZED (
  SELECT t.inbox_id, t.locked_at, t.locked_at IS NULL AS ahead, t.interruptions_in_a_row, t.suspect AND coalesce(t.locked_at <= s.since, true) AS by_suspect
    FROM (TABLE r UNION ALL TABLE q) t, silence s),
o AS MATERIALIZED (
  SELECT t.inbox_id, t.locked_at, t.by_suspect, t.ahead OR ($3::boolean AND NOT t.by_suspect AND t.interruptions_in_a_row + 1 < $5::integer) AS excused FROM met t),
written AS (
UPDATE service_ops.integration_inbox m
   SET status = CASE WHEN o.excused THEN CASE WHEN m.attempts + (m.locked_at IS NULL)::integer <= 1 THEN 'NEW' ELSE 'FAILED' END
                     WHEN m.attempts >= m.max_attempts THEN 'DEAD' ELSE 'FAILED' END,
       attempts = CASE WHEN o.excused THEN greatest(m.attempts - (m.locked_at IS NOT NULL)::integer, 0) ELSE m.attempts END,
       interruptions = m.interruptions + CASE WHEN $3::boolean OR m.locked_at IS NULL THEN 1 ELSE 0 END,
       interruptions_in_a_row = CASE WHEN m.locked_at IS NULL THEN m.interruptions_in_a_row WHEN o.excused THEN m.interruptions_in_a_row + 1 ELSE 0 END,
       suspect = true,
       next_attempt_at = CASE WHEN m.attempts >= m.max_attempts AND NOT o.excused THEN timestamptz 'infinity' ELSE clock_timestamp() END,
       last_error = CASE WHEN m.locked_at IS NULL THEN m.last_error
                         WHEN NOT $3::boolean THEN 'InstanceLost: the process ended while the handler ran'
                         WHEN o.excused THEN m.last_error
                         WHEN o.by_suspect THEN 'InstanceFrozen: the process stood still while the handler ran, again, and with nothing beside it'
                         ELSE 'Interrupted: ' || $5::integer || ' times in a row, which counts as one attempt' END,
       updated_at = clock_timestamp(), locked_by = NULL, locked_at = NULL
  FROM o
 WHERE m.inbox_id = ANY (ARRAY(SELECT o.inbox_id FROM o)) AND m.inbox_id = o.inbox_id
RETURNING m.inbox_id, m.claim, o.locked_at, o.excused, m.source, m.message_id, m.group_key, m.trace_id, m.status, m.attempts, m.max_attempts, coalesce(m.last_error, '') AS last_error,
          (SELECT true FROM service_ops.slot_limit l WHERE l.source = m.source AND l.group_key = left(m.group_key, 200)) IS NOT NULL AS had_slot),
ended AS MATERIALIZED (
  SELECT w.inbox_id, w.claim, w.attempts + w.excused::integer AS attempt, w.locked_at AS started_at, clock_timestamp() AS ended_at,
         CASE w.status WHEN 'DEAD' THEN 'dead' ELSE 'reclaimed' END AS outcome,
         CASE WHEN NOT w.excused THEN w.last_error
              ELSE CASE WHEN $3::boolean THEN 'InstanceFrozen: the process stood still ' ELSE 'InstanceLost: the process ended ' END
                   || CASE WHEN w.locked_at IS NULL THEN 'before the handler had begun, as far as is known' ELSE 'while the handler ran' END END AS error
    FROM written w),
:"attempts"
SELECT w.source, w.message_id, w.group_key, w.trace_id, w.status, w.attempts, w.max_attempts, w.last_error, w.had_slot FROM written w;

-- name: in_work_of
-- $1 instance, $2 floor. Whether anything of it is still in work, row locks or not. Not EXISTS, which drops the order
-- that leads to the index.
SELECT (SELECT true FROM service_ops.integration_inbox m
         WHERE m.next_attempt_at < 'infinity' AND CASE WHEN m.locked_by = $1 AND m.status = 'PROCESSING' THEN true ELSE false END
         ORDER BY m.source, m.next_attempt_at LIMIT 1) IS NOT NULL
    OR (SELECT true FROM service_ops.integration_inbox m
         WHERE m.inbox_id > $2::bigint
           AND CASE WHEN m.locked_by = $1 AND m.status = 'PROCESSING' AND m.next_attempt_at IS NULL THEN true ELSE false END
         ORDER BY m.inbox_id LIMIT 1) IS NOT NULL AS some;

-- name: owners
-- $1 floor. Every instance that has messages in work, no living row of its own and no session: for the look at start. A
-- table of instances that was dropped and made again lacks those that live, up to their next heartbeat.
SELECT DISTINCT o.locked_by AS instance_id
  FROM (SELECT m.locked_by FROM service_ops.integration_inbox m
         WHERE m.status = 'PROCESSING' AND m.next_attempt_at IS NULL AND m.inbox_id > $1::bigint
        UNION
        SELECT m.locked_by FROM service_ops.integration_inbox m
         WHERE m.status = 'PROCESSING' AND m.next_attempt_at < 'infinity') o
 WHERE NOT EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.instance_id = o.locked_by AND i.state <> 'stopped')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                    WHERE a.application_name = 'tidemark:' || o.locked_by AND a.datname = current_database());

-- name: in_work_elsewhere
-- $1 sources, $2 this instance, $3 low-water mark. A new exclusive leader claims nothing while this is true.
SELECT (SELECT true FROM service_ops.integration_inbox m
         WHERE m.next_attempt_at < 'infinity'
           AND CASE WHEN m.status = 'PROCESSING' AND m.locked_by <> $2 AND m.source = ANY ($1::text[]) THEN true ELSE false END
         ORDER BY m.source, m.next_attempt_at LIMIT 1) IS NOT NULL
    OR (SELECT true FROM service_ops.integration_inbox m
         WHERE m.inbox_id > $3::bigint
           AND CASE WHEN m.status = 'PROCESSING' AND m.locked_by <> $2 AND m.source = ANY ($1::text[]) AND m.next_attempt_at IS NULL
                    THEN true ELSE false END
         ORDER BY m.inbox_id LIMIT 1) IS NOT NULL AS some;

-- name: refused_as
-- $1 poller, $2 id in the source. Under which id and trace a row was taken in as DEAD.
SELECT i.message_id, i.trace_id FROM service_ops.integration_inbox i WHERE i.source = $1 AND i.message_id = :"stored_id";

-- name: announce
-- $1 source. Tells every instance that fresh messages are there.
SELECT pg_notify('tidemark_inbox', $1);
