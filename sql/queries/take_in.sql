-- name: take_in
-- The middle of a statement that takes rows in and proves nothing: sweep, replay and tail. Before it stands `me` with the
-- position (scan_ts, scan_id) and the bounds (low, high); $1 poller, $3 attempts a message has, $4 why its one row is refused,
-- $5 the id of that one row. Nothing below low is taken in, whatever the page has read. The look into the inbox is LATERAL,
-- as in the page of a pass. The condition comes after the limit: what a page reads is bounded, and the position moves on,
-- however few rows meet it.
page AS MATERIALIZED (
  SELECT :"columns", :"where" IS TRUE AS is_wanted
    FROM :"source" tidemark_source
   WHERE :"keyset"
     AND tidemark_source.:"id" IS NOT NULL
     AND ($5::text IS NULL OR tidemark_source.:"id"::text = $5::text)
   ORDER BY tidemark_source.:"created_at", tidemark_source.:"id" LIMIT :"limit"),
ins AS (
  INSERT INTO service_ops.integration_inbox
         (source, message_id, source_created_at, payload, group_key, trace_id, traceparent, max_attempts, status, last_error, next_attempt_at)
  SELECT $1, :"message_id", p.created_at, j.payload, :"group_key", :"trace_id", :"traceparent", $3::integer,
         CASE WHEN $4::text IS NULL THEN 'NEW' ELSE 'DEAD' END, $4::text,
         CASE WHEN $4::text IS NOT NULL THEN timestamptz 'infinity'
              WHEN (SELECT service_ops.lined_up($1)) <> 'none' THEN statement_timestamp() END    -- lined up by its key
    FROM (SELECT page.*
            FROM page
            LEFT JOIN LATERAL (
                 SELECT true AS hit FROM service_ops.integration_inbox i WHERE i.source = $1 AND i.message_id = :"stored_id" LIMIT 1) x ON true
           WHERE x.hit IS NULL AND page.is_wanted AND (page.created_at IS NULL OR page.created_at >= (SELECT me.low FROM me))
          OFFSET 0) p        -- OFFSET 0: payloads are built for new rows alone, and once each
   CROSS JOIN LATERAL (SELECT :"payload" AS payload OFFSET 0) j
   ORDER BY p.created_at, p.id
  ON CONFLICT (source, message_id) DO NOTHING
  RETURNING source_created_at, message_id),
n AS (SELECT count(*) FILTER (WHERE page.is_wanted) AS n, count(*) < :"limit" AND $5::text IS NULL AS is_last FROM page),
i AS (SELECT count(*) AS inserted, min(ins.source_created_at) AS oldest, min(ins.message_id) AS example FROM ins),
last AS (SELECT p.created_at, p.id FROM page p ORDER BY p.created_at DESC, p.id DESC LIMIT 1)
