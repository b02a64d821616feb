-- What the dashboard's page of messages asks. Every statement is bounded, whatever the inbox holds: what an index finds is found
-- by it, everything else by walking down the primary key, a number of rows at a time (http/dashboard/walk.ts). No index is added
-- for people who look: one that mentions status, locked_by or claim would make every claim and outcome a non-HOT update.
--
-- `matching` is the condition that all of them share. $1 sources, $2 statuses, $3 group key, $4 class or SQLSTATE of the newest
-- error, $5 $6 taken in from then on, and before then; NULL: any. `listed` is what is shown of a message. `mine` is how a
-- message is found by something of its own: $7 the text that was asked for, $8 the same as a number, where it is one.

-- name: matching
($1::text[] IS NULL OR m.source = ANY ($1::text[]))
   AND ($2::text[] IS NULL OR m.status = ANY ($2::text[]))
   AND ($3::text IS NULL OR m.group_key = $3)
   AND ($4::text IS NULL OR split_part(m.last_error, ':', 1) = $4 OR starts_with(split_part(m.last_error, ': ', 2), '[' || $4 || ']'))
   AND ($5::timestamptz IS NULL OR m.created_at >= $5::timestamptz)
   AND ($6::timestamptz IS NULL OR m.created_at < $6::timestamptz)

-- name: listed
m.inbox_id, m.source, m.message_id, m.status, m.group_key, m.attempts, m.max_attempts, m.trace_id, m.last_error,
       m.created_at, m.source_created_at, m.processed_at, m.next_attempt_at, m.locked_by

-- name: walk
-- $7 below this number, $8 not below this one, $9 so many rows are looked at, $10 found at most. Always one row: how far down
-- it looked, and what it found. CASE: by the primary key, whatever the statistics say.
WITH low AS MATERIALIZED (
  SELECT coalesce((SELECT b.inbox_id FROM service_ops.integration_inbox b
                    WHERE b.inbox_id < $7::bigint AND b.inbox_id >= $8::bigint
                    ORDER BY b.inbox_id DESC OFFSET $9::integer LIMIT 1), $8::bigint) AS reached)
SELECT (SELECT l.reached::text FROM low l) AS reached,
       (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.inbox_id DESC), '[]')
          FROM (SELECT :"listed" FROM service_ops.integration_inbox m
                 WHERE m.inbox_id < $7::bigint AND m.inbox_id >= (SELECT l.reached FROM low l)
                   AND CASE WHEN :"matching" THEN true ELSE false END
                 ORDER BY m.inbox_id DESC LIMIT $10::integer) f) AS rows;

-- name: waiting
-- $7 below this number, $8 found at most, $9 so many that wait are looked at. What failed or was given up has its place in the
-- small index of what waits. `many`: it holds more than that, and something else has to find them. In the index's order, or a
-- plan might read the whole table to find the first of them.
WITH w AS MATERIALIZED (
  SELECT :"listed" FROM service_ops.integration_inbox m
   WHERE m.next_attempt_at IS NOT NULL
   ORDER BY m.source, m.next_attempt_at LIMIT $9::integer + 1)
SELECT (SELECT count(*) > $9::integer FROM w) AS many,
       (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.inbox_id DESC), '[]')
          FROM (SELECT m.* FROM w m WHERE m.inbox_id < $7::bigint AND :"matching" ORDER BY m.inbox_id DESC LIMIT $8::integer) f) AS rows;

-- name: find
-- $7 a trace, a message id or a number, $8 the number, $9 below this number, $10 found at most. Each by its own index; a message
-- id without its source is looked for under every source that the inbox has, which are few.
WITH RECURSIVE s(source) AS (
  (SELECT m.source FROM service_ops.integration_inbox m ORDER BY m.source LIMIT 1)
  UNION ALL
  SELECT (SELECT m.source FROM service_ops.integration_inbox m WHERE m.source > s.source ORDER BY m.source LIMIT 1) FROM s WHERE s.source IS NOT NULL),
mine AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m WHERE m.inbox_id = $8::bigint
  UNION
  SELECT m.inbox_id FROM s JOIN service_ops.integration_inbox m ON m.source = s.source AND m.message_id = $7::text
  UNION
  (SELECT m.inbox_id FROM service_ops.integration_inbox m WHERE m.trace_id = $7::text LIMIT 10000))
SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.inbox_id DESC), '[]') AS rows
  FROM (SELECT :"listed" FROM service_ops.integration_inbox m
         WHERE m.inbox_id = ANY (ARRAY(SELECT mine.inbox_id FROM mine)) AND m.inbox_id < $9::bigint AND :"matching"
         ORDER BY m.inbox_id DESC LIMIT $10::integer) f;

-- name: sources
-- Every source that the inbox has, by jumping along its index, and the number at or below which nothing fresh of it is open.
WITH RECURSIVE s(source) AS (
  (SELECT m.source FROM service_ops.integration_inbox m ORDER BY m.source LIMIT 1)
  UNION ALL
  SELECT (SELECT m.source FROM service_ops.integration_inbox m WHERE m.source > s.source ORDER BY m.source LIMIT 1) FROM s WHERE s.source IS NOT NULL)
SELECT s.source, coalesce(w.low, 0)::text AS low
  FROM s LEFT JOIN service_ops.inbox_low_water w USING (source) WHERE s.source IS NOT NULL
 ORDER BY s.source;

-- name: numbered
-- $1 a time. The first number from which on messages were taken in then or later, by halving. Numbers are given in the order of
-- arrival but for transactions that were open at that time, so whoever asks leaves room around it.
WITH RECURSIVE ends AS (
  SELECT coalesce(min(m.inbox_id), 0) AS lo, coalesce(max(m.inbox_id), 0) + 1 AS hi FROM service_ops.integration_inbox m),
h(lo, hi) AS (
  SELECT e.lo, e.hi FROM ends e
  UNION ALL
  SELECT CASE WHEN r.inbox_id < h.hi AND r.created_at < $1::timestamptz THEN r.inbox_id + 1 ELSE h.lo END,
         CASE WHEN r.inbox_id < h.hi AND r.created_at < $1::timestamptz THEN h.hi ELSE (h.lo + h.hi) / 2 END
    FROM h LEFT JOIN LATERAL (
         SELECT m.inbox_id, m.created_at FROM service_ops.integration_inbox m
          WHERE m.inbox_id >= (h.lo + h.hi) / 2 ORDER BY m.inbox_id LIMIT 1) r ON true
   WHERE h.lo < h.hi)
SELECT max(h.lo)::text AS first FROM h;

-- name: errors
-- $1 so many that wait are looked at, $2 classes at most. Why messages failed, the most frequent first.
WITH w AS MATERIALIZED (
  SELECT m.source, m.status, m.last_error, m.created_at FROM service_ops.integration_inbox m
   WHERE m.next_attempt_at IS NOT NULL ORDER BY m.source, m.next_attempt_at LIMIT $1::integer)
SELECT split_part(w.last_error, ':', 1) AS class, count(*)::integer AS messages, (count(*) FILTER (WHERE w.status = 'DEAD'))::integer AS dead
  FROM w WHERE w.status IN ('FAILED', 'DEAD') AND w.last_error IS NOT NULL
 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $2::integer;

-- name: message
-- $1 its number, $2 whether its payload may be shown, $3 characters of that at most. The payload of a large message is cut here,
-- so that it is not carried to whoever only looks.
SELECT to_jsonb(r) || jsonb_build_object('age_seconds', round(extract(epoch FROM clock_timestamp() - m.created_at)::numeric, 1),
                                         'source_table', t.source_table) AS message,
       length(m.payload::text) AS length,
       CASE WHEN $2::boolean AND length(m.payload::text) <= $3::integer THEN jsonb_pretty(m.payload)
            WHEN $2::boolean THEN left(m.payload::text, $3::integer) END AS payload
  FROM service_ops.integration_inbox m
  LEFT JOIN service_ops.background_task t ON t.task_name = m.source AND t.kind = 'poller'
 CROSS JOIN LATERAL (
       SELECT m.inbox_id, m.source, m.message_id, m.status, m.attempts, m.max_attempts, m.interruptions, m.interruptions_in_a_row, m.suspect,
              m.claim, m.group_key, m.trace_id, m.traceparent, m.last_error, m.next_attempt_at, m.locked_by, m.locked_at, m.source_created_at,
              m.created_at, m.updated_at, m.processed_at) r
 WHERE m.inbox_id = $1::bigint;
