-- What `tidemark doctor` asks. Everything is read, nothing is locked for longer than it takes to look, and every statement
-- works for any role: what a role may not see is NULL or missing, which src/doctor says.

-- name: set_limits
-- $1 statement limit, $2 lock limit. Of this transaction alone: the address may be a pooler's.
SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)

-- name: identity
-- The same text for every address of one database on one server.
SELECT format('%s of the server that started at %s', quote_ident(current_database()), pg_postmaster_start_time()) AS database

-- name: settings
-- $1 names, $2 what each should be. What a session of this role begins with, where it is from, and what sets it right: for the
-- role, unless only the server has it. Limits are set in this very transaction, hence reset_val.
SELECT s.name, s.reset_val AS value, s.source,
       CASE WHEN s.context IN ('sighup', 'postmaster') THEN format('ALTER SYSTEM SET %I = %L; SELECT pg_reload_conf()', s.name, w.wanted)
            WHEN s.source = 'client' THEN format('take %s out of the options in the database''s address', s.name)
            ELSE format('ALTER ROLE %I %sSET %I = %L', session_user,
                        CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_db_role_setting d
                                           CROSS JOIN LATERAL unnest(d.setconfig) o
                                           WHERE d.setrole = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = session_user)
                                             AND d.setdatabase = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = current_database())
                                             AND o LIKE s.name || '=%')
                             THEN format('IN DATABASE %I ', current_database()) ELSE '' END, s.name, w.wanted) END AS remedy
  FROM unnest($1::text[], $2::text[]) w(name, wanted) JOIN pg_catalog.pg_settings s USING (name)

-- name: server
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS version_number,
       pg_is_in_recovery() AS is_standby, current_setting('server_encoding') AS encoding

-- name: connections
-- What the server, the database and the role allow, and what others than Tidemark hold of it. -1: no limit.
SELECT current_setting('max_connections')::integer AS most,
       current_setting('superuser_reserved_connections')::integer
         + coalesce(current_setting('reserved_connections', true)::integer, 0) AS reserved,
       (SELECT d.datconnlimit FROM pg_catalog.pg_database d WHERE d.datname = current_database()) AS of_database,
       (SELECT r.rolconnlimit FROM pg_catalog.pg_roles r WHERE r.rolname = session_user) AS of_role,
       quote_ident(current_database()) AS database, quote_ident(session_user) AS role,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a
         WHERE a.usesysid IS NOT NULL AND a.backend_type IS DISTINCT FROM 'walsender'
           AND a.application_name NOT LIKE 'tidemark:%')::integer AS others

-- name: living
-- Instances that run, as the views have it.
SELECT count(*)::integer AS living FROM service_ops.runner_instance i
 WHERE i.state <> 'stopped' AND i.last_seen_at > clock_timestamp() - interval '30 seconds'

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::double precision * 1000 AS ms

-- name: transactions
-- $1 age. Sessions whose transaction is older, and so holds the edge of every poller; oldest first. What belongs to no user
-- (autovacuum) or only sends the log of writes holds none.
SELECT a.pid, a.usename AS role, coalesce(nullif(a.application_name, ''), a.backend_type) AS application, a.state,
       host(a.client_addr) AS address, extract(epoch FROM clock_timestamp() - a.xact_start)::integer AS age_s
  FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
   AND a.usesysid IS NOT NULL AND a.backend_type IS DISTINCT FROM 'walsender'
   AND a.xact_start <= clock_timestamp() - $1::interval
 ORDER BY a.xact_start

-- name: prepared
-- $1 age.
SELECT p.gid, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::integer AS age_s,
       format('ROLLBACK PREPARED %L', p.gid) AS remedy
  FROM pg_catalog.pg_prepared_xacts p
 WHERE p.database = current_database() AND p.prepared <= clock_timestamp() - $1::interval
 ORDER BY p.prepared

-- name: slots
-- Replication slots that nobody reads: the log of writes since their position stays on the disk, and what they have an xmin of
-- is not vacuumed.
SELECT s.slot_name AS name, s.slot_type AS kind,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)) END AS kept,
       coalesce(s.xmin, s.catalog_xmin) IS NOT NULL AS keeps_rows,
       format('SELECT pg_drop_replication_slot(%L)', s.slot_name) AS remedy
  FROM pg_catalog.pg_replication_slots s
 WHERE NOT s.active AND NOT s.temporary AND (s.database IS NULL OR s.database = current_database())
   AND (s.restart_lsn IS NOT NULL OR s.xmin IS NOT NULL)
 ORDER BY s.slot_name

