-- The history in steps of 10 and of 60 minutes (tables/history/steps.ts). Times are cut by their seconds: PostgreSQL 13 has no date_bin().

-- name: reach
-- Where the work lies, in milliseconds: the hour of the oldest minute; the newest hour that has been rolled up; the hour of the
-- first minute after that one; now. Each from one end of an index.
WITH newest AS MATERIALIZED (SELECT max(s.at) AS at FROM service_ops.history_step s WHERE s.minutes = 60),
ends AS (
  SELECT (SELECT min(h.at) FROM service_ops.history_minute h) AS oldest,
         newest.at AS newest,
         (SELECT min(h.at) FROM service_ops.history_minute h WHERE h.at >= coalesce((SELECT n.at FROM newest n) + interval '1 hour', '-infinity')) AS next
    FROM newest)
SELECT floor(date_part('epoch', ends.oldest) / 3600) * 3600000 AS oldest_ms,
       date_part('epoch', ends.newest) * 1000 AS newest_ms,
       floor(date_part('epoch', ends.next) / 3600) * 3600000 AS next_ms,
       date_part('epoch', clock_timestamp()) * 1000 AS now_ms
  FROM ends;

-- name: roll_up
-- $1 from, $2 to, both at full hours, $3 names of what is counted: summed up; of the others the greatest value of a step. Steps
-- that are as they were are left alone.
WITH tens AS MATERIALIZED (
  SELECT to_timestamp(floor(date_part('epoch', h.at) / 600) * 600) AS at, h.name, h.key,
         CASE WHEN h.name = ANY ($3::text[]) THEN sum(h.value) ELSE max(h.value) END AS value
    FROM service_ops.history_minute h
   WHERE h.at >= $1::timestamptz AND h.at < $2::timestamptz
   GROUP BY 1, 2, 3),
steps(minutes, at, name, key, value) AS (
  SELECT 10, t.at, t.name, t.key, t.value FROM tens t
   UNION ALL
  SELECT 60, to_timestamp(floor(date_part('epoch', t.at) / 3600) * 3600), t.name, t.key,
         CASE WHEN t.name = ANY ($3::text[]) THEN sum(t.value) ELSE max(t.value) END
    FROM tens t GROUP BY 2, 3, 4)
INSERT INTO service_ops.history_step AS s (minutes, at, name, key, value)
SELECT n.minutes, n.at, n.name, n.key, n.value FROM steps n ORDER BY n.minutes, n.at, n.name, n.key
ON CONFLICT (minutes, at, name, key) DO UPDATE SET value = EXCLUDED.value WHERE s.value <> EXCLUDED.value;

-- name: forget
-- $1 how long the history is kept.
DELETE FROM service_ops.history_step s WHERE s.minutes IN (10, 60) AND s.at < statement_timestamp() - $1::interval;

-- name: read
-- $1 from, $2 to, $3 seconds of a step, $4 names of what is counted: summed up; of the others the greatest value. $5 length of the
-- stored steps, in minutes: a part of those that are asked for. The newest of them may lack minutes, and the one before it the last
-- counts of its end: from there on the minutes themselves are read. The first step is whole.
WITH tail AS MATERIALIZED (
  SELECT coalesce(max(s.at) - $5::integer * interval '1 minute', '-infinity') AS at FROM service_ops.history_step s WHERE s.minutes = $5::integer),
stored AS (
  SELECT s.at, s.name, s.key, s.value
    FROM service_ops.history_step s
   WHERE s.minutes = $5::integer
     AND s.at >= to_timestamp(floor(date_part('epoch', $1::timestamptz) / $3::integer) * $3::integer)
     AND s.at < least($2::timestamptz, (SELECT tail.at FROM tail))
   UNION ALL
  SELECT h.at, h.name, h.key, h.value
    FROM service_ops.history_minute h
   WHERE h.at >= greatest(to_timestamp(floor(date_part('epoch', $1::timestamptz) / $3::integer) * $3::integer), (SELECT tail.at FROM tail))
     AND h.at < $2::timestamptz)
SELECT to_char(to_timestamp(s.step) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at, s.name, s.key, s.value
  FROM (SELECT floor(date_part('epoch', r.at) / $3::integer) * $3::integer AS step, r.name, r.key,
               CASE WHEN r.name = ANY ($4::text[]) THEN sum(r.value) ELSE max(r.value) END AS value
          FROM stored r GROUP BY 1, 2, 3) s
 ORDER BY s.step, s.name, s.key;
