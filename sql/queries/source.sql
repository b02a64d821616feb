-- name: describe
-- $1 table, quoted. No row: there is none of that name.
SELECT c.oid::regclass::text AS name, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS qualified, c.relkind, c.relrowsecurity AND NOT pg_has_role(c.relowner, 'USAGE') AS row_security
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass($1);

-- name: columns
-- $1 table, quoted.
SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type, a.attnotnull AS not_null,
       pg_get_expr(d.adbin, d.adrelid) AS default_expression,
       coalesce(co.collisdeterministic, true) AS deterministic
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped;

-- name: count_older
-- $1 age. How many rows a poller that begins at the beginning would take in although retention has no use for them.
SELECT count(*) AS older FROM :"source" s WHERE :"created_at" < now() - $1::interval AND :"where";
