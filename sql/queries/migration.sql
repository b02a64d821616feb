-- What the migrator asks and does beside the files of sql/migrations. All on its own connection.

-- name: try_lock
-- Tried, never waited for: a blocked waiter holds a snapshot and can deadlock with CREATE INDEX CONCURRENTLY.
SELECT pg_try_advisory_lock($1::bigint) AS got

-- name: unlock
SELECT pg_advisory_unlock($1::bigint)

-- name: lock_key
SELECT hashtextextended($1, 0)::text AS key

-- name: lock_holder
-- A bigint key stands in pg_locks in two halves. backend_start is NULL for a session that this role may not see.
SELECT l.pid, a.application_name AS application,
       extract(epoch FROM clock_timestamp() - a.backend_start)::int AS age_s
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
   AND (l.classid::bigint << 32) | l.objid::bigint = $1::bigint

-- name: what_is_there
SELECT to_regnamespace('service_ops') IS NOT NULL AS schema,
       to_regclass('service_ops.migrations') IS NOT NULL AS migrations,
       to_regclass('service_ops.schema_window') IS NOT NULL AS schema_window

-- name: make_schema
-- Only when it is not there: the statement asks for CREATE on the database even when it has nothing to do.
CREATE SCHEMA IF NOT EXISTS service_ops

-- name: make_migrations_table
-- The form that postgres-migrations 5 expects, in our schema and before it looks for one.
CREATE TABLE IF NOT EXISTS service_ops.migrations (
  id          integer PRIMARY KEY,
  name        varchar(100) UNIQUE NOT NULL,
  hash        varchar(40) NOT NULL,
  executed_at timestamp DEFAULT current_timestamp
);
COMMENT ON TABLE service_ops.migrations IS 'Files of sql/migrations that have been applied; kept by postgres-migrations.';
COMMENT ON COLUMN service_ops.migrations.id IS 'Number of the file; 0 is this table itself.';
COMMENT ON COLUMN service_ops.migrations.name IS 'Name of the file.';
COMMENT ON COLUMN service_ops.migrations.hash IS 'SHA-1 of name and text: a released file is never edited.';
COMMENT ON COLUMN service_ops.migrations.executed_at IS 'When it was applied first.';

-- name: enter_schema
-- pg_catalog is searched before everything without being named; pg_temp last, so that nothing there can pose as ours.
SELECT set_config('search_path', 'service_ops, pg_temp', false)

-- name: leave_schema
RESET search_path

-- name: set_limits
-- $1 statement limit, $2 lock limit, both in milliseconds as text; 0 is none.
SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false)

-- name: applied
SELECT id, name, hash FROM service_ops.migrations ORDER BY id

-- name: record
INSERT INTO service_ops.migrations (id, name, hash) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING

-- name: invalid_indexes
-- $1 names of the indexes that our files make CONCURRENTLY. IF NOT EXISTS would keep the remains of a failed attempt.
SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %s', i.indexrelid::regclass) AS drop
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 WHERE NOT i.indisvalid AND c.relnamespace = to_regnamespace('service_ops') AND c.relname = ANY ($1::text[])

-- name: indexes
-- $1 names. Those of them that are indexes of ours and valid.
SELECT c.relname AS name
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 WHERE i.indisvalid AND c.relnamespace = to_regnamespace('service_ops') AND c.relname = ANY ($1::text[])

-- name: window
SELECT schema_version, oldest_code FROM service_ops.schema_window ORDER BY schema_version DESC, at DESC LIMIT 1

-- name: missing
-- $1 relations, $2 functions, $3 columns, all with their schema; functions by name alone, columns of tables that are there.
-- From the catalogs, which one snapshot sees whole: to_regclass sees each name at a moment of its own, in the middle of a
-- DROP … CASCADE too.
WITH ours AS MATERIALIZED (
  SELECT s.nspname || '.' || c.relname AS name, c.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
   WHERE s.nspname = 'service_ops')
SELECT n.name FROM unnest($1::text[]) n(name) WHERE NOT EXISTS (SELECT FROM ours WHERE ours.name = n.name)
UNION ALL
SELECT n.name || '()' FROM unnest($2::text[]) n(name)
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
                    WHERE s.nspname || '.' || p.proname = n.name)
UNION ALL
SELECT n.name
  FROM unnest($3::text[]) n(name) JOIN ours ON ours.name = split_part(n.name, '.', 1) || '.' || split_part(n.name, '.', 2)
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid = ours.oid AND a.attname = split_part(n.name, '.', 3) AND NOT a.attisdropped)
 ORDER BY 1
