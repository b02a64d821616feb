-- Claims with slots; process/slots.ts tells why they are two statements in one transaction. Whoever has the lock of a
-- key's row in slot_limit, and nobody else, may claim messages of that key; rows are locked in order of key, and one that
-- somebody else has is left alone, so that nobody waits here.
-- As in inbox.sql, what changes fast stands inside a CASE, so that no plan depends on statistics. A message's key is the first
-- 200 characters of its group_key: an index takes no value of any length, and refuses the whole write.

-- name: enter_default
-- $1 sources, $2 slots of a key (NULL: no limit), $3 ordered. What the config says, for everybody who claims.
INSERT INTO service_ops.slot_limit AS l (source, group_key, default_slots, ordered)
SELECT s.source, '*', $2::integer, $3::boolean FROM unnest($1::text[]) s(source) ORDER BY s.source
ON CONFLICT (source, group_key) DO UPDATE SET default_slots = EXCLUDED.default_slots, ordered = EXCLUDED.ordered
 WHERE (l.default_slots, l.ordered) IS DISTINCT FROM (EXCLUDED.default_slots, EXCLUDED.ordered);

-- name: enter_keys
-- $1 source, $2 keys that were seen for the first time, or whose row was deleted: then what is in work still holds its slot.
INSERT INTO service_ops.slot_limit (source, group_key, held, held_claims, held_under)
SELECT $1, u.group_key, coalesce(h.ids, '{}'), coalesce(h.claims, '{}'), cardinality(h.ids)
  FROM unnest($2::text[]) u(group_key)
 CROSS JOIN LATERAL (
       SELECT array_agg(m.inbox_id ORDER BY m.inbox_id) AS ids, array_agg(m.claim ORDER BY m.inbox_id) AS claims
         FROM service_ops.integration_inbox m
        WHERE m.source = $1 AND left(m.group_key, 200) = u.group_key AND m.next_attempt_at IS NOT NULL
          AND CASE WHEN m.status = 'PROCESSING' THEN true ELSE false END) h
 WHERE NOT EXISTS (SELECT FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = u.group_key)    -- INSERT would wait for its claim
 ORDER BY u.group_key
ON CONFLICT (source, group_key) DO NOTHING;

-- name: line_up
-- $1 sources, $2 low-water mark, $3 messages at most. What came in before the source had slots, or by a release that does not know
-- them: from now on it is found by its key, and what is in work there counts when its key is entered. passed: some were
-- left out because somebody else has their rows locked.
WITH f AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.inbox_id > $2::bigint
     AND CASE WHEN m.status IN ('NEW', 'PROCESSING') AND m.next_attempt_at IS NULL AND m.source = ANY ($1::text[]) THEN true ELSE false END
   ORDER BY m.inbox_id LIMIT $3::integer FOR UPDATE SKIP LOCKED),
u AS (
  UPDATE service_ops.integration_inbox m SET next_attempt_at = statement_timestamp(), updated_at = clock_timestamp()
   WHERE m.inbox_id = ANY (ARRAY(SELECT f.inbox_id FROM f))
  RETURNING m.inbox_id)
SELECT count(*)::integer AS messages, max(u.inbox_id)::text AS last,
       (SELECT coalesce(max(m.inbox_id), 0)::text FROM service_ops.integration_inbox m) AS head,
       (SELECT true FROM service_ops.integration_inbox m
         WHERE m.inbox_id > $2::bigint
           AND CASE WHEN m.status IN ('NEW', 'PROCESSING') AND m.next_attempt_at IS NULL AND m.source = ANY ($1::text[]) THEN true ELSE false END
           AND m.inbox_id <= coalesce((SELECT max(f.inbox_id) FROM f HAVING count(*) = $3::integer), 9223372036854775807)
           AND NOT m.inbox_id = ANY (ARRAY(SELECT f.inbox_id FROM f))
         LIMIT 1) IS NOT NULL AS passed
  FROM u;

-- name: look_for_keys
-- $1 source, $2 after this key (NULL: from the first), $3 keys looked at, $4 keys locked at most. A walk from key to key, one probe each, by the first entry
-- that each has in an index; of keys that have something due and a slot free, by what can be seen without waiting, the rows
-- are locked. What is counted here is a hint.
WITH RECURSIVE d AS MATERIALIZED (
  SELECT l.max_slots, l.default_slots, l.paused, l.ordered FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = '*'),
