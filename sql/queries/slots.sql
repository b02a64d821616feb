-- Claims with slots; process/slots.ts tells why one statement can count what it claims. Whoever has the lock of a key's
-- row in slot_limit, and nobody else, may claim messages of that key; rows are locked in order of key, and one that somebody
-- else has is left alone, so that nobody waits here.
-- As in inbox.sql, what changes fast stands inside a CASE, so that no plan depends on its statistics. They are prepared; a
-- plan that was made while the tables were small is given up when a claim takes long (process/slots.ts). A message's key is the first
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

-- name: claim
-- $1 source, $2 instance, $3 messages at most, $4 attempts a message has, $5 bytes at most, $6 suspects: false, $7 after this key (NULL: from the
-- first), $8 keys looked at, $9 keys locked at most, $10 messages without a key come first. A walk from key to key, one probe each, by the first entry that each has in
-- an index. Of keys that have something due and a slot free the rows are locked, and what there is room for is claimed of those
-- that nobody has written since the statement began. One row without a message says what the walk has met, and what is in use now.
WITH RECURSIVE :"default",
walk AS (
  ((SELECT left(m.group_key, 200) AS group_key, 1 AS n, :"first_may" AS first_may FROM service_ops.integration_inbox m
     WHERE $7::text IS NULL AND m.source = $1 AND left(m.group_key, 200) >= '' AND m.next_attempt_at IS NOT NULL
     ORDER BY :"order" LIMIT 1)
   UNION ALL
   (SELECT left(m.group_key, 200), 1, :"first_may" FROM service_ops.integration_inbox m
     WHERE m.source = $1 AND left(m.group_key, 200) > $7::text AND m.next_attempt_at IS NOT NULL
     ORDER BY :"order" LIMIT 1))
  UNION ALL
  SELECT x.group_key, walk.n + 1, x.first_may
    FROM walk CROSS JOIN LATERAL (
         SELECT left(m.group_key, 200) AS group_key, :"first_may" AS first_may FROM service_ops.integration_inbox m
          WHERE m.source = $1 AND left(m.group_key, 200) > walk.group_key AND m.next_attempt_at IS NOT NULL
          ORDER BY :"order" LIMIT 1) x
   WHERE walk.n < $8::integer),
wanted AS MATERIALIZED (       -- read one by one: the walk goes no further than this needs
  SELECT walk.n, walk.group_key, r.known, r.place, r.most, u.ids, u.claims, u.in_use
    FROM walk
    LEFT JOIN LATERAL (
         SELECT true AS known, l.ctid AS place, NOT l.paused AND (:"due") AS due, :"most" AS most, l.held, l.held_claims
           FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = walk.group_key LIMIT 1) r ON true
   CROSS JOIN LATERAL (:"in_use") u
   WHERE r.known IS NULL OR (r.due AND (r.most IS NULL OR u.in_use < r.most))
   LIMIT $9::integer),
:"take",
stopped AS MATERIALIZED (SELECT max(w.n) AS n FROM wanted w HAVING count(*) = $9::integer),
walked AS MATERIALIZED (SELECT walk.n, walk.group_key FROM walk LIMIT coalesce((SELECT t.n FROM stopped t), $8::integer))
SELECT seen.*, took.*
  FROM (SELECT json_build_object(
          'looked', (SELECT count(*) FROM walked),
          'last', (SELECT w.group_key FROM walked w ORDER BY w.n DESC LIMIT 1),
          'at_end', (SELECT count(*) < $8::integer FROM walked) AND NOT EXISTS (SELECT FROM stopped),
          'unknown', ARRAY(SELECT w.group_key FROM wanted w WHERE w.known IS NULL),
          'keys', ARRAY(SELECT k.group_key FROM k),
          'wanted', (SELECT count(*) FROM wanted w WHERE w.known),
          'has_default', EXISTS (SELECT FROM d),
          'ordered', coalesce((SELECT d.ordered FROM d), false)) AS seen, :"slots" AS slots) seen
  FULL JOIN took ON false;

