-- Claims with slots; process/slots.ts tells why one statement can count what it claims. Whoever has the lock of a key's
-- row in slot_limit, and nobody else, may claim messages of that key; rows are locked in order of key, and one that somebody
-- else has is left alone, so that nobody waits here.
-- As in inbox.sql, what changes fast stands inside a CASE, so that no plan depends on its statistics. They are prepared; a
-- plan that was made while the tables were small is given up when a claim takes long (process/slots.ts). A message's key is the first
-- 200 characters of its group_key: an index takes no value of any length, and refuses the whole write.

-- name: enter_default
-- $1 sources, $2 slots of a key (NULL: no limit), $3 ordered. What the config says, for everybody who claims. What came in before is
-- in any order; as long as an instance lives that may know nothing of slots, so is what comes in now.
INSERT INTO service_ops.slot_limit AS l (source, group_key, default_slots, ordered, by_number_above)
SELECT s.source, '*', $2::integer, $3::boolean,
       CASE WHEN NOT EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.state <> 'stopped' AND NOT i.slots_by_number)
            THEN (SELECT coalesce(max(m.inbox_id), 0) FROM service_ops.integration_inbox m) END
  FROM unnest($1::text[]) s(source) ORDER BY s.source
ON CONFLICT (source, group_key) DO UPDATE
   SET default_slots = EXCLUDED.default_slots, ordered = EXCLUDED.ordered,
       by_number_above = CASE WHEN EXCLUDED.ordered AND NOT l.ordered THEN EXCLUDED.by_number_above
                              ELSE coalesce(l.by_number_above, EXCLUDED.by_number_above) END
 WHERE (l.default_slots, l.ordered) IS DISTINCT FROM (EXCLUDED.default_slots, EXCLUDED.ordered)
    OR (l.by_number_above IS NULL AND EXCLUDED.by_number_above IS NOT NULL);

-- name: trust_numbers
-- $1 sources. As enter_default, for rows that were entered while such an instance lived.
UPDATE service_ops.slot_limit l SET by_number_above = (SELECT coalesce(max(m.inbox_id), 0) FROM service_ops.integration_inbox m)
 WHERE l.source = ANY ($1::text[]) AND l.group_key = '*' AND l.by_number_above IS NULL
   AND NOT EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.state <> 'stopped' AND NOT i.slots_by_number);

-- name: by_number_above
-- $1 sources. From where on what is not lined up is in the order of its source; NULL: nowhere.
SELECT l.source, l.by_number_above::text AS above FROM service_ops.slot_limit l WHERE l.source = ANY ($1::text[]) AND l.group_key = '*';

-- name: enter_keys
-- $1 source, $2 keys that were seen for the first time, or whose row was deleted: then what is in work still holds its slot, be it
-- lined up or above $3, the settled mark.
WITH f AS MATERIALIZED (
  SELECT m.inbox_id, m.claim, left(m.group_key, 200) AS group_key FROM service_ops.integration_inbox m
   WHERE m.inbox_id > $3::bigint
     AND CASE WHEN m.status = 'PROCESSING' AND m.next_attempt_at IS NULL AND m.source = $1 THEN true ELSE false END)
INSERT INTO service_ops.slot_limit (source, group_key, held, held_claims, held_under)
SELECT $1, u.group_key, coalesce(h.ids, '{}'), coalesce(h.claims, '{}'), cardinality(h.ids)
  FROM unnest($2::text[]) u(group_key)
 CROSS JOIN LATERAL (
       SELECT array_agg(x.inbox_id ORDER BY x.inbox_id) AS ids, array_agg(x.claim ORDER BY x.inbox_id) AS claims
         FROM (SELECT m.inbox_id, m.claim FROM service_ops.integration_inbox m
                WHERE m.source = $1 AND left(m.group_key, 200) = u.group_key AND m.next_attempt_at IS NOT NULL
                  AND CASE WHEN m.status = 'PROCESSING' THEN true ELSE false END
               UNION ALL
               SELECT f.inbox_id, f.claim FROM f WHERE f.group_key = u.group_key) x) h
 WHERE NOT EXISTS (SELECT FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = u.group_key)    -- INSERT would wait for its claim
 ORDER BY u.group_key