-- name: sight
-- Whether this role sees when the transactions of others began, and how many sessions it does not see that of now.
SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all, format('GRANT pg_read_all_stats TO %I', current_user) AS remedy,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a
         WHERE a.datname = current_database() AND a.usesysid IS NOT NULL AND a.backend_start IS NULL)::integer AS hidden,
       quote_ident(current_user) AS role

-- name: owners
-- Who alone may change our schema, where that is not this role.
SELECT quote_ident(current_user) AS role, min(quote_ident(r.rolname)) AS owner, count(*)::integer AS tables
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
 WHERE c.relnamespace = to_regnamespace('service_ops') AND c.relkind IN ('r', 'p', 'v') AND NOT pg_has_role(c.relowner, 'USAGE')

-- name: rls_below
-- $1 table or view, quoted. Tables, however far below a view, whose rows row-level security may hide from whoever reads them: the
-- owner of the view above them, or this role where the view says security_invoker.
WITH RECURSIVE below AS (
  SELECT c.oid, c.relkind, (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) AS reader
    FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)
  UNION
  SELECT t.oid, t.relkind,
         CASE WHEN EXISTS (SELECT FROM pg_options_to_table(v.reloptions) o WHERE o.option_name = 'security_invoker' AND o.option_value::boolean)
              THEN b.reader ELSE v.relowner END
    FROM below b
    JOIN pg_catalog.pg_class v ON v.oid = b.oid AND v.relkind = 'v'
    JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> v.oid
    JOIN pg_catalog.pg_class t ON t.oid = d.refobjid)
SELECT DISTINCT format('%I.%I', n.nspname, t.relname) AS name, quote_ident(o.rolname) AS reader
  FROM below b
  JOIN pg_catalog.pg_class t ON t.oid = b.oid AND t.relkind IN ('r', 'p') AND t.relrowsecurity
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  JOIN pg_catalog.pg_roles o ON o.oid = b.reader
 WHERE NOT o.rolsuper AND NOT o.rolbypassrls AND (t.relforcerowsecurity OR NOT pg_has_role(o.oid, t.relowner, 'USAGE'))
 ORDER BY 1

-- name: tables
-- $1 schemas, $2 other tables, quoted. What vacuum has left in each, and whether it may come.
SELECT format('%I.%I', t.schemaname, t.relname) AS name, t.n_live_tup::double precision AS living, t.n_dead_tup::double precision AS dead,
       extract(epoch FROM clock_timestamp() - greatest(t.last_vacuum, t.last_autovacuum))::double precision AS vacuumed_s_ago,
       EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o
                WHERE o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean) AS is_off
  FROM pg_catalog.pg_stat_all_tables t JOIN pg_catalog.pg_class c ON c.oid = t.relid
 WHERE t.schemaname = ANY ($1::text[]) OR t.relid = ANY (SELECT to_regclass(o.name) FROM unnest($2::text[]) o(name))
 ORDER BY t.n_dead_tup DESC

-- name: wraparound
-- How old the oldest numbers are that are not frozen yet, and the table that has the oldest of them.
SELECT age(d.datfrozenxid) AS xids, mxid_age(d.datminmxid) AS multixacts,
       (SELECT format('%I.%I', n.nspname, c.relname)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'm', 't') ORDER BY age(c.relfrozenxid) DESC LIMIT 1) AS "table"
  FROM pg_catalog.pg_database d WHERE d.datname = current_database()

-- name: invalid_indexes
-- $1 schemas, $2 other tables, quoted. Left by a CREATE INDEX CONCURRENTLY that failed; not one that is being made.
SELECT format('%I.%I', n.nspname, x.relname) AS name, format('%I.%I', n.nspname, c.relname) AS "table",
       format('REINDEX INDEX CONCURRENTLY %I.%I', n.nspname, x.relname) AS remedy
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT (i.indisvalid AND i.indisready)
   AND (n.nspname = ANY ($1::text[]) OR i.indrelid = ANY (SELECT to_regclass(o.name) FROM unnest($2::text[]) o(name)))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid OR p.relid = i.indrelid)
 ORDER BY 1

