-- Statements of the parts line, scale and soak.

-- name: make_line
-- A source as people have it; times are those of the writer's transaction.
CREATE TABLE IF NOT EXISTS bench.line (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  payload    jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS line_cursor ON bench.line (created_at, id);

-- name: fill_line
-- $1 rows before anything polls the source: a millisecond apart up to now.
INSERT INTO bench.line (created_at, payload)
SELECT now() - ($1::integer - n) * interval '1 ms', jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5))
  FROM generate_series(1, $1::integer) n;

-- name: write
-- $1 number, $2 rows. One commit of a writer: about 200 bytes of payload a row.
INSERT INTO bench.line (payload)
SELECT jsonb_build_object('n', n, 'kind', 'bench', 'text', repeat(md5(n::text), 5))
  FROM generate_series($1::bigint, $1::bigint + $2::integer - 1) n;

-- name: mark
-- The newest message and the newest row so far: what a step writes comes after.
SELECT (SELECT coalesce(max(i.inbox_id), 0) FROM service_ops.integration_inbox i)::text AS inbox,
       (SELECT coalesce(max(l.id), 0) FROM bench.line l)::text AS source;

-- name: read_again
-- $1 rows at most. Of those that were written, how many the next pass reads again, being at the edge or past it.
SELECT count(*)::integer AS rows
  FROM (SELECT FROM bench.line l
         WHERE l.created_at >= (SELECT w.edge FROM service_ops.integration_poll_watermark w WHERE w.poller = 'bench_line')
         LIMIT $1::integer) r;

-- name: newest_done
-- Whether the newest row of the source is DONE. Rows are mostly done in their order, so only then it is worth counting.
SELECT i.status = 'DONE' AS done FROM service_ops.integration_inbox i
 WHERE i.source = 'bench_line' AND i.message_id = (SELECT max(l.id)::text FROM bench.line l);

-- name: row_done
-- $1 number of a row. Whether it is DONE.
SELECT EXISTS (SELECT FROM service_ops.integration_inbox i
                WHERE i.source = 'bench_line' AND i.message_id = $1::text AND i.status = 'DONE') AS done;

-- name: open_rows
-- $1 $2 marks. Rows that were written after the marks and are not DONE.
SELECT ((SELECT count(*) FROM bench.line l WHERE l.id > $2::bigint)
      - (SELECT count(*) FROM service_ops.integration_inbox i
          WHERE i.inbox_id > $1::bigint AND i.source = 'bench_line' AND i.status = 'DONE'))::integer AS open;

-- name: faults
-- Each row of the source is one message, done in its first attempt under its first claim. Those that are not:
SELECT (SELECT count(*) FROM bench.line l)::integer AS written,
       (SELECT count(*) FROM bench.line l
         WHERE NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.source = 'bench_line' AND i.message_id = l.id::text))::integer AS lost,
       (SELECT count(*) FROM service_ops.integration_inbox i WHERE i.source = 'bench_line' AND i.status <> 'DONE')::integer AS open,
       (SELECT count(*) FROM service_ops.integration_inbox i WHERE i.source = 'bench_line' AND (i.attempts > 1 OR i.claim > 1))::integer AS again;

-- name: burst
-- $1 mark. From the first row taken in to the last one done.
SELECT count(*)::integer AS rows, extract(epoch FROM max(i.processed_at) - min(i.created_at))::float8 AS seconds
  FROM service_ops.integration_inbox i WHERE i.inbox_id > $1::bigint AND i.source = 'bench_line';

-- name: step
-- $1 mark. Latency from the arrival of the statement that wrote the row, which is before its COMMIT, to processed_at: both of
-- the server's clock. Open messages are averages over the first and the last quarter of the time of writing.
WITH m AS MATERIALIZED (
  SELECT i.source_created_at AS came, i.processed_at AS done
    FROM service_ops.integration_inbox i WHERE i.inbox_id > $1::bigint AND i.source = 'bench_line'),
t AS (SELECT min(m.came) AS begun, max(m.came) AS ended, (max(m.came) - min(m.came)) / 4 AS quarter FROM m)
SELECT count(*)::integer AS rows,
       extract(epoch FROM min(t.ended) - min(t.begun))::float8 AS seconds,
       count(*) FILTER (WHERE m.done <= t.ended)::integer AS "doneMeanwhile",
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM m.done - m.came))::float8 * 1000 AS "p50Ms",
       percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM m.done - m.came))::float8 * 1000 AS "p95Ms",
       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM m.done - m.came))::float8 * 1000 AS "p99Ms",
       max(extract(epoch FROM m.done - m.came))::float8 * 1000 AS "maxMs",
       avg(extract(epoch FROM m.done - m.came))::float8 * 1000 AS "meanMs",
       coalesce(sum(extract(epoch FROM least(m.done, t.begun + t.quarter) - m.came)) FILTER (WHERE m.came < t.begun + t.quarter)
         / nullif(extract(epoch FROM min(t.quarter)), 0), 0)::float8 AS "openFirst",
       coalesce(sum(extract(epoch FROM least(m.done, t.ended) - greatest(m.came, t.ended - t.quarter))) FILTER (WHERE m.done > t.ended - t.quarter)
         / nullif(extract(epoch FROM min(t.quarter)), 0), 0)::float8 AS "openLast"
  FROM m CROSS JOIN t;

-- name: slices
-- $1 mark, $2 seconds of a slice. Latency of what came in a slice, and how much was done in it; whole slices only.
WITH m AS MATERIALIZED (
  SELECT i.source_created_at AS came, i.processed_at AS done
    FROM service_ops.integration_inbox i WHERE i.inbox_id > $1::bigint AND i.source = 'bench_line'),
t AS (SELECT min(m.came) AS begun, floor(extract(epoch FROM max(m.came) - min(m.came)) / $2::float8 + 0.1)::integer AS slices FROM m),
c AS (
  SELECT floor(extract(epoch FROM m.came - t.begun) / $2::float8)::integer AS slice,
         percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM m.done - m.came))::float8 * 1000 AS "p50Ms",
         percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM m.done - m.came))::float8 * 1000 AS "p99Ms"
    FROM m CROSS JOIN t GROUP BY 1),
d AS (
  SELECT floor(extract(epoch FROM m.done - t.begun) / $2::float8)::integer AS slice, count(*) / $2::float8 AS "perSecond"
    FROM m CROSS JOIN t GROUP BY 1)
SELECT c."p50Ms", c."p99Ms", coalesce(d."perSecond", 0) AS "perSecond"
  FROM t CROSS JOIN LATERAL generate_series(0, t.slices - 1) n(slice) LEFT JOIN c USING (slice) LEFT JOIN d USING (slice)
 ORDER BY n.slice;

-- name: bloat
-- What the tables of Tidemark have come to.
SELECT sum(s.n_dead_tup)::float8 AS "deadRows", sum(s.n_live_tup)::float8 AS "liveRows",
       sum(pg_relation_size(s.relid))::float8 / 1048576 AS "heapMb", sum(pg_indexes_size(s.relid))::float8 / 1048576 AS "indexMb"
  FROM pg_catalog.pg_stat_all_tables s WHERE s.schemaname = 'service_ops';