ON CONFLICT (source, group_key) DO NOTHING;

-- name: line_up
-- $1 source, $2 above this number, $3 up to this one (NULL: all), $4 messages at most, $5 those in work as well. From now on they are
-- found by their key, and what is in work there counts when its key is entered. passed: some were left out because somebody
-- else has their rows locked.
WITH c AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.inbox_id > $2::bigint AND m.inbox_id <= coalesce($3::bigint, 9223372036854775807)
     AND CASE WHEN m.status = ANY (CASE WHEN $5::boolean THEN '{NEW,PROCESSING}' ELSE '{NEW}' END::text[]) AND m.next_attempt_at IS NULL AND m.source = $1 THEN true ELSE false END
   ORDER BY m.inbox_id LIMIT $4::integer),
f AS MATERIALIZED (
  SELECT m.inbox_id FROM service_ops.integration_inbox m
   WHERE m.inbox_id = ANY (ARRAY(SELECT c.inbox_id FROM c))
     AND CASE WHEN m.status = ANY (CASE WHEN $5::boolean THEN '{NEW,PROCESSING}' ELSE '{NEW}' END::text[]) AND m.next_attempt_at IS NULL THEN true ELSE false END
     FOR UPDATE SKIP LOCKED),
u AS (
  UPDATE service_ops.integration_inbox m SET next_attempt_at = statement_timestamp(), updated_at = clock_timestamp()
   WHERE m.inbox_id = ANY (ARRAY(SELECT f.inbox_id FROM f))
  RETURNING m.inbox_id)
SELECT (SELECT count(*)::integer FROM c) AS messages, (SELECT count(*) FROM u) < (SELECT count(*) FROM c) AS passed,
       (SELECT coalesce(max(m.inbox_id), 0)::text FROM service_ops.integration_inbox m) AS head;

-- name: claim
-- $1 source, $2 instance, $3 messages at most, $4 attempts a message has, $5 bytes at most, $6 suspects: false, $7 after this key (NULL: from the
-- first), $8 keys looked at, $9 keys locked at most, $10 messages without a key come first, and last whether it claims ahead. A walk from key to key, one probe each, by the first entry that each has in
-- an index. Of keys that have something due and a slot free the rows are locked, and what there is room for is claimed of those
-- that nobody has written since the statement began. One row without a message says what the walk has met, and what is in use now.
WITH RECURSIVE :"default",
:"ahead"walk AS (
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
         SELECT true AS known, l.ctid AS place, l.group_key AS key, NOT l.paused AND (:"due") AS due, :"most" AS most, l.held, l.held_claims
           FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = walk.group_key LIMIT 1) r ON true
   CROSS JOIN LATERAL (:"in_use") u
   WHERE r.known IS NULL OR (r.due AND (r.most IS NULL OR u.in_use < r.most):"not_ahead")
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

-- name: claim_by_number
-- $1 to $5 as for claim, $6 above this number, $7 messages looked at, $8 of them looked for a key that nobody else has locked,
-- $9 messages without a key get the larger half, $10 whether it claims ahead. What is not lined up, in order of number: of keys that have a slot free as many as there is
-- room for. Joins are FULL, so that no plan compares all pairs. One row without a message says what was seen.
WITH :"default",
win AS MATERIALIZED (
  SELECT m.inbox_id, left(m.group_key, 200) AS group_key
    FROM service_ops.integration_inbox m
   WHERE m.inbox_id > $6::bigint
     AND CASE WHEN m.status = 'NEW' AND m.next_attempt_at IS NULL AND m.source = $1 THEN true ELSE false END
   ORDER BY m.inbox_id LIMIT $7::integer),
keys AS MATERIALIZED (
  SELECT w.group_key, :"ids_of_key" AS ids FROM win w WHERE w.group_key IS NOT NULL GROUP BY w.group_key),
l AS MATERIALIZED (
  SELECT l.group_key, l.ctid AS place, l.paused, :"most" AS most, l.held, l.held_claims
    FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = ANY (ARRAY(SELECT k.group_key FROM keys k))),
