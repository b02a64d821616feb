-- name: connections
-- Connections that a role without special rights may still open.
SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
       - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())::integer AS free;