-- name: inbox_fill
-- How full the pages of the inbox are made.
SELECT coalesce((SELECT o.option_value::integer FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'fillfactor'), 100) AS fillfactor
  FROM pg_catalog.pg_class c WHERE c.relnamespace = to_regnamespace('service_ops') AND c.relname = 'integration_inbox'

-- name: hot_indexes
-- $1 columns that a claim or an outcome changes. Indexes of the inbox that have one of them, in a key, an expression or a
-- condition. A BRIN index is not written for such an update (since 16).
SELECT format('%I.%I', n.nspname, x.relname) AS name, string_agg(DISTINCT a.attname, ', ' ORDER BY a.attname) AS columns,
       format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, x.relname) AS remedy
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_am m ON m.oid = x.relam
  JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
   AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid
 WHERE i.indrelid = (SELECT t.oid FROM pg_catalog.pg_class t
                      WHERE t.relnamespace = to_regnamespace('service_ops') AND t.relname = 'integration_inbox')
   AND a.attname = ANY ($1::text[]) AND m.amname <> 'brin'
 GROUP BY n.nspname, x.relname
 ORDER BY 1

-- name: source_indexes
-- $1 table, quoted, $2 its time column. Its indexes that have something to do with that column, and what each is.
SELECT format('%I.%I', n.nspname, x.relname) AS name, m.amname AS method, i.indisvalid AND i.indisready AS valid,
       pg_get_expr(i.indpred, i.indrelid) AS predicate, pg_get_indexdef(i.indexrelid, 1, false) AS first,
       i.indkey[0] = 0 AS begins_with_expression, coalesce(i.indkey[0] = a.attnum, false) AS begins_with_time
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_am m ON m.oid = x.relam
  JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attname = $2
 WHERE i.indrelid = to_regclass($1)
   AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)
 ORDER BY 1

-- name: sizes
-- $1 schemas and $2 names of relations, plain.
SELECT format('%I.%I', r.schema, r.name) AS name, pg_relation_size(c.oid)::double precision AS bytes
  FROM unnest($1::text[], $2::text[]) r(schema, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = r.schema
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = r.name

-- name: planner_must_use_indexes
-- In this transaction alone: what still walks a table or sorts it has no other way.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true)

-- name: planner_as_before
SELECT set_config(s.name, s.reset_val, true) FROM pg_catalog.pg_settings s
 WHERE s.name IN ('enable_seqscan', 'enable_bitmapscan', 'enable_sort')

-- name: applied
SELECT m.id, m.hash FROM service_ops.migrations m WHERE m.id > 0 ORDER BY m.id

-- name: tasks
-- What there is to ask about every task: is it paused, and has anybody alive got it? `living`: instances that run.
SELECT t.task_name, t.kind, t.paused, t.paused_by, t.paused_seconds::double precision AS paused_seconds, t.orphaned, t.release,
       (SELECT count(*) FROM service_ops.runner_instance i
         WHERE i.state <> 'stopped' AND i.last_seen_at > clock_timestamp() - interval '30 seconds')::integer AS living
  FROM service_ops.task_status t
 ORDER BY t.id

-- name: backlog
-- $1 age. By source that a processor takes: messages given up, and how many are due for longer than that while none is in work.
SELECT s.source, t.task_name AS processor, t.paused, b.dead::integer AS dead, b.due::integer AS due, b.in_work::integer AS in_work,
       b.oldest_due_s::double precision AS oldest_due_s
  FROM service_ops.background_task t
 CROSS JOIN LATERAL unnest(t.sources) s(source)
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE o.status = 'DEAD') AS dead, count(*) FILTER (WHERE o.status = 'PROCESSING') AS in_work,
              count(*) FILTER (WHERE o.due_since < clock_timestamp() - $1::interval) AS due,
              extract(epoch FROM clock_timestamp() - min(o.due_since)) AS oldest_due_s
         FROM (SELECT m.status, CASE WHEN m.status = 'NEW' THEN m.created_at END AS due_since FROM service_ops.integration_inbox m
                WHERE m.source = s.source AND m.next_attempt_at IS NULL AND m.status IN ('NEW', 'PROCESSING')
                  AND m.inbox_id > coalesce((SELECT w.low FROM service_ops.inbox_low_water w WHERE w.source = s.source), 0)
                UNION ALL
               SELECT m.status, CASE WHEN m.status IN ('NEW', 'FAILED') THEN m.next_attempt_at END FROM service_ops.integration_inbox m
                WHERE m.source = s.source AND m.next_attempt_at IS NOT NULL) o) b
 WHERE t.kind = 'processor'
 ORDER BY t.id, s.source