busy AS MATERIALIZED (         -- as in_use, of all keys at once
  SELECT i.inbox_id, i.claim FROM service_ops.integration_inbox i
   WHERE i.inbox_id = ANY (ARRAY(SELECT unnest(l.held) FROM l)) AND CASE WHEN i.status = 'PROCESSING' THEN true ELSE false END),
:"slots_of_keys",
room AS MATERIALIZED (
  SELECT x.inbox_id, x.group_key, x.place
    FROM (SELECT unnest(CASE WHEN s.most IS NULL THEN k.ids ELSE k.ids[:greatest(s.most - s.in_use, 0)] END) AS inbox_id, s.group_key, s.place
            FROM keys k FULL JOIN slots s ON s.group_key = k.group_key
           WHERE CASE WHEN s.paused THEN false WHEN s.place IS NULL THEN false ELSE :"is_first" END) x
   ORDER BY x.inbox_id LIMIT $8::integer),
got AS MATERIALIZED (
  SELECT l.group_key, l.ctid AS place FROM service_ops.slot_limit l
   WHERE l.source = $1 AND l.group_key = ANY (ARRAY(SELECT r.group_key FROM room r)) AND (SELECT d.agreed FROM d)
   ORDER BY l.source, l.group_key FOR UPDATE SKIP LOCKED),
ours AS MATERIALIZED (         -- a row that is where it was has not been written since
  SELECT r.inbox_id FROM room r WHERE CASE WHEN r.place IN (SELECT g.place FROM got g) THEN true ELSE false END),
keyless AS MATERIALIZED (
  SELECT w.inbox_id FROM win w WHERE w.group_key IS NULL AND (SELECT d.agreed FROM d)
   ORDER BY w.inbox_id LIMIT CASE WHEN EXISTS (SELECT FROM ours) THEN ($3::integer + $9::boolean::integer) / 2 ELSE $3::integer END),
locked AS MATERIALIZED (
  SELECT m.inbox_id, left(m.group_key, 200) AS group_key, m.claim + 1 AS new_claim, :"bytes" AS bytes
    FROM service_ops.integration_inbox m
   WHERE m.inbox_id = ANY (ARRAY((SELECT y.inbox_id FROM keyless y)
                                 UNION ALL
                                 (SELECT o.inbox_id FROM ours o ORDER BY o.inbox_id LIMIT $3::integer - (SELECT count(*) FROM keyless)::integer)))
     AND CASE WHEN m.status = 'NEW' AND m.next_attempt_at IS NULL THEN true ELSE false END
   ORDER BY m.inbox_id FOR UPDATE SKIP LOCKED),
fit AS MATERIALIZED (
  SELECT b.inbox_id, b.group_key, b.new_claim
    FROM (SELECT g.*, sum(g.bytes) OVER (ORDER BY g.inbox_id) - coalesce(g.bytes, 0) AS before FROM locked g) b
   WHERE coalesce(b.before, 0) < $5::bigint),
kept AS (
  UPDATE service_ops.slot_limit l
     SET held = n.ids || n.new_ids, held_claims = n.claims || n.new_claims, held_under = n.most
    FROM (SELECT s.place, s.most, s.ids, s.claims, t.new_ids, t.new_claims
            FROM (:"new_of_keys") t FULL JOIN slots s ON s.group_key = t.group_key
           WHERE CASE WHEN t.new_ids IS NULL THEN false ELSE true END OFFSET 0) n
   WHERE l.ctid = n.place
  RETURNING l.group_key, cardinality(l.held) AS in_use, l.held_under AS most),
