-- name: describe
-- $1 table, quoted. No row: there is none of that name.
SELECT c.oid::regclass::text AS name, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS qualified, c.relkind,
       c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT')
         AND EXISTS (SELECT FROM pg_catalog.pg_am m WHERE m.oid = c.relam AND m.amname = 'heap') AS has_xmin,
       row_security_active(c.oid) AS row_security
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass($1);

-- name: columns
-- $1 table, quoted.
SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, a.attnotnull AS not_null,
       pg_get_expr(d.adbin, d.adrelid) AS default_expression,
       coalesce(co.collisdeterministic, true) AS deterministic, nullif(a.atttypmod, -1) AS modifier
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum;

-- name: count_older
-- $1 age. How many rows a poller that begins at the beginning would take in although retention has no use for them.
SELECT count(*) AS older FROM :"source" s WHERE :"created_at" < now() - $1::interval AND :"where";


-- name: probe
-- Reads nothing, and fails as a pass would: at a column, a right or a condition that is not as it should be.
SELECT :"columns" FROM :"source" tidemark_source WHERE :"where" LIMIT 0;

-- name: clock
-- $1 table, quoted. What in the catalogs lets a client, not the database, say a row's time.
SELECT (SELECT t.tgname FROM pg_catalog.pg_trigger t                 -- of tgtype 1 is FOR EACH ROW, 2 BEFORE, 4 INSERT
         WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 7 = 7 ORDER BY 1 LIMIT 1) AS trigger,
       EXISTS (SELECT FROM pg_catalog.pg_subscription_rel r WHERE r.srrelid = c.oid) AS subscribed
  FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1);

-- name: last_times
-- $1 the time can be NULL. Of the last 1,000 times that are any: how many, whether all are whole milliseconds, and how many
-- of those rows have no id (without an index on it, no more can be asked of a large table). And how many rows have no time,
-- counted no further than a person wants to know; where none can, the table is not walked.
SELECT count(*)::integer AS n, coalesce(bool_and(date_trunc('milliseconds', l.at) = l.at), false) AS whole,
       CASE WHEN $1::boolean
            THEN (SELECT count(*) FROM (SELECT FROM :"source" tidemark_source WHERE tidemark_source.:"created_at" IS NULL LIMIT 1001) u)
            ELSE 0 END::integer AS undated,
       count(*) FILTER (WHERE l.nameless)::integer AS nameless
  FROM (SELECT tidemark_source.:"created_at" AS at, tidemark_source.:"id" IS NULL AS nameless FROM :"source" tidemark_source
         WHERE isfinite(tidemark_source.:"created_at")
         ORDER BY tidemark_source.:"created_at" DESC LIMIT 1000) l;
