-- A test's clock goes forward by moving what is stored back: everything that compares a stored time with now() then sees it
-- as so much older (src/testing/clock.ts).

-- name: columns
-- $1 schemas of ours, $2 tables of sources, quoted, $3 the column of each that has the time. One row a table: its columns with
-- times. Left out: what names a life of the server and is no time of ours (cand_boot); what a unique index has (pg-boss's, of its
-- partitions, singleton_on), since rows would meet each other on their way; partitions, which move with their table.
WITH ours AS (
  SELECT c.oid, a.attname
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
   WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
     AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
     AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype) AND a.attname NOT IN ('cand_boot', 'singleton_on')
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey))),
theirs AS (
  SELECT to_regclass(s.name)::oid AS oid, s.time AS attname
    FROM unnest($2::text[], $3::text[]) s(name, time))
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind IN ('r', 'p') AS is_table, array_agg(x.attname::text ORDER BY x.attname) AS columns
  FROM (SELECT ours.oid, ours.attname FROM ours UNION SELECT theirs.oid, theirs.attname FROM theirs) x
  JOIN pg_catalog.pg_class c ON c.oid = x.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 GROUP BY 1, 2 ORDER BY 1;

-- name: quiet
-- No trigger is to see what no statement of an app has written; only a superuser may say so.
SELECT CASE WHEN current_setting('is_superuser') = 'on' THEN set_config('session_replication_role', 'replica', true) END AS role,
       set_config('lock_timeout', '10s', true);

-- name: move
-- $1 how far.
UPDATE :"table" SET :"times";

-- name: time
:"column" = :"column" - $1::interval