k AS (
  ((SELECT left(m.group_key, 200) AS group_key, 1 AS n, :"first_may" AS first_may FROM service_ops.integration_inbox m
     WHERE $2::text IS NULL AND m.source = $1 AND left(m.group_key, 200) >= '' AND m.next_attempt_at IS NOT NULL
     ORDER BY :"order" LIMIT 1)
   UNION ALL
   (SELECT left(m.group_key, 200), 1, :"first_may" FROM service_ops.integration_inbox m
     WHERE m.source = $1 AND left(m.group_key, 200) > $2::text AND m.next_attempt_at IS NOT NULL
     ORDER BY :"order" LIMIT 1))
  UNION ALL
  SELECT x.group_key, k.n + 1, x.first_may
    FROM k CROSS JOIN LATERAL (
         SELECT left(m.group_key, 200) AS group_key, :"first_may" AS first_may FROM service_ops.integration_inbox m
          WHERE m.source = $1 AND left(m.group_key, 200) > k.group_key AND m.next_attempt_at IS NOT NULL
          ORDER BY :"order" LIMIT 1) x
   WHERE k.n < $3::integer),
wanted AS MATERIALIZED (       -- read one by one: the walk goes no further than this needs
  SELECT k.n, k.group_key, r.known
    FROM k LEFT JOIN LATERAL (
         SELECT true AS known, NOT l.paused AND (:"ready") AS may FROM service_ops.slot_limit l
          WHERE l.source = $1 AND l.group_key = k.group_key LIMIT 1) r ON true
   WHERE r.known IS NULL OR r.may
   LIMIT $4::integer),
got AS MATERIALIZED (
  SELECT l.group_key FROM service_ops.slot_limit l
   WHERE l.source = $1 AND l.group_key = ANY (ARRAY(SELECT w.group_key FROM wanted w WHERE w.known))
     AND NOT coalesce((SELECT d.paused FROM d), false)
   ORDER BY l.source, l.group_key FOR UPDATE SKIP LOCKED),
stopped AS MATERIALIZED (SELECT max(w.n) AS n FROM wanted w HAVING count(*) = $4::integer),
walked AS MATERIALIZED (SELECT k.n, k.group_key FROM k LIMIT coalesce((SELECT t.n FROM stopped t), $3::integer))
SELECT (SELECT count(*)::integer FROM walked) AS looked,
       (SELECT w.group_key FROM walked w ORDER BY w.n DESC LIMIT 1) AS last,
       (SELECT count(*) < $3::integer FROM walked) AND NOT EXISTS (SELECT FROM stopped) AS at_end,
       ARRAY(SELECT w.group_key FROM wanted w WHERE w.known IS NULL) AS unknown,
       ARRAY(SELECT g.group_key FROM got g) AS keys,
       (SELECT count(*)::integer FROM wanted w WHERE w.known) AS wanted,
       EXISTS (SELECT FROM d) AS has_default,
       coalesce((SELECT d.ordered FROM d), false) AS ordered,
       (SELECT true FROM service_ops.integration_inbox m
         WHERE m.source = $1 AND left(m.group_key, 200) IS NULL AND m.next_attempt_at <= statement_timestamp()
           AND CASE WHEN m.status IN ('NEW', 'FAILED') AND NOT m.suspect THEN true ELSE false END
         ORDER BY m.source, left(m.group_key, 200), m.next_attempt_at LIMIT 1) IS NOT NULL AS keyless;

-- name: first_may
-- Whether the entry at hand may be claimed.
m.status IN ('NEW', 'FAILED') AND m.next_attempt_at <= statement_timestamp() AND NOT m.suspect

-- name: by_turn
m.source, left(m.group_key, 200), m.next_attempt_at, m.inbox_id

-- name: in_order
m.source, left(m.group_key, 200), m.source_created_at, m.inbox_id

-- name: ready
-- Of a key: something is due, and what its newest claims took is fewer than its slots, or has ended in part.
(k.first_may OR EXISTS (
  SELECT FROM service_ops.integration_inbox m
   WHERE m.source = $1 AND left(m.group_key, 200) = k.group_key AND m.next_attempt_at <= statement_timestamp()
     AND CASE WHEN m.status IN ('NEW', 'FAILED') AND NOT m.suspect THEN true ELSE false END))
AND (cardinality(l.held) < coalesce(l.max_slots, (SELECT d.max_slots FROM d), (SELECT d.default_slots FROM d), 2147483647)
     OR (SELECT count(*) FROM unnest(l.held, l.held_claims) u(inbox_id, claim)
          CROSS JOIN LATERAL (SELECT FROM service_ops.integration_inbox i
                               WHERE i.inbox_id = u.inbox_id AND i.claim = u.claim AND i.status = 'PROCESSING' LIMIT 1) i)
        < coalesce(l.max_slots, (SELECT d.max_slots FROM d), (SELECT d.default_slots FROM d), 2147483647))

