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

-- name: strangers
-- Instances on record that were no machine of a rehearsal.
SELECT instance_id FROM service_ops.runner_instance WHERE coalesce(machine_id, '') !~ '^(blue|green)[0-9]+-[0-9]+$' ORDER BY 1;

-- name: schemas
-- $1 schemas. Those that are there, in this order.
SELECT s.name FROM unnest($1::text[]) WITH ORDINALITY s(name, n)
 WHERE EXISTS (SELECT FROM pg_catalog.pg_namespace p WHERE p.nspname = s.name) ORDER BY s.n;

-- name: foreign_tables
-- $1 schemas of ours. Tables and views elsewhere that no extension brought, the first few.
SELECT format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
   AND n.nspname <> ALL ($1::text[]) AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1 LIMIT 3;
