-- A range of the source, whatever the watermark says of it. Positions are the caller's: a replay that ends half way is begun
-- again from the start, since rows that are in are passed over.

-- name: page
-- $1 poller, $2 page size, $3 attempts a message has, $4 why its one row is refused (NULL: it is not), $5 the id of that one
-- row, $6 $7 position (NULL: the beginning), $8 $9 from and to, $10 take in what is forgotten, too. No row: the poller is not
-- known.
WITH k AS MATERIALIZED (
  SELECT t.task_name FROM service_ops.background_task t WHERE t.task_name = $1 FOR KEY SHARE),
f AS MATERIALIZED (SELECT service_ops.forgotten_before(k.task_name) AS at FROM k),
me AS MATERIALIZED (
  SELECT $6::timestamptz AS scan_ts, $7::text AS scan_id, $9::timestamptz AS high,
         CASE WHEN $10::boolean THEN $8::timestamptz ELSE greatest($8::timestamptz, f.at) END AS low FROM f),
:"take_in"
SELECT n.n, i.inserted, i.oldest::text AS oldest, i.example, NOT n.is_last AS more,
       last.created_at::text AS scan_ts, last.id::text AS scan_id
  FROM n CROSS JOIN i CROSS JOIN me LEFT JOIN last ON true;

-- name: next_id
-- $1 poller, $2 $3 position, $4 $5 from and to, $6 what is forgotten, too. Which row the next page begins with.
WITH me AS (
  SELECT $2::timestamptz AS scan_ts, $3::text AS scan_id, $5::timestamptz AS high,
         CASE WHEN $6::boolean THEN $4::timestamptz ELSE greatest($4::timestamptz, t.forgotten_before) END AS low
    FROM service_ops.background_task t WHERE t.task_name = $1)
SELECT tidemark_source.:"id"::text AS id
  FROM :"source" tidemark_source
 WHERE :"keyset"
   AND tidemark_source.:"id" IS NOT NULL
 ORDER BY tidemark_source.:"created_at", tidemark_source.:"id" LIMIT 1;

-- name: missing
-- $1 poller, $2 page size, $3 $4 position, $5 $6 from and to. The dry run: what a page would take in, and what it would leave
-- since it is forgotten. One page of the source at a time, so that no statement hashes the inbox.
WITH f AS MATERIALIZED (
  SELECT t.forgotten_before AS at FROM service_ops.background_task t WHERE t.task_name = $1),
me AS MATERIALIZED (
  SELECT $3::timestamptz AS scan_ts, $4::text AS scan_id, $5::timestamptz AS low, $6::timestamptz AS high FROM f),
page AS MATERIALIZED (
  SELECT tidemark_source.:"id" AS id, :"time" AS created_at, :"where" IS TRUE AS is_wanted
    FROM :"source" tidemark_source
   WHERE :"keyset"
     AND tidemark_source.:"id" IS NOT NULL
   ORDER BY tidemark_source.:"created_at", tidemark_source.:"id" LIMIT $2::integer),
missing AS MATERIALIZED (
  SELECT page.created_at, page.id, coalesce(page.created_at < (SELECT f.at FROM f), false) AS is_forgotten
    FROM page
    LEFT JOIN LATERAL (
         SELECT true AS hit FROM service_ops.integration_inbox i WHERE i.source = $1 AND i.message_id = :"stored_id" LIMIT 1) x ON true
   WHERE x.hit IS NULL AND page.is_wanted)
SELECT n.n, n.is_full AS more, last.created_at::text AS scan_ts, last.id::text AS scan_id,
       (SELECT count(*) FROM missing m WHERE NOT m.is_forgotten) AS missing,
       (SELECT count(*) FROM missing m WHERE m.is_forgotten) AS forgotten,
       ARRAY(SELECT m.id::text FROM missing m WHERE NOT m.is_forgotten ORDER BY m.created_at, m.id LIMIT 10) AS first_missing,
       ARRAY(SELECT m.id::text FROM missing m WHERE m.is_forgotten ORDER BY m.created_at, m.id LIMIT 10) AS first_forgotten,
       (SELECT f.at::text FROM f) AS forgotten_before
  FROM f CROSS JOIN (SELECT count(*) FILTER (WHERE page.is_wanted) AS n, count(*) = $2::integer AS is_full FROM page) n
  LEFT JOIN (SELECT p.created_at, p.id FROM page p ORDER BY p.created_at DESC, p.id DESC LIMIT 1) last ON true;
