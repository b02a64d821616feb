-- name: connections
-- Connections that a role without special rights may still open.
SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
       - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())::integer AS free;

-- name: exists
-- $1 table, quoted.
SELECT to_regclass($1) IS NOT NULL AS there;

-- name: has_inbox
SELECT to_regclass('service_ops.integration_inbox') IS NOT NULL AND to_regclass('service_ops.runner_instance') IS NOT NULL AS there;

-- name: used_inbox
-- $1 sources. Names of those with messages.
SELECT s.source FROM unnest($1::text[]) s(source)
 WHERE EXISTS (SELECT FROM service_ops.integration_inbox m WHERE m.source = s.source) ORDER BY 1;

-- name: living
-- Instances that have not stopped, and were there a moment ago.
SELECT instance_id FROM service_ops.runner_instance
 WHERE state <> 'stopped' AND last_seen_at > clock_timestamp() - interval '1 minute' ORDER BY 1;

-- name: has_rows
SELECT EXISTS (SELECT FROM :"table") AS used;
