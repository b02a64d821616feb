-- What tests of handlers ask of a server and of a database of their own (src/testing).

-- name: hold
-- $1 name. A session lock: whoever has it lives, and what bears its name is in use.
SELECT pg_try_advisory_lock(hashtextextended('tidemark:testing:' || $1, 0)) AS held;

-- name: let_go
-- $1 name.
SELECT pg_advisory_unlock(hashtextextended('tidemark:testing:' || $1, 0));

-- name: role
SELECT current_user AS name;

-- name: complete
-- $1 database. A template refuses connections from when it is complete; one that does not was left half made.
SELECT NOT d.datallowconn AS complete FROM pg_catalog.pg_database d WHERE d.datname = $1;

-- name: create
CREATE DATABASE :"name" TEMPLATE :"template"

-- name: seal
ALTER DATABASE :"name" WITH ALLOW_CONNECTIONS false

-- name: drop
DROP DATABASE IF EXISTS :"name" WITH (FORCE)

-- name: mark_used
-- $1 quoted text; a comment is no place for a parameter.
COMMENT ON DATABASE :"name" IS :"used"

-- name: leftovers
-- $1 prefix. Databases of tests.
SELECT d.datname AS name FROM pg_catalog.pg_database d WHERE left(d.datname, length($1)) = $1 ORDER BY 1;

-- name: stale
-- $1 prefix of templates, $2 age. Those that no process has used for so long, as their comment tells.
SELECT d.datname AS name FROM pg_catalog.pg_database d
 WHERE left(d.datname, length($1)) = $1 AND NOT d.datallowconn
   AND substring(pg_catalog.shobj_description(d.oid, 'pg_database') FROM 'used (\S+)$')::timestamptz < now() - $2::interval ORDER BY 1;

-- name: due
-- $1 sources. Whether a message of theirs may be claimed now, as far as its own row tells.
SELECT EXISTS (SELECT FROM service_ops.integration_inbox m
                WHERE m.source = ANY ($1::text[]) AND m.status IN ('NEW', 'FAILED')
                  AND coalesce(m.next_attempt_at, '-infinity') <= clock_timestamp()) AS due;

-- name: messages
-- $1 sources (NULL: all), $2 ids (NULL: all of these sources). The inbox as it stands, in order of coming in.
SELECT m.inbox_id::text AS inbox_id, m.source, m.message_id, m.status, m.attempts, m.max_attempts, m.interruptions, m.last_error,
       CASE WHEN m.status = 'FAILED' THEN m.next_attempt_at END AS next_attempt_at, m.payload, m.group_key, m.trace_id, m.processed_at
  FROM service_ops.integration_inbox m
 WHERE ($1::text[] IS NULL OR m.source = ANY ($1::text[])) AND ($2::text[] IS NULL OR m.message_id = ANY ($2::text[]))
 ORDER BY m.inbox_id;
