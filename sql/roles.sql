-- Three roles with the least rights that each needs. May be run again at any time: before the first migration, after an
-- upgrade, and over a database that one role has owned until now. After an upgrade it takes back what default privileges
-- cannot tell apart: rights to write a view.
--
--   tidemark_owner   migrates: the schemas and everything in them are its own. `tidemark migrate` connects as it.
--   tidemark_runner  works: every `tidemark start`, with RUN_MIGRATIONS=0 or with nothing to migrate.
--   tidemark_reader  looks: psql, `tidemark status`, `verify`, `trace`, `sql`. Payloads are among what it may read.
--
-- psql -1 -v ON_ERROR_STOP=1 -c "SET tidemark.sources = 'shop.orders, shop.refunds'" -f sql/roles.sql ADDRESS
--
-- as a superuser, or as a role that may make roles and owns the database. No line is psql's own, so that any client can send
-- it. Other names: sed 's/tidemark_/acme_/g'. What each line is for, and what a managed service may refuse: docs/roles.md.

-- The tables are changed only where they still belong to somebody else; whoever holds one is waited for no longer than this.
SET lock_timeout = '5s';

DO $roles$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['tidemark_owner', 'tidemark_runner', 'tidemark_reader'] LOOP
    -- They may log in, and cannot before somebody gives them a password: ALTER ROLE … PASSWORD, or \password in psql.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I LOGIN', wanted);
    END IF;
  END LOOP;
  -- Who is no superuser gives things to the owner only as a member of it. Since PostgreSQL 16 whoever makes a role is a member
  -- that may give it to others, and to himself, but neither act as it nor has its rights.
  -- In brackets: PL/pgSQL would take the first THEN for its own.
  IF NOT (CASE WHEN current_setting('server_version_num')::integer >= 160000
              THEN pg_has_role('tidemark_owner', 'SET') AND pg_has_role('tidemark_owner', 'USAGE')
              ELSE pg_has_role('tidemark_owner', 'MEMBER') END) THEN
    EXECUTE format('GRANT tidemark_owner TO %I', current_user);
  END IF;
END $roles$;

COMMENT ON ROLE tidemark_owner IS 'Tidemark: owns the schemas service_ops and pgboss, and migrates them.';
COMMENT ON ROLE tidemark_runner IS 'Tidemark: what every running instance connects as. Reads sources, writes its own tables.';
COMMENT ON ROLE tidemark_reader IS 'Tidemark: what operators look with. Writes nothing.';

-- For databases that PUBLIC may not enter; who is not their owner leaves that to whoever is.
DO $enter$
BEGIN
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO tidemark_owner, tidemark_runner, tidemark_reader', current_database());
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'CONNECT on the database was left as it is: %', SQLERRM;
END $enter$;

-- The schemas, so that nobody needs CREATE on the database.
CREATE SCHEMA IF NOT EXISTS service_ops AUTHORIZATION tidemark_owner;
CREATE SCHEMA IF NOT EXISTS pgboss AUTHORIZATION tidemark_owner;

-- What another role has made until now becomes the owner's. A partition and an index go with their table, a sequence of a
-- column too, a row type with its relation.
DO $own$
DECLARE
  statement text;
BEGIN
  FOR statement IN
    SELECT format('ALTER SCHEMA %I OWNER TO tidemark_owner', n.nspname)
      FROM pg_catalog.pg_namespace n
     WHERE n.nspname IN ('service_ops', 'pgboss') AND n.nspowner <> 'tidemark_owner'::regrole
    UNION ALL
    SELECT format('ALTER %s %I.%I OWNER TO tidemark_owner',
                  CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                  n.nspname, c.relname)
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('service_ops', 'pgboss') AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relowner <> 'tidemark_owner'::regrole
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND c.relkind = 'S')
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO tidemark_owner', p.oid::regprocedure)
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname IN ('service_ops', 'pgboss') AND p.proowner <> 'tidemark_owner'::regrole
    UNION ALL
    SELECT format('ALTER TYPE %I.%I OWNER TO tidemark_owner', n.nspname, t.typname)
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
     WHERE n.nspname IN ('service_ops', 'pgboss') AND t.typtype IN ('e', 'd') AND t.typowner <> 'tidemark_owner'::regrole
  LOOP
    EXECUTE statement;
  END LOOP;
END $own$;

-- The runner. The same GRANTs are what `start` and `doctor` name when one is lacking.
GRANT USAGE ON SCHEMA service_ops TO tidemark_runner;
GRANT USAGE ON SCHEMA pgboss TO tidemark_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA service_ops TO tidemark_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgboss TO tidemark_runner;

-- The reader.
GRANT USAGE ON SCHEMA service_ops TO tidemark_reader;
GRANT USAGE ON SCHEMA pgboss TO tidemark_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA service_ops TO tidemark_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA pgboss TO tidemark_reader;

-- What later migrations make is given as it is made.
ALTER DEFAULT PRIVILEGES FOR ROLE tidemark_owner IN SCHEMA service_ops, pgboss GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tidemark_runner;
ALTER DEFAULT PRIVILEGES FOR ROLE tidemark_owner IN SCHEMA service_ops, pgboss GRANT SELECT ON TABLES TO tidemark_reader;

-- Functions, for databases in which PUBLIC may not call new ones; a trigger's need no right, and are nobody else's to call.
DO $call$
DECLARE
  routine regprocedure;
BEGIN
  FOR routine IN
    SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname IN ('service_ops', 'pgboss') AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tidemark_runner, tidemark_reader', routine);
  END LOOP;
END $call$;

-- What only a migration writes: the runner reads it.
DO $read_only$
DECLARE
  relation regclass;
BEGIN
  FOR relation IN
    SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'service_ops' AND (c.relkind = 'v' OR c.relkind = 'r' AND c.relname IN ('migrations', 'schema_window', 'invariant'))
  LOOP
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %s FROM tidemark_runner', relation);
  END LOOP;
END $read_only$;

-- Behind a pooler an instance cannot set these for its sessions, and the role's hold. Everywhere else an instance sets its own.
ALTER ROLE tidemark_runner SET statement_timeout = '30s';
ALTER ROLE tidemark_runner SET lock_timeout = '5s';
ALTER ROLE tidemark_runner SET idle_in_transaction_session_timeout = '10s';

-- Since when the transactions of other roles are open: on that the edge of a poller rests, and what `doctor` says of it.
-- Without it everything works, and some late rows are left to the sweep.
DO $stats$
BEGIN
  GRANT pg_read_all_stats TO tidemark_runner, tidemark_reader;
EXCEPTION WHEN insufficient_privilege THEN
  RAISE NOTICE 'pg_read_all_stats could not be given (%): rows written by a second transaction of one message are left to the sweep', SQLERRM;
END $stats$;

-- The sources: read, never written. verify() compares them with the inbox, so the reader has the same.
DO $sources$
DECLARE
  source text;
BEGIN
  FOREACH source IN ARRAY regexp_split_to_array(coalesce(current_setting('tidemark.sources', true), ''), '\s*,\s*') LOOP
    CONTINUE WHEN source = '';
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tidemark_runner, tidemark_reader',
                   (SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source::regclass));
    EXECUTE format('GRANT SELECT ON %s TO tidemark_runner, tidemark_reader', source::regclass);
  END LOOP;
END $sources$;

RESET lock_timeout;