-- name: taken
-- Sources that some processor takes, of any config that ever ran here.
SELECT DISTINCT s.source FROM service_ops.background_task t CROSS JOIN LATERAL unnest(t.sources) s(source) WHERE t.kind = 'processor'

-- name: unprocessed
-- $1 sources that the config's processors take. Sources with an open message that no processor takes, of the config or of any
-- that ever ran. The list of sources is walked from one to the next by the unique index: it is short, the inbox is not.
WITH RECURSIVE known AS (
  (SELECT i.source FROM service_ops.integration_inbox i ORDER BY i.source LIMIT 1)
  UNION ALL
  SELECT (SELECT i.source FROM service_ops.integration_inbox i WHERE i.source > k.source ORDER BY i.source LIMIT 1)
    FROM known k WHERE k.source IS NOT NULL)
SELECT k.source FROM known k
 WHERE k.source IS NOT NULL AND NOT k.source = ANY ($1::text[])
   AND NOT EXISTS (SELECT FROM service_ops.background_task t WHERE t.kind = 'processor' AND k.source = ANY (t.sources))
   AND EXISTS (SELECT FROM service_ops.integration_inbox m WHERE m.source = k.source AND m.status IN ('NEW', 'FAILED', 'PROCESSING'))
 ORDER BY 1

-- name: stuck
-- $1 age. Messages in work whose instance is gone for longer than that: whoever runs takes such back within seconds.
SELECT m.source, m.locked_by, count(*)::integer AS messages, min(m.inbox_id)::text AS first,
       extract(epoch FROM clock_timestamp() - min(coalesce(m.locked_at, m.updated_at)))::double precision AS age_s
  FROM (SELECT i.source, i.locked_by, i.inbox_id, i.locked_at, i.updated_at FROM service_ops.integration_inbox i
         WHERE i.next_attempt_at IS NULL AND i.status = 'PROCESSING'
           AND i.inbox_id > (SELECT coalesce(min(coalesce(w.low, 0)), 0)
                               FROM service_ops.background_task t CROSS JOIN LATERAL unnest(t.sources) s(source)
                               LEFT JOIN service_ops.inbox_low_water w USING (source))
         UNION ALL
        SELECT i.source, i.locked_by, i.inbox_id, i.locked_at, i.updated_at FROM service_ops.integration_inbox i
         WHERE i.next_attempt_at < 'infinity' AND i.status = 'PROCESSING') m
 WHERE coalesce(m.locked_at, m.updated_at) < clock_timestamp() - $1::interval
   AND NOT EXISTS (SELECT FROM service_ops.runner_instance r
                    WHERE r.instance_id = m.locked_by AND r.state <> 'stopped'
                      AND r.last_seen_at > clock_timestamp() - $1::interval)
 GROUP BY m.source, m.locked_by
 ORDER BY m.source, m.locked_by

-- name: oldest_unread
-- $1 poller. Of the first thousand rows from its edge on, the age of the oldest that the inbox has not. No row: it has not begun.
SELECT extract(epoch FROM clock_timestamp() - min(p.created_at))::double precision AS age_s
  FROM service_ops.integration_poll_watermark w
 CROSS JOIN LATERAL (
       SELECT :"created_at" AS created_at, :"stored_id" AS message_id FROM :"source" s
        WHERE :"created_at" >= w.edge AND isfinite(:"created_at") AND :"where" ORDER BY :"created_at" LIMIT 1000) p
 WHERE w.poller = $1
   AND NOT EXISTS (SELECT FROM service_ops.integration_inbox i WHERE i.source = $1 AND i.message_id = p.message_id)

-- name: future
-- $1 from when on. Rows dated later than that, counted up to a hundred and one, and the latest time of them.
SELECT count(*)::integer AS n, max(f.at)::text AS latest
  FROM (SELECT :"created_at" AS at FROM :"source" s
         WHERE :"created_at" > clock_timestamp() + $1::interval AND :"where" ORDER BY :"created_at" DESC LIMIT 101) f

-- name: demo
-- Whether this is the database of a demo.
SELECT EXISTS (SELECT FROM service_ops.background_task t
                WHERE t.task_name = 'message_poller' AND t.source_table = 'service_ops.send_serviceops') AS is_demo