-- name: claim_suspect
-- $1 to $6 as for claim, suspects: true, $7 a key; NULL: of messages without one.
WITH :"default",
wanted AS MATERIALIZED (
  SELECT 1 AS n, r.*, u.ids, u.claims, u.in_use
    FROM (SELECT l.group_key, true AS known, l.ctid AS place, NOT l.paused AS due, :"most" AS most, l.held, l.held_claims
            FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = $7::text) r
   CROSS JOIN LATERAL (:"in_use") u
   WHERE r.due),
:"take"
SELECT NULL AS seen, slots.*, took.* FROM (SELECT :"slots" AS slots) slots FULL JOIN took ON false;

-- name: default
d AS MATERIALIZED (
  SELECT l.max_slots, l.default_slots, l.paused, l.ordered, NOT l.paused AND (:"in_order" OR NOT l.ordered) AS agreed
    FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = '*')

-- name: first_may
-- Whether the entry at hand may be claimed.
m.status IN ('NEW', 'FAILED') AND m.next_attempt_at <= statement_timestamp() AND NOT m.suspect

-- name: by_turn
m.source, left(m.group_key, 200), m.next_attempt_at, m.inbox_id

-- name: in_order
m.source, left(m.group_key, 200), m.source_created_at, m.inbox_id

-- name: due
-- Of a key: something may be claimed.
walk.first_may OR EXISTS (
  SELECT FROM service_ops.integration_inbox m
   WHERE m.source = $1 AND left(m.group_key, 200) = walk.group_key AND m.next_attempt_at <= statement_timestamp()
     AND CASE WHEN m.status IN ('NEW', 'FAILED') AND NOT m.suspect THEN true ELSE false END)

-- name: due_in_order
-- Of a key: its first message may be.
walk.first_may

-- name: most
-- Slots of a key; NULL: no limit.
coalesce(l.max_slots, (SELECT d.max_slots FROM d), (SELECT d.default_slots FROM d))

-- name: most_in_order
least(coalesce(l.max_slots, (SELECT d.max_slots FROM d), (SELECT d.default_slots FROM d), 1), 1)

-- name: in_use
-- Of what the newest claims of a key took, that which is still in work under them.
SELECT array_agg(h.inbox_id) AS ids, array_agg(h.claim) AS claims, count(*)::integer AS in_use
  FROM unnest(CASE WHEN r.due THEN r.held END, CASE WHEN r.due THEN r.held_claims END) h(inbox_id, claim)
 CROSS JOIN LATERAL (SELECT FROM service_ops.integration_inbox i
                      WHERE i.inbox_id = h.inbox_id AND i.claim = h.claim AND i.status = 'PROCESSING' LIMIT 1) i

-- name: take
-- k: a row that is where it was has not been written since. Without the default row nobody knows the limits: nothing is claimed.
got AS MATERIALIZED (
  SELECT l.group_key, l.ctid AS place FROM service_ops.slot_limit l
   WHERE l.source = $1 AND l.group_key = ANY (ARRAY(SELECT w.group_key FROM wanted w WHERE w.known)) AND (SELECT d.agreed FROM d)
   ORDER BY l.source, l.group_key FOR UPDATE SKIP LOCKED),
k AS MATERIALIZED (
  SELECT w.n::bigint AS turn, w.group_key, w.place, w.most, w.ids, w.claims, w.in_use
    FROM wanted w WHERE CASE WHEN w.place IN (SELECT g.place FROM got g) THEN true ELSE false END ORDER BY w.n),
f AS MATERIALIZED (
  SELECT :"keyless_turn" AS turn, NULL::tid AS place, NULL::integer AS most, NULL::bigint[] AS ids, NULL::integer[] AS claims, m.inbox_id, m.claim, :"bytes" AS bytes
    FROM service_ops.integration_inbox m
   WHERE m.source = $1 AND left(m.group_key, 200) IS NULL AND m.next_attempt_at <= statement_timestamp()
     AND CASE WHEN m.status IN ('NEW', 'FAILED') AND m.suspect = $6::boolean THEN true ELSE false END
     AND (SELECT d.agreed FROM d)
   ORDER BY m.source, left(m.group_key, 200), m.next_attempt_at, m.inbox_id LIMIT :"keyless" FOR UPDATE SKIP LOCKED),
