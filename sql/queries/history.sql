-- What was counted, minute by minute (runner/history.ts).

-- name: clock
-- The database's clock, in milliseconds.
SELECT extract(epoch FROM clock_timestamp())::double precision * 1000 AS now_ms;

-- name: add
-- $1 minute, $2 instance, $3 number of its batch, $4 names, $5 keys, $6 values. Adds what one instance counted in that minute, once:
-- where its row `flushed` has this number already, the batch was written and only its answer was lost. A statement that was
-- cut off and still runs holds that row, so that its repetition waits to see what becomes of it. In one order, so that
-- instances which write the same rows at once do not wait for each other in a circle.
WITH mark AS (
  INSERT INTO service_ops.history_minute AS h (at, name, key, value)
  VALUES ($1::timestamptz, 'flushed', $2, $3::double precision)
  ON CONFLICT (at, name, key) DO UPDATE SET value = EXCLUDED.value WHERE h.value < EXCLUDED.value
  RETURNING h.at),
added AS (
  INSERT INTO service_ops.history_minute AS h (at, name, key, value)
  SELECT mark.at, u.name, u.key, u.value
    FROM mark CROSS JOIN unnest($4::text[], $5::text[], $6::double precision[]) u(name, key, value)
   ORDER BY u.name, u.key
  ON CONFLICT (at, name, key) DO UPDATE SET value = h.value + EXCLUDED.value)
SELECT extract(epoch FROM clock_timestamp())::double precision * 1000 AS now_ms;

-- name: sample
-- $1 how much is looked at for a source without a mark. What is so at this moment, for this minute; a second look in it takes
-- the place of the first. Of what instances that live have in their configuration: what nobody works on grows for ever and
-- says nothing new. The open messages are walked over once for all sources, from their lowest low-water mark on, as in
-- metrics.sql; a source that has none yet is looked at by itself. Those that have next_attempt_at stand in an index of their
-- own, and of the dead ones, which are the most, that index tells enough.
-- Late rows are the ledger's. A pass may be written down a moment after its minute, and a sample may not come: the last ten
-- minutes are summed up again each time.
WITH live AS MATERIALIZED (
  SELECT t.task_name, t.kind, t.sources FROM service_ops.background_task t
   WHERE EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.state <> 'stopped' AND t.task_name = ANY (i.tasks)
                    AND i.last_seen_at > clock_timestamp() - interval '30 seconds')),
source AS MATERIALIZED (
  SELECT s.source, w.low
    FROM (SELECT DISTINCT unnest(live.sources) AS source FROM live WHERE live.kind = 'processor') s
    LEFT JOIN service_ops.inbox_low_water w USING (source)),
open AS MATERIALIZED (
  SELECT m.source, m.status, count(*) AS messages, min(m.created_at) AS since
    FROM (SELECT min(source.low) AS low, (SELECT max(i.inbox_id) FROM service_ops.integration_inbox i) AS head FROM source) b
   CROSS JOIN LATERAL generate_series(b.low, b.head, 5000) g(above)
   CROSS JOIN LATERAL (SELECT i.source, i.status, i.created_at, i.next_attempt_at FROM service_ops.integration_inbox i
                        WHERE i.inbox_id > g.above AND i.inbox_id <= g.above + 5000 ORDER BY i.inbox_id LIMIT 5000) m
   WHERE m.status IN ('NEW', 'PROCESSING') AND m.next_attempt_at IS NULL
     AND m.source = ANY (ARRAY(SELECT source.source FROM source WHERE source.low IS NOT NULL))
   GROUP BY m.source, m.status
   UNION ALL
  SELECT m.source, m.status, count(*), min(m.created_at)
    FROM source
   CROSS JOIN LATERAL (SELECT i.source, i.status, i.created_at, i.next_attempt_at FROM service_ops.integration_inbox i
                        WHERE i.source = source.source ORDER BY i.message_id LIMIT $1::integer) m
   WHERE source.low IS NULL AND m.status IN ('NEW', 'PROCESSING') AND m.next_attempt_at IS NULL
   GROUP BY m.source, m.status
   UNION ALL
  SELECT m.source, m.status, count(*), min(m.created_at)
    FROM source
   CROSS JOIN LATERAL (SELECT i.source, i.status, i.created_at FROM service_ops.integration_inbox i
                        WHERE i.source = source.source AND i.next_attempt_at < 'infinity' ORDER BY i.next_attempt_at) m
   GROUP BY m.source, m.status
   UNION ALL
  SELECT source.source, 'DEAD', count(*), NULL
    FROM source
   CROSS JOIN LATERAL (SELECT i.next_attempt_at FROM service_ops.integration_inbox i
                        WHERE i.source = source.source AND i.next_attempt_at = 'infinity' ORDER BY i.next_attempt_at) m
   GROUP BY source.source),
