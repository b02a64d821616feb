-- name: resolve
-- $1 table, quoted. NULL: there is none of that name.
SELECT (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = to_regclass($1)) AS name;

-- name: columns
-- $1 table, quoted. What a new row must say: columns that have neither a default nor may be NULL; the type is the base of a
-- domain. `referenced` and `referenced_column`: what a foreign key of this column alone points to.
SELECT a.attname AS name, a.attnotnull OR t.typnotnull AS not_null,
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL AS has_default, a.attgenerated <> '' OR a.attidentity = 'a' AS fixed,
       format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS base_type, format_type(a.atttypid, a.atttypmod) AS type,
       coalesce(b.typcategory, t.typcategory)::text AS category,
       f.confrelid::regclass::text AS referenced, (SELECT quote_ident(r.attname) FROM pg_catalog.pg_attribute r WHERE r.attrelid = f.confrelid AND r.attnum = f.confkey[1]) AS referenced_column
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
  LEFT JOIN LATERAL (SELECT c.confrelid, c.confkey FROM pg_catalog.pg_constraint c
                      WHERE c.conrelid = a.attrelid AND c.contype = 'f' AND c.conkey = ARRAY[a.attnum] LIMIT 1) f ON true
 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum;

-- name: let_through
-- $1 source. Whether the poller's condition holds for any row that has been written.
SELECT EXISTS (
  SELECT FROM tidemark_rehearsal.written w JOIN :"table" tidemark_source ON tidemark_source.:"id"::text = w.message_id
   WHERE w.source = $1 AND (:"where")) AS any;
