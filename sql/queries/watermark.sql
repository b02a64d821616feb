-- Every statement that changes edge, proven or scan names holder, term and pass, and begin, takeover and re-make raise
-- pass in the same row: one that waited for the row lock has a fresh row but an old snapshot, and pass refuses it.

-- name: begin
-- $1 poller, $2 holder, $3 term, $4 pass, $5 slack, $6 time since the newest completed pass began, at most, and slack, $7
-- time since this process began a pass last, completed or not, by its own clock, and slack (NULL: another process did). Its
-- own statement, never merged with the first page: what is closed here must be visible to the snapshots of the pages. The
-- candidate is written by this statement alone, so a row that passes the guard on pass had this very candidate.
-- A clock that stepped back gives transactions times before the edge. Those of them that began since the pass before have
-- times from now() - $6 on, and can live as long as they like: so the scan goes on from there (scan_from) until a pass has
-- proven them ended, as it would for the edge. And the candidate's time sinks to where they begin, at each begin: who began
-- after it with an earlier time, and is prepared by now or may not be seen, stands neither in its list nor in the floor.
-- Whoever began since the begin before has a time from now() - $7 on, or from now() - $6 where only that is known. So it
-- sinks for a clock that only runs slow, too, without a word, and passes go on proving, some seconds later.
-- $8 what the source's condition is, $9 its table; NULL: nothing may be told from the age of its rows (ingest/window.ts says
-- what is, and when what was seen before is forgotten).
WITH me AS (
  SELECT w.* FROM service_ops.integration_poll_watermark w
   WHERE w.poller = $1 AND w.holder = $2::uuid AND w.term = $3::bigint AND w.pass = $4::bigint FOR UPDATE),
a AS MATERIALIZED (                       -- other sessions; since is NULL where we may not look
  SELECT pid,
         usesysid IS NOT NULL AND backend_type IS DISTINCT FROM 'walsender'
           AND datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AS may_write,
         CASE WHEN state <> 'idle' THEN least(xact_start, query_start) END AS since
    FROM pg_catalog.pg_stat_activity WHERE pid <> pg_backend_pid()),
s AS MATERIALIZED (                       -- living transactions; one of an unknown session counts as living
  SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}') AS live,
         coalesce(array_agg(DISTINCT l.virtualtransaction) FILTER (WHERE l.virtualtransaction LIKE '-1/%'), '{}') AS recovered
    FROM pg_catalog.pg_locks l LEFT JOIN a ON a.pid = l.pid
   WHERE (l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid() AND a.may_write IS DISTINCT FROM false)
         -- Prepared transactions have no pid and hold the lock of their xid; what SERIALIZABLE left behind has no pid either.
      OR (l.pid IS NULL AND l.locktype = 'transactionid'
          AND NOT l.transactionid = ANY (ARRAY(SELECT p.transaction FROM pg_catalog.pg_prepared_xacts p WHERE p.database <> current_database())))),
f AS (SELECT min(since) AS floor FROM a WHERE may_write),   -- now() of a living transaction can be older than its virtualxid
c AS (
  SELECT me.poller, k.cand_ts AS noted, x.cand_ts, s.live, f.floor, x.reset, k.window_known,
         -- With the server's start: an older release enters that in the candidate, and leaves window_known as it was.
         to_regclass($9)::oid::text || ' ' || $8::text || ' ' || extract(epoch FROM pg_postmaster_start_time())::text AS window_source,
         NOT x.reset AND NOT (k.cand_vx && s.live) AS closed,
         CASE WHEN x.scan_from < me.edge THEN x.scan_from END AS scan_from
    FROM me CROSS JOIN s CROSS JOIN f
    LEFT JOIN service_ops.poll_candidate k ON k.poller = me.poller
   CROSS JOIN LATERAL (
         -- After a restart the names mean nothing; a crash of one backend renames prepared transactions without one.
         SELECT k.cand_boot IS DISTINCT FROM pg_postmaster_start_time() OR NOT (s.recovered <@ k.cand_vx) AS reset,
                least(k.cand_ts, now() - coalesce($7::interval, $6::interval) + $5::interval) AS cand_ts,
                -- What a pass has proven, and read to its end: a takeover, which ends the scan of a pass, takes its proof away.
                least(CASE WHEN k.scan_from IS NULL OR me.scan_ts IS NOT NULL THEN k.scan_from ELSE greatest(k.scan_from, me.proven) END,
                      now() - $6::interval) AS scan_from) x),