-- name: ready_in_order
-- Of a key: its first message is due, and none is in work. One that has come in late may be the first while a later one is.
k.first_may AND coalesce(l.max_slots, (SELECT d.max_slots FROM d), (SELECT d.default_slots FROM d), 1) > 0
AND NOT EXISTS (
  SELECT FROM unnest(l.held, l.held_claims) u(inbox_id, claim)
   CROSS JOIN LATERAL (SELECT FROM service_ops.integration_inbox i
                        WHERE i.inbox_id = u.inbox_id AND i.claim = u.claim AND i.status = 'PROCESSING' LIMIT 1) i)

-- name: claim
-- $1 source, $2 instance, $3 messages at most, $4 attempts a message has, $5 bytes at most, $6 keys whose rows we have locked, in order of
-- turn, $7 of messages without a key at most, $8 suspects. The second statement of its transaction: its snapshot has every claim that
-- anybody made under these locks. in_use: after this claim. Without the default row nobody knows the limits: nothing is claimed.
WITH d AS MATERIALIZED (
  SELECT l.max_slots, l.default_slots, l.paused FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = '*'),
k AS MATERIALIZED (
  SELECT u.turn, l.group_key, coalesce(l.max_slots, (SELECT d.max_slots FROM d), (SELECT d.default_slots FROM d)) AS most,
         coalesce(s.ids, '{}') AS ids, coalesce(s.claims, '{}') AS claims, coalesce(cardinality(s.ids), 0) AS in_use
    FROM unnest($6::text[]) WITH ORDINALITY u(group_key, turn)
   CROSS JOIN (SELECT FROM d) known
   CROSS JOIN LATERAL (
         SELECT l.* FROM service_ops.slot_limit l
          WHERE l.source = $1 AND l.group_key = u.group_key AND NOT l.paused AND NOT coalesce((SELECT d.paused FROM d), false) LIMIT 1) l
   CROSS JOIN LATERAL (
         SELECT array_agg(h.inbox_id) AS ids, array_agg(h.claim) AS claims
           FROM unnest(l.held, l.held_claims) h(inbox_id, claim)
          CROSS JOIN LATERAL (SELECT FROM service_ops.integration_inbox i
                               WHERE i.inbox_id = h.inbox_id AND i.claim = h.claim AND i.status = 'PROCESSING' LIMIT 1) i) s),
f AS MATERIALIZED (
  SELECT 0::bigint AS turn, m.inbox_id, m.claim, :"bytes" AS bytes
    FROM service_ops.integration_inbox m
   WHERE m.source = $1 AND left(m.group_key, 200) IS NULL AND m.next_attempt_at <= statement_timestamp()
     AND CASE WHEN m.status IN ('NEW', 'FAILED') AND m.suspect = $8::boolean THEN true ELSE false END
     AND EXISTS (SELECT FROM d) AND NOT coalesce((SELECT d.paused FROM d), false)
   ORDER BY m.source, left(m.group_key, 200), m.next_attempt_at, m.inbox_id LIMIT $7::integer FOR UPDATE SKIP LOCKED),
w AS MATERIALIZED (
  SELECT k.turn, x.inbox_id, x.claim, x.bytes
    FROM k CROSS JOIN LATERAL (:"pick") x
   LIMIT $3::integer - (SELECT count(*) FROM f)::integer),
fit AS MATERIALIZED (
  SELECT b.turn, b.inbox_id, b.claim + 1 AS claim
    FROM (SELECT g.turn, g.inbox_id, g.claim, sum(g.bytes) OVER (ORDER BY g.turn, g.inbox_id) - coalesce(g.bytes, 0) AS before
            FROM (TABLE f UNION ALL TABLE w) g) b
   WHERE coalesce(b.before, 0) < $5::bigint),
kept AS (                      -- every row of fit is locked, and so will be claimed under this number
  UPDATE service_ops.slot_limit l
     SET held = k.ids || n.ids, held_claims = k.claims || n.claims, held_under = :"most"
    FROM (SELECT t.turn, array_agg(t.inbox_id) AS ids, array_agg(t.claim) AS claims FROM fit t WHERE t.turn > 0 GROUP BY t.turn OFFSET 0) n
    JOIN k USING (turn)
   WHERE l.source = $1 AND l.group_key = ANY (ARRAY(SELECT u.group_key FROM k u WHERE u.turn IN (SELECT t.turn FROM fit t))) AND l.group_key = k.group_key
  RETURNING l.group_key, cardinality(l.held) AS in_use, l.held_under AS most),