now AS MATERIALIZED (SELECT date_trunc('minute', clock_timestamp()) AS minute),
found(at, name, key, value) AS (
  SELECT now.minute, 'backlog', o.source || ' ' || o.status, sum(o.messages)
    FROM now, open o JOIN source USING (source) GROUP BY 1, 3
   UNION ALL
  SELECT now.minute, 'oldest_seconds', o.source, extract(epoch FROM clock_timestamp() - min(o.since))
    FROM now, open o JOIN source USING (source) WHERE o.status <> 'DEAD' GROUP BY 1, 3
   UNION ALL
  SELECT now.minute, lag.name, p.poller, lag.seconds
    FROM now, service_ops.poller_status p
   CROSS JOIN LATERAL (VALUES ('lag_seconds', p.lag_seconds), ('edge_lag_seconds', p.edge_lag_seconds)) lag(name, seconds)
   WHERE NOT p.orphaned AND lag.seconds IS NOT NULL
   UNION ALL
  SELECT now.minute, 'instances', i.state, count(*)
    FROM now, service_ops.instance_status i WHERE i.state <> 'stopped' GROUP BY 1, 3
   UNION ALL
  SELECT date_trunc('minute', r.finished_at), 'late_rows', r.poller, sum(r.late_rows)
    FROM now, live JOIN service_ops.poll_run r ON r.poller = live.task_name
   WHERE r.finished_at >= now.minute - interval '10 minutes' AND r.started_at > now.minute - interval '1 hour'
     AND r.late_rows > 0
   GROUP BY 1, 3),
written AS (
  INSERT INTO service_ops.history_minute AS h (at, name, key, value)
  SELECT f.at, f.name, f.key, f.value FROM found f ORDER BY f.at, f.name, f.key
  ON CONFLICT (at, name, key) DO UPDATE SET value = EXCLUDED.value WHERE h.value <> EXCLUDED.value)
SELECT extract(epoch FROM clock_timestamp())::double precision * 1000 AS now_ms;

-- name: forget
-- $1 how long the history is kept. By the index, since the time is the same for all rows: once a minute there is a minute to forget.
-- Where nobody was there for days there is as much to forget; an hour of it at a time, which no limit of a statement cuts off.
DELETE FROM service_ops.history_minute h
 WHERE h.at < statement_timestamp() - $1::interval
   AND h.at < (SELECT min(o.at) FROM service_ops.history_minute o) + interval '1 hour';

-- name: read
-- $1 from, $2 to, $3 seconds of a step, $4 names of what is counted: summed up. Of the others the greatest value of a step. Steps
-- begin at multiples of their length; the first one is whole. date_part, not extract, whose numerics are
-- slower.
SELECT to_char(to_timestamp(s.step) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at, s.name, s.key, s.value
  FROM (SELECT floor(date_part('epoch', h.at) / $3::integer) * $3::integer AS step, h.name, h.key,
               CASE WHEN h.name = ANY ($4::text[]) THEN sum(h.value) ELSE max(h.value) END AS value
          FROM service_ops.history_minute h
         WHERE h.at >= to_timestamp(floor(date_part('epoch', $1::timestamptz) / $3::integer) * $3::integer) AND h.at < $2::timestamptz
         GROUP BY 1, 2, 3) s
 ORDER BY s.step, s.name, s.key;

-- name: leader_changes
-- $1 from, $2 to, $3 rows at most, the newest.
SELECT to_jsonb(c) AS change
  FROM (SELECT c.task_name, c.from_instance, c.to_instance, c.term, c.reason, c.gap_ms, c.at
          FROM service_ops.leader_change c
         WHERE c.at >= $1::timestamptz AND c.at < $2::timestamptz ORDER BY c.at DESC, c.change_id DESC LIMIT $3::integer) c
 ORDER BY c.at, c.term;