k AS (
  INSERT INTO service_ops.poll_candidate (poller, cand_ts, cand_vx, cand_boot, scan_from, window_known)
  -- The floor of now, too: a second transaction of one message has its time, and can be prepared, its session idle, when
  -- the first one's end closes the candidate.
  SELECT c.poller, least(now(), c.floor), c.live, pg_postmaster_start_time(), c.scan_from, true
    FROM c WHERE c.closed OR c.reset
  ON CONFLICT (poller) DO UPDATE SET cand_ts = EXCLUDED.cand_ts, cand_vx = EXCLUDED.cand_vx, cand_boot = EXCLUDED.cand_boot, scan_from = EXCLUDED.scan_from,
     window_known = true),
d AS (     -- the candidate stays open; where passes begin does not wait for it
  UPDATE service_ops.poll_candidate k SET window_known = true, scan_from = c.scan_from, cand_ts = c.cand_ts
    FROM c WHERE k.poller = c.poller AND NOT (c.closed OR c.reset)
     AND (k.scan_from IS DISTINCT FROM c.scan_from OR k.cand_ts <> c.cand_ts OR k.window_known IS NOT TRUE))
UPDATE service_ops.integration_poll_watermark w
   SET pass = w.pass + 1,
       scan_ts = least(w.edge, c.scan_from) - interval '1 microsecond',
       scan_id = NULL,
       scan_snapshot = pg_current_snapshot(),
       scan_start = least(c.scan_from, w.edge),
       window_snapshot = CASE WHEN NOT c.reset AND c.window_known AND w.window_source = c.window_source THEN w.window_snapshot END,
       window_source = c.window_source,
       proven = CASE WHEN c.closed THEN least(c.cand_ts, c.floor, now()) - $5::interval END,   -- least() skips a NULL floor: meant
       updated_at = clock_timestamp()
  FROM c WHERE w.poller = c.poller
RETURNING w.pass, c.closed, c.reset, c.reset AND c.noted IS NOT NULL AS other_boot, w.edge::text AS edge, w.window_snapshot IS NOT NULL AS seen,
          -- Said where it is more than a clock that runs slow, or another than this process's, can be behind by.
          CASE WHEN c.noted > now() OR c.noted - 2 * $5::interval > now() - 0.9 * $7::interval
               THEN extract(epoch FROM greatest(c.noted - now(), c.noted + $7::interval - $5::interval - now())) * 1000 END AS clock_behind_ms;

-- name: page
-- $1 poller, $2 holder, $3 term, $4 pass, $5 page size, $6 attempts a message has, $7 why its one row is refused (NULL: it
-- is not), $8 the id of that one row (NULL: a page like any other). A page of one named row never ends the pass, and an
-- earlier row that commits meanwhile was not below what the pass proves, so the next pass has it. One statement and one
-- transaction: rows and edge move together. What it reads, and which of that is new, are the parts below; whichever they are,
-- no row is taken in twice (ON CONFLICT) and none is passed over that is not in the inbox.
-- `seen` is a bound of xids: a row that is visible here and older was taken in by the pass that the window's snapshot began.
-- A transaction of its list may have ended since, and its rows, and those of its sub-transactions, which no list has, have its
-- xid or later ones: so the bound is the first of those that ended, and what still runs is not visible anyway. By age, since
-- xids are circular: the mark is not used when it is 2^30 behind.
WITH me AS (
  SELECT w.* FROM service_ops.integration_poll_watermark w
   WHERE w.poller = $1 AND w.holder = $2::uuid AND w.term = $3::bigint AND w.pass = $4::bigint AND w.scan_ts IS NOT NULL FOR UPDATE),
k AS MATERIALIZED (     -- what is forgotten stays as it is while this statement runs; ingest/sweep.ts says why
  SELECT t.task_name FROM service_ops.background_task t WHERE t.task_name = $1 AND EXISTS (SELECT FROM me) FOR KEY SHARE),