took AS (
  UPDATE service_ops.integration_inbox m
     SET status = 'PROCESSING', claim = m.claim + 1, attempts = m.attempts + 1, max_attempts = greatest($4::integer, m.attempts + 1),
         locked_by = $2, locked_at = clock_timestamp(), updated_at = clock_timestamp()
   WHERE m.inbox_id = ANY (ARRAY(SELECT fit.inbox_id FROM fit))
  RETURNING m.inbox_id, m.source, m.message_id, m.payload, m.group_key, m.claim, m.attempts, m.max_attempts, m.trace_id, m.traceparent,
            false AS fresh, m.interruptions_in_a_row,
            to_char(m.source_created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS source_created_at,
            extract(epoch FROM clock_timestamp() - CASE WHEN isfinite(m.source_created_at) THEN m.source_created_at ELSE m.created_at END) * 1000 AS age_ms)
SELECT took.*, kept.group_key AS slot_key, kept.in_use, kept.most FROM took LEFT JOIN kept ON kept.group_key = left(took.group_key, 200);

-- name: bytes
-- See inbox.sql: what a payload takes in memory, to a hundredth.
CASE WHEN pg_column_size(m.payload) > 8192 THEN pg_column_size(m.payload #> '{}') ELSE pg_column_size(m.payload) END

-- name: pick
-- As many as there are free slots; NULL: no limit.
SELECT m.inbox_id, m.claim, :"bytes" AS bytes
  FROM service_ops.integration_inbox m
 WHERE m.source = $1 AND left(m.group_key, 200) = k.group_key AND m.next_attempt_at <= statement_timestamp()
   AND CASE WHEN m.status IN ('NEW', 'FAILED') AND m.suspect = $8::boolean THEN true ELSE false END
 ORDER BY m.source, left(m.group_key, 200), m.next_attempt_at, m.inbox_id
 LIMIT CASE WHEN k.most IS NOT NULL THEN greatest(k.most - k.in_use, 0) END FOR UPDATE SKIP LOCKED

-- name: pick_in_order
-- The first open message of the key, or none: it is found first and locked then, since SKIP LOCKED would go on to the next. Everything
-- open has next_attempt_at set, what is in work, FAILED and DEAD as well.
SELECT m.inbox_id, m.claim, :"bytes" AS bytes
  FROM (SELECT h.inbox_id FROM service_ops.integration_inbox h
         WHERE h.source = $1 AND left(h.group_key, 200) = k.group_key AND h.next_attempt_at IS NOT NULL
         ORDER BY h.source, left(h.group_key, 200), h.source_created_at, h.inbox_id LIMIT 1) h
 CROSS JOIN LATERAL (
       SELECT m.inbox_id, m.claim, m.payload FROM service_ops.integration_inbox m
        WHERE m.inbox_id = h.inbox_id AND m.next_attempt_at <= statement_timestamp() AND k.in_use < coalesce(least(k.most, 1), 1)
          AND CASE WHEN m.status IN ('NEW', 'FAILED') AND m.suspect = $8::boolean THEN true ELSE false END
        LIMIT 1 FOR UPDATE SKIP LOCKED) m

-- name: suspect_keys
-- $1 sources, $2 ordered. Suspects that may be claimed now, as far as can be seen without waiting; without a key, group_key is NULL.
SELECT s.source, x.group_key
  FROM unnest($1::text[]) s(source)
 CROSS JOIN LATERAL (
       SELECT m.inbox_id, left(m.group_key, 200) AS group_key FROM service_ops.integration_inbox m
        WHERE m.source = s.source AND m.next_attempt_at <= statement_timestamp() AND m.suspect
          AND CASE WHEN m.status IN ('NEW', 'FAILED') THEN true ELSE false END
        ORDER BY m.source, m.next_attempt_at OFFSET 0) x
  JOIN service_ops.slot_limit d ON d.source = s.source AND d.group_key = '*'
  LEFT JOIN service_ops.slot_limit l ON l.source = s.source AND l.group_key = x.group_key
 WHERE NOT d.paused AND NOT coalesce(l.paused, false)
   AND (x.group_key IS NULL
        OR CASE WHEN $2::boolean OR d.ordered
                THEN x.inbox_id = (SELECT h.inbox_id FROM service_ops.integration_inbox h
                                    WHERE h.source = s.source AND left(h.group_key, 200) = x.group_key AND h.next_attempt_at IS NOT NULL
                                    ORDER BY h.source, left(h.group_key, 200), h.source_created_at, h.inbox_id LIMIT 1)
                     AND coalesce(l.max_slots, d.max_slots, d.default_slots, 1) > 0
                ELSE (SELECT count(*) FROM unnest(l.held, l.held_claims) u(inbox_id, claim)
                       CROSS JOIN LATERAL (SELECT FROM service_ops.integration_inbox i
                                            WHERE i.inbox_id = u.inbox_id AND i.claim = u.claim AND i.status = 'PROCESSING' LIMIT 1) i)
                     < coalesce(l.max_slots, d.max_slots, d.default_slots, 2147483647) END)
 LIMIT 20;

-- name: lock_suspects
-- $1 source, $2 keys.
SELECT l.group_key FROM service_ops.slot_limit l
 WHERE l.source = $1 AND l.group_key = ANY ($2::text[]) ORDER BY l.source, l.group_key FOR UPDATE SKIP LOCKED;
