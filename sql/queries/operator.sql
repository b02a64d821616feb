-- What a person at a terminal does with messages: `tidemark inbox list|show|retry|discard`.
--
-- `matching` is the condition that all of them share; it is put in the place of their :"matching". $1 ids, $2 sources, $3
-- statuses, $4 trace, $5 class or SQLSTATE of the error, $6 taken in since, $7 the same as milliseconds ago; NULL: any.
-- These statements have no name on the wire, so each is planned with its values: what is NULL falls out of the plan, and
-- FAILED and DEAD alone, which always wait for something, are found by the small index of what waits.
--
-- `unread` tells a message that was taken in as DEAD because its source row could not be read: no payload, never
-- claimed, a reason.

-- name: matching
($1::bigint[] IS NULL OR m.inbox_id = ANY ($1::bigint[]))
   AND ($2::text[] IS NULL OR m.source = ANY ($2::text[]))
   AND ($3::text[] IS NULL OR m.status = ANY ($3::text[]))
   AND ($3::text[] IS NULL OR NOT $3::text[] <@ '{FAILED,DEAD}' OR m.next_attempt_at IS NOT NULL)
   AND ($4::text IS NULL OR m.trace_id = $4)
   AND ($5::text IS NULL OR split_part(m.last_error, ':', 1) = $5 OR starts_with(split_part(m.last_error, ': ', 2), '[' || $5 || ']'))
   AND ($6::timestamptz IS NULL OR m.created_at >= $6::timestamptz)
   AND ($7::double precision IS NULL OR m.created_at >= now() - $7::double precision * interval '1 ms')

-- name: unread
m.payload IS NULL AND m.claim = 0 AND m.last_error IS NOT NULL AND m.status IN ('DEAD', 'DISCARDED')

-- name: list
-- $8 older than this number, $9 at most.
SELECT m.inbox_id::double precision AS inbox_id, m.source, m.message_id, m.status, m.attempts, m.max_attempts,
       round(extract(epoch FROM clock_timestamp() - m.created_at)::numeric, 1)::double precision AS age_seconds, m.last_error AS error
  FROM service_ops.integration_inbox m
 WHERE ($8::bigint IS NULL OR m.inbox_id < $8::bigint) AND (:"matching")
 ORDER BY m.inbox_id DESC LIMIT $9::integer;

-- name: show
-- $8 older than this number, $9 at most, $10 with the payload. As JSON text: numbers and times are exact in it.
SELECT m.inbox_id, row_to_json(r)::text AS document, CASE WHEN $10::boolean THEN m.payload::text END AS payload
  FROM service_ops.integration_inbox m
 CROSS JOIN LATERAL (
       SELECT m.inbox_id, m.source, m.message_id, m.status, m.attempts, m.max_attempts, m.interruptions, m.interruptions_in_a_row, m.suspect, m.claim, m.group_key,
              m.trace_id, m.traceparent, m.last_error, m.next_attempt_at, m.locked_by, m.locked_at, m.source_created_at,
              m.created_at, m.updated_at, m.processed_at) r
 WHERE ($8::bigint IS NULL OR m.inbox_id < $8::bigint) AND (:"matching")
 ORDER BY m.inbox_id DESC LIMIT $9::integer;

-- name: count
-- What the filter finds, before anything is done to it.
SELECT m.status, count(*)::integer AS found, (count(*) FILTER (WHERE :"unread"))::integer AS unread
  FROM service_ops.integration_inbox m
 WHERE :"matching"
 GROUP BY m.status;

-- name: unknown
-- $1 ids. Those that no message has.
SELECT u.id::text AS id FROM unnest($1::bigint[]) u(id)
 WHERE NOT EXISTS (SELECT FROM service_ops.integration_inbox m WHERE m.inbox_id = u.id)
 ORDER BY u.id;

-- name: candidates
-- $8 after this number, $9 at most, $10 statuses that can be changed, $11 also those that could not be read. In order of
-- number, and many at once: whatever plan the filter gets, it is paid for once in as many messages.
SELECT m.inbox_id::text AS inbox_id
  FROM service_ops.integration_inbox m
 WHERE m.inbox_id > $8::bigint AND m.status = ANY ($10::text[]) AND (:"matching") AND ($11::boolean OR NOT (:"unread"))
 ORDER BY m.inbox_id LIMIT $9::integer;

-- name: retry
-- $1 candidates, and the filter again, since they may have changed. Claimable now, as if it had never been tried, but a
-- suspect stays one: what has ended a process may do so again, and must have nothing beside it. next_attempt_at is what
-- makes it findable below the low-water mark. Rows are locked in order of number, and one that somebody else holds is
-- left alone. `claim` stays: an outcome of an earlier owner can never fit.
WITH mine AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.status IN ('DEAD', 'FAILED', 'DISCARDED') AND (:"matching")
   ORDER BY m.inbox_id FOR UPDATE SKIP LOCKED),
changed AS (
  UPDATE service_ops.integration_inbox m
     SET status = 'NEW', attempts = 0, interruptions_in_a_row = 0, next_attempt_at = now(), processed_at = NULL,
         locked_by = NULL, locked_at = NULL, updated_at = clock_timestamp()
   WHERE m.inbox_id = ANY (ARRAY(SELECT mine.inbox_id FROM mine))
  RETURNING m.source)
SELECT (SELECT count(*)::integer FROM changed) AS changed, ARRAY(SELECT DISTINCT changed.source FROM changed) AS sources;

-- name: discard
-- $1 candidates, and the filter again. Finished without a handler.
WITH mine AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.status IN ('NEW', 'FAILED', 'DEAD') AND (:"matching")
   ORDER BY m.inbox_id FOR UPDATE SKIP LOCKED),
changed AS (
  UPDATE service_ops.integration_inbox m
     SET status = 'DISCARDED', processed_at = clock_timestamp(), next_attempt_at = NULL, locked_by = NULL, locked_at = NULL,
         updated_at = clock_timestamp()
   WHERE m.inbox_id = ANY (ARRAY(SELECT mine.inbox_id FROM mine))
  RETURNING m.source)
SELECT (SELECT count(*)::integer FROM changed) AS changed, ARRAY(SELECT DISTINCT changed.source FROM changed) AS sources;