f AS MATERIALIZED (SELECT service_ops.forgotten_before(k.task_name) AS at FROM k),
lined AS MATERIALIZED (SELECT service_ops.lined_up($1) AS up),
seen AS MATERIALIZED (
  SELECT split_part(me.window_source, ' ', 1)::oid AS source, me.window_from AS since,
         age(coalesce((SELECT x FROM pg_snapshot_xip(me.window_snapshot) x
                        WHERE pg_visible_in_snapshot(x, pg_current_snapshot()) ORDER BY x LIMIT 1),
                      pg_snapshot_xmax(me.window_snapshot))::xid) AS age
    FROM me
   WHERE me.window_snapshot IS NOT NULL
     AND pg_snapshot_xmax(pg_current_snapshot())::text::bigint - pg_snapshot_xmin(me.window_snapshot)::text::bigint < 1073741824),
:"reading",
ins AS (
  INSERT INTO service_ops.integration_inbox
         (source, message_id, source_created_at, payload, group_key, trace_id, traceparent, max_attempts, status, last_error, next_attempt_at)
  SELECT $1, :"message_id", p.created_at, p.built, :"group_key", :"trace_id", :"traceparent", $6::integer,
         CASE WHEN $7::text IS NULL THEN 'NEW' ELSE 'DEAD' END, $7::text,
         CASE WHEN $7::text IS NOT NULL THEN timestamptz 'infinity'
              WHEN (SELECT lined.up FROM lined) = 'all' THEN statement_timestamp()       -- lined up by its key
              WHEN (SELECT lined.up FROM lined) = 'late' AND p.created_at < coalesce((SELECT me.last_created_at FROM me), 'infinity') THEN statement_timestamp() END
    FROM :"fresh"
  ON CONFLICT (source, message_id) DO NOTHING
  RETURNING source_created_at),
i AS (SELECT count(*) AS inserted, count(*) FILTER (WHERE ins.source_created_at < (SELECT me.last_created_at FROM me)) AS late FROM ins)
UPDATE service_ops.integration_poll_watermark w
   SET scan_ts = CASE WHEN n.is_last THEN NULL ELSE coalesce(last.created_at, w.scan_ts) END,
       scan_id = coalesce(last.id::text, w.scan_id),
       edge = greatest(w.edge, CASE WHEN w.proven IS NULL THEN w.edge           -- least(NULL, x) is x: this test is part of the proof
                                    WHEN n.is_last THEN w.proven
                                    WHEN last.created_at IS NULL THEN w.edge
                                    ELSE least(w.proven, last.created_at) END),
       -- Where one page was without the task's row, not everything was taken in (see fresh); nor where one has read another table,
       -- which had the name for a while.
       scan_snapshot = CASE WHEN whole.it_is THEN w.scan_snapshot END,
       window_snapshot = CASE WHEN n.is_last THEN CASE WHEN whole.it_is THEN w.scan_snapshot END ELSE w.window_snapshot END,
       window_from = CASE WHEN n.is_last THEN w.scan_start ELSE w.window_from END,
       last_created_at = CASE WHEN ahead.it_is THEN last.created_at ELSE w.last_created_at END,
       last_message_id = CASE WHEN ahead.it_is THEN last.id::text ELSE w.last_message_id END,
       rows_total = w.rows_total + i.inserted,
       late_rows_total = w.late_rows_total + i.late,
       updated_at = clock_timestamp()
  FROM me CROSS JOIN n CROSS JOIN i LEFT JOIN last ON true
 CROSS JOIN LATERAL (
       SELECT last.created_at > me.last_created_at OR (me.last_created_at IS NULL AND last.created_at IS NOT NULL)
              OR (last.created_at = me.last_created_at AND last.id > CAST(me.last_message_id AS :"id_type")) AS it_is) ahead
 CROSS JOIN LATERAL (
       SELECT EXISTS (SELECT FROM f) AND split_part(me.window_source, ' ', 1) = CAST(:"relation" AS regclass)::oid::text AS it_is) whole
 WHERE w.poller = me.poller