w AS MATERIALIZED (
  SELECT k.turn, k.place, k.most, k.ids, k.claims, x.inbox_id, x.claim, x.bytes
    FROM k CROSS JOIN LATERAL (:"pick") x
   LIMIT $3::integer - (SELECT count(*) FROM f)::integer),
fit AS MATERIALIZED (
  SELECT b.*, b.claim + 1 AS new_claim
    FROM (SELECT g.*, sum(g.bytes) OVER (ORDER BY g.turn, g.inbox_id) - coalesce(g.bytes, 0) AS before
            FROM (TABLE f UNION ALL TABLE w) g) b
   WHERE coalesce(b.before, 0) < $5::bigint),
kept AS (                      -- every row of fit is locked, and so will be claimed under this number
  UPDATE service_ops.slot_limit l
     SET held = n.ids || n.new_ids, held_claims = n.claims || n.new_claims, held_under = n.most
    FROM (SELECT t.place, t.most, t.ids, t.claims, array_agg(t.inbox_id) AS new_ids, array_agg(t.new_claim) AS new_claims
            FROM fit t WHERE t.place IS NOT NULL GROUP BY t.place, t.most, t.ids, t.claims OFFSET 0) n
   WHERE l.ctid = n.place      -- by its key, each would be looked for among all of the source
  RETURNING l.group_key, cardinality(l.held) AS in_use, l.held_under AS most),
took AS (
  UPDATE service_ops.integration_inbox m
     SET status = 'PROCESSING', claim = m.claim + 1, attempts = m.attempts + 1, max_attempts = greatest($4::integer, m.attempts + 1),
         locked_by = $2, locked_at = clock_timestamp(), updated_at = clock_timestamp()
   WHERE m.inbox_id = ANY (ARRAY(SELECT fit.inbox_id FROM fit))
  RETURNING m.inbox_id, m.source, m.message_id, m.payload, m.group_key, m.claim, m.attempts, m.max_attempts, m.trace_id, m.traceparent,
            left(m.group_key, 200) AS slot_key, false AS fresh, m.interruptions_in_a_row,
            to_char(m.source_created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS source_created_at,
            extract(epoch FROM clock_timestamp() - CASE WHEN isfinite(m.source_created_at) THEN m.source_created_at ELSE m.created_at END) * 1000 AS age_ms)

-- name: slots
-- What is in use of the keys after this claim, and under which limits.
(SELECT json_object_agg(kept.group_key, json_build_array(kept.in_use, kept.most)) FROM kept)

-- name: keyless
-- Half at most while keys have something; of an odd number, and of the bytes, the larger part every other time.
CASE WHEN EXISTS (SELECT FROM k) THEN ($3::integer + $10::boolean::integer) / 2 ELSE $3::integer END

-- name: keyless_turn
CASE WHEN $10::boolean THEN 0 ELSE 2147483647 END::bigint

-- name: keyless_suspect
CASE WHEN $7::text IS NULL THEN $3::integer ELSE 0 END

-- name: bytes
-- See inbox.sql: what a payload takes in memory, to a hundredth.
CASE WHEN pg_column_size(m.payload) > 8192 THEN pg_column_size(m.payload #> '{}') ELSE pg_column_size(m.payload) END

-- name: pick
-- As many as there are free slots; NULL: no limit.
SELECT m.inbox_id, m.claim, :"bytes" AS bytes
  FROM service_ops.integration_inbox m
 WHERE m.source = $1 AND left(m.group_key, 200) = k.group_key AND m.next_attempt_at <= statement_timestamp()
   AND CASE WHEN m.status IN ('NEW', 'FAILED') AND m.suspect = $6::boolean THEN true ELSE false END
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
        WHERE m.inbox_id = h.inbox_id AND m.next_attempt_at <= statement_timestamp() AND k.in_use < k.most
          AND CASE WHEN m.status IN ('NEW', 'FAILED') AND m.suspect = $6::boolean THEN true ELSE false END
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
