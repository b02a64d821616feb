-- What stands between us and the server.

-- name: backend
SELECT pg_backend_pid() AS pid

-- name: server
SELECT quote_ident(current_database()) AS database, current_setting('server_encoding') AS encoding,
       current_setting('server_version') AS version, current_setting('server_version_num')::integer AS version_number

-- name: limits
-- What a session has from its role and its server, and the limits of ours that it has not.
SELECT quote_ident(current_user) AS role, current_setting('default_transaction_isolation') AS isolation,
       ARRAY(SELECT s.name FROM pg_catalog.pg_settings s
              WHERE s.name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') AND s.setting = '0'
              ORDER BY s.name)::text[] AS missing