RETURNING n.n, i.inserted, i.late, w.scan_ts IS NOT NULL AS more, w.edge::text AS edge, n.skims;

-- name: reading
-- The rows after the position, as many as a page has. Scalar sub-selects keep the index order of the source. A page of the
-- way `ahead`, which is planned once, has its size in the text and no row by name: for any size, and perhaps one row, the plan
-- that is kept would read the whole source.
page AS MATERIALIZED (
  SELECT :"columns", :"is_seen" AS is_seen
    FROM :"source" tidemark_source
   WHERE (tidemark_source.:"created_at", tidemark_source.:"id") > (:"scan_from", coalesce(CAST((SELECT me.scan_id FROM me) AS :"id_type"), :"lowest_id"))
     AND tidemark_source.:"id" IS NOT NULL            -- one row without an id would fail every page that it is in
     AND :"alone"
     AND :"where"
   ORDER BY tidemark_source.:"created_at", tidemark_source.:"id" LIMIT :"limit"),
n AS (SELECT count(*) AS n, count(*) < $5::integer AND $8::text IS NULL AS is_last, false AS skims FROM page),
last AS (SELECT p.created_at, p.id FROM page p ORDER BY p.created_at DESC, p.id DESC LIMIT 1)

-- name: alone
($8::text IS NULL OR tidemark_source.:"id"::text = $8::text)

-- name: skimming
-- $9 rows to walk over, at most. Of the next so many rows up to the greatest cursor those that were not seen yet, as many as a
-- page has. How far it walks is bounded by what it looks at, not by what it finds: one walk by the index alone says how far,
-- one reads the age of each row, and nothing but what is new is copied: 0.4 microseconds a row (a numbered list of the first
-- walk would be 0.9). It never ends the pass.
far AS MATERIALIZED (
  SELECT :"time" AS created_at, tidemark_source.:"id" AS id
    FROM :"source" tidemark_source
   WHERE :"ahead"
   ORDER BY tidemark_source.:"created_at", tidemark_source.:"id" LIMIT 1 OFFSET $9::integer - 1),
walk AS MATERIALIZED (
  SELECT far.created_at, far.id, $9::bigint AS n FROM far
  UNION ALL
  SELECT e.created_at, e.id, (SELECT count(*) FROM :"source" tidemark_source WHERE :"ahead")
    FROM (SELECT :"time" AS created_at, tidemark_source.:"id" AS id
            FROM :"source" tidemark_source
           WHERE :"ahead"
           ORDER BY tidemark_source.:"created_at" DESC, tidemark_source.:"id" DESC LIMIT 1) e
   WHERE NOT EXISTS (SELECT FROM far)),
page AS MATERIALIZED (
  SELECT :"columns", false AS is_seen
    FROM :"source" tidemark_source
   WHERE (tidemark_source.:"created_at", tidemark_source.:"id") > (:"scan_from", coalesce(CAST((SELECT me.scan_id FROM me) AS :"id_type"), :"lowest_id"))
     AND (tidemark_source.:"created_at", tidemark_source.:"id") <= (:"walked", (SELECT walk.id FROM walk))
     AND tidemark_source.:"id" IS NOT NULL
     AND $8::text IS NULL
     AND NOT :"is_seen"
     AND :"where"
   ORDER BY tidemark_source.:"created_at", tidemark_source.:"id" LIMIT $5::integer),
n AS (
  SELECT CASE WHEN p.n < $5::integer THEN coalesce(w.n, 0) ELSE p.n END AS n, false AS is_last,
         p.n = $5::integer OR coalesce(w.n = $9::integer, false) AS skims, p.n = $5::integer AS is_full
    FROM (SELECT count(*) AS n FROM page) p LEFT JOIN walk w ON true),
last AS (
  (SELECT p.created_at, p.id FROM page p CROSS JOIN n WHERE n.is_full ORDER BY p.created_at DESC, p.id DESC LIMIT 1)
  UNION ALL
  SELECT walk.created_at, walk.id FROM walk CROSS JOIN n WHERE NOT n.is_full)