:"took"
SELECT seen.*, took.*
  FROM (SELECT json_build_object(
          'looked', (SELECT count(*) FROM win),
          'last', (SELECT max(w.inbox_id)::text FROM win w),
          'left', CASE WHEN (SELECT count(*) FROM fit) < (SELECT count(*) FROM win)
                       THEN (SELECT min(w.inbox_id)::text FROM win w WHERE NOT w.inbox_id IN (SELECT fit.inbox_id FROM fit)) END,
          'room', (SELECT count(*) FROM room) + (SELECT count(*) FROM keyless),
          'unknown', ARRAY(SELECT k.group_key FROM keys k WHERE NOT k.group_key IN (SELECT l.group_key FROM l)),
          'above', (SELECT d.by_number_above::text FROM d),
          'paused', coalesce((SELECT d.paused FROM d), false),
          'has_default', EXISTS (SELECT FROM d),
          'ordered', coalesce((SELECT d.ordered FROM d), false)) AS seen, :"slots" AS slots) seen
  FULL JOIN took ON false;

-- name: ids_of_key
array_agg(w.inbox_id)

-- name: first_of_key
-- In order: numbers follow the order of the source.
ARRAY[min(w.inbox_id)]

-- name: slots_of_keys
slots AS MATERIALIZED (
  SELECT l.group_key, l.place, l.paused, l.most, array_agg(u.inbox_id) FILTER (WHERE u.is_busy) AS ids, array_agg(u.claim) FILTER (WHERE u.is_busy) AS claims,
         count(*) FILTER (WHERE u.is_busy)::integer AS in_use
    FROM l LEFT JOIN LATERAL (
         SELECT h.*, CASE WHEN (h.inbox_id, h.claim) IN (SELECT b.inbox_id, b.claim FROM busy b) THEN true ELSE false END AS is_busy
           FROM unnest(l.held, l.held_claims) h(inbox_id, claim)) u ON true
   GROUP BY l.group_key, l.place, l.paused, l.most)

-- name: slots_of_keys_in_order
-- Whoever has one in work gets nothing, so there is nothing else to keep.
slots AS MATERIALIZED (
  SELECT l.group_key, l.place, l.paused, l.most, '{}'::bigint[] AS ids, '{}'::integer[] AS claims,
         (SELECT count(*)::integer FROM unnest(l.held, l.held_claims) h(inbox_id, claim)
           WHERE CASE WHEN (h.inbox_id, h.claim) IN (SELECT b.inbox_id, b.claim FROM busy b) THEN true ELSE false END) AS in_use
    FROM l)

-- name: new_of_keys
SELECT f.group_key, array_agg(f.inbox_id) AS new_ids, array_agg(f.new_claim) AS new_claims FROM fit f WHERE f.group_key IS NOT NULL GROUP BY f.group_key

-- name: new_of_keys_in_order
SELECT f.group_key, ARRAY[f.inbox_id] AS new_ids, ARRAY[f.new_claim] AS new_claims FROM fit f WHERE f.group_key IS NOT NULL

-- name: is_first
-- In order: nothing of the key that is lined up comes before. Most of the time nothing at all is.
CASE WHEN (SELECT true FROM service_ops.integration_inbox h
            WHERE h.source = $1 AND left(h.group_key, 200) >= '' AND h.next_attempt_at IS NOT NULL LIMIT 1)
     THEN (SELECT (h.at, h.inbox_id) > (coalesce(m.source_created_at, 'infinity'), m.inbox_id)
             FROM (SELECT s.group_key) f CROSS JOIN LATERAL (:"first_lined") h
             JOIN service_ops.integration_inbox m ON m.inbox_id = k.ids[1]) IS NOT FALSE
     ELSE true END

-- name: claim_suspect
-- $1 to $6 as for claim, suspects: true, $7 a key; NULL: of messages without one.
WITH :"default",
:"ahead"wanted AS MATERIALIZED (
  SELECT 1 AS n, r.group_key, r.known, r.place, r.due, r.most, u.ids, u.claims, u.in_use
    FROM (SELECT l.group_key, l.group_key AS key, true AS known, l.ctid AS place, NOT l.paused AS due, :"most" AS most, l.held, l.held_claims
            FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = $7::text) r
   CROSS JOIN LATERAL (:"in_use") u
   WHERE r.due:"not_ahead"),
:"take"
SELECT NULL AS seen, slots.*, took.* FROM (SELECT :"slots" AS slots) slots FULL JOIN took ON false;

-- name: default
d AS MATERIALIZED (
  SELECT l.max_slots, l.default_slots, l.paused, l.ordered, l.by_number_above, NOT l.paused AND (:"in_order" OR NOT l.ordered):"and_trusted" AS agreed
    FROM service_ops.slot_limit l WHERE l.source = $1 AND l.group_key = '*')

-- name: first_may
-- Whether the entry at hand may be claimed.
m.status IN ('NEW', 'FAILED') AND m.next_attempt_at <= statement_timestamp() AND NOT m.suspect

-- name: by_turn
m.source, left(m.group_key, 200), m.next_attempt_at, m.inbox_id

-- name: in_order
m.source, left(m.group_key, 200), m.source_created_at, m.inbox_id

-- name: first_may_in_order
:"first_may" AND :"reached"

-- name: ahead
-- In order: what is not lined up, from the first such message on, and the keys whose first one is among it: of these nothing is claimed
-- by key. Where it is cut off, what comes later in the order of the source is not claimed either (reached).
ahead AS MATERIALIZED (
  SELECT m.inbox_id, left(m.group_key, 200) AS group_key, coalesce(m.source_created_at, 'infinity') AS at
    FROM service_ops.integration_inbox m
   WHERE m.inbox_id > :"low"::bigint
     AND CASE WHEN m.status = 'NEW' AND m.next_attempt_at IS NULL AND m.source = $1 THEN true ELSE false END
   ORDER BY m.inbox_id LIMIT 1000),
far AS MATERIALIZED (SELECT a.at, a.inbox_id FROM ahead a ORDER BY a.inbox_id OFFSET 999),
behind AS MATERIALIZED (
  SELECT f.group_key
    FROM (SELECT a.group_key, min(a.at) AS at, min(a.inbox_id) AS inbox_id FROM ahead a GROUP BY a.group_key OFFSET 0) f
   CROSS JOIN LATERAL (:"first_lined") h
   WHERE (f.at, f.inbox_id) < (h.at, h.inbox_id)),

-- name: not_ahead
 AND CASE WHEN r.key IN (SELECT b.group_key FROM behind b) THEN false ELSE true END

-- name: reached
coalesce((coalesce(m.source_created_at, 'infinity'), m.inbox_id) < (SELECT far.at, far.inbox_id FROM far), true)

-- name: first_lined
-- The first message of a key that is lined up.
SELECT coalesce(h.source_created_at, 'infinity') AS at, h.inbox_id FROM service_ops.integration_inbox h
 WHERE h.source = $1 AND left(h.group_key, 200) = f.group_key AND h.next_attempt_at IS NOT NULL
 ORDER BY h.source, left(h.group_key, 200), h.source_created_at, h.inbox_id LIMIT 1

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
:"took"

-- name: took
-- Claimed ahead: as in inbox.sql.
took AS (
  UPDATE service_ops.integration_inbox m
     SET status = 'PROCESSING', claim = m.claim + 1, attempts = m.attempts + (NOT :"claimed_ahead")::integer,
         max_attempts = greatest($4::integer, m.attempts + 1), locked_by = $2,
         locked_at = CASE WHEN NOT :"claimed_ahead" THEN clock_timestamp() END, updated_at = clock_timestamp()
   WHERE m.inbox_id = ANY (ARRAY(SELECT fit.inbox_id FROM fit))
  RETURNING m.inbox_id, m.source, m.message_id, m.payload, m.group_key, m.claim, m.attempts + (m.locked_at IS NULL)::integer AS attempts, m.max_attempts, m.trace_id,
            left(m.group_key, 200) AS slot_key, false AS fresh, m.interruptions_in_a_row,
            to_char(m.source_created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS source_created_at,
            extract(epoch FROM clock_timestamp() - CASE WHEN isfinite(m.source_created_at) THEN m.source_created_at ELSE m.created_at END) * 1000 AS age_ms)

-- name: slots
-- What is in use of the keys after this claim, and under which limits.
(SELECT json_object_agg(kept.group_key, json_build_array(kept.in_use, kept.most)) FROM kept)

-- name: slots_in_order
-- Always one of one; for a thousand keys, to say it costs as much as to find them.
NULL::json

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
          AND :"reached"
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