-- name: up_to_greatest
-- What the walk goes over.
(tidemark_source.:"created_at", tidemark_source.:"id") > (:"scan_from", coalesce(CAST((SELECT me.scan_id FROM me) AS :"id_type"), :"lowest_id"))
   AND (tidemark_source.:"created_at", tidemark_source.:"id") <= (:"greatest", CAST((SELECT me.last_message_id FROM me) AS :"id_type"))
   AND tidemark_source.:"id" IS NOT NULL

-- name: fresh
-- What of the page is not in the inbox. The look is LATERAL: NOT EXISTS flips to a hash of the whole inbox when it was never
-- analyzed (33 ms a page against 6). OFFSET 0: payloads are built for new rows alone, and once each.
(SELECT p.*, :"payload" AS built
   FROM (SELECT page.*
           FROM page
           LEFT JOIN LATERAL (
                SELECT true AS hit FROM service_ops.integration_inbox i WHERE i.source = $1 AND i.message_id = :"stored_id" LIMIT 1) x ON true
          WHERE x.hit IS NULL AND NOT page.is_seen
            AND page.created_at >= coalesce((SELECT f.at FROM f), CASE WHEN EXISTS (SELECT FROM f) THEN '-infinity'
                                                                       ELSE (SELECT me.edge FROM me) END)
         OFFSET 0) p
  ORDER BY p.created_at, p.id OFFSET 0) p

-- name: ahead
-- The whole page, without a look: where the page before was all new, looks find nothing. What the inbox has is refused by ON
-- CONFLICT; it costs a number and a payload built for nothing. The page's own order is the order of arrival.
(SELECT p.*, :"payload" AS built
   FROM page p
  WHERE p.created_at >= coalesce((SELECT f.at FROM f), CASE WHEN EXISTS (SELECT FROM f) THEN '-infinity' ELSE (SELECT me.edge FROM me) END)
 OFFSET 0) p

-- name: next_id
-- $1 poller, $2 holder, $3 term, $4 pass. Which row the next page of the present pass begins with.
WITH me AS (
  SELECT w.* FROM service_ops.integration_poll_watermark w
   WHERE w.poller = $1 AND w.holder = $2::uuid AND w.term = $3::bigint AND w.pass = $4::bigint AND w.scan_ts IS NOT NULL)
SELECT tidemark_source.:"id"::text AS id
  FROM :"source" tidemark_source
 WHERE (tidemark_source.:"created_at", tidemark_source.:"id") > (:"scan_from", coalesce(CAST((SELECT me.scan_id FROM me) AS :"id_type"), :"lowest_id"))
   AND tidemark_source.:"id" IS NOT NULL
   AND :"where"
 ORDER BY tidemark_source.:"created_at", tidemark_source.:"id" LIMIT 1;

-- name: remake
-- $1 poller, $2 holder, $3 term, $4 pass. Makes a missing row again under the present term, while it is still ours to
-- make, from the last edge in the ledger (not the greatest: a reset may have moved it back) and never below what is
-- forgotten. Takes the locks in their order; the leader's row decides, since an elector that lost has drawn a later term.
WITH t AS (
  SELECT t.task_name FROM service_ops.leader_term t WHERE t.task_name = $1 FOR UPDATE),
l AS (
  SELECT b.task_name FROM service_ops.background_task_leader b JOIN t USING (task_name)
   WHERE b.holder = $2::uuid AND b.term = $3::bigint FOR UPDATE OF b)
INSERT INTO service_ops.integration_poll_watermark (id, poller, holder, term, pass, edge)
SELECT k.id, $1, $2::uuid, $3::bigint, $4::bigint,
       greatest((SELECT r.edge FROM service_ops.poll_run r WHERE r.poller = $1 AND r.edge IS NOT NULL ORDER BY r.term DESC, r.run_id DESC LIMIT 1), k.forgotten_before, '-infinity')
  FROM l JOIN service_ops.background_task k USING (task_name)
ON CONFLICT (poller) DO NOTHING
RETURNING edge::text AS edge;

-- name: exists
-- $1 poller. The one look that tells a missing row from a fence.
SELECT EXISTS (SELECT FROM service_ops.integration_poll_watermark WHERE poller = $1) AS present;
