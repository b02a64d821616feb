-- What `tidemark init --table` asks the catalogs of a table.

-- name: alike
-- $1 a name as somebody wrote it, plain. Tables and views of this name in any schema and any case.
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE lower(c.relname) = lower($1) AND c.relkind IN ('r', 'p', 'v', 'm')
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
 ORDER BY 1 LIMIT 5

-- name: names
-- $1 table, quoted. Its plain name, and one for a view of it.
SELECT c.relname::text AS name, quote_ident(n.nspname) || '.' || quote_ident(left(c.relname, 54) || '_messages') AS view_name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass($1)

-- name: columns
-- $1 table, quoted. What a column is to people: its name where SQL needs quotes, its kind, the labels of an enumeration, whether
-- it refers to another table, and whether an index that has an order begins with it.
SELECT a.attname::text AS name, quote_ident(a.attname) AS quoted, t.typcategory AS category,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) AS labels,
       EXISTS (SELECT FROM pg_catalog.pg_constraint f
                WHERE f.conrelid = a.attrelid AND f.contype = 'f' AND f.conkey = ARRAY[a.attnum]) AS refers,
       EXISTS (SELECT FROM pg_catalog.pg_index i
                 JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
                 JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree'
                WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL) AS leads
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum

-- name: keys
-- $1 table, quoted. Its primary key, and after it what else is unique over every row that has a value; columns in order.
SELECT i.indisprimary AS is_primary, array_agg(a.attname::text ORDER BY k.n) AS columns, bool_and(a.attnotnull) AS not_null
  FROM pg_catalog.pg_index i
 CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
   AND k.n <= i.indnkeyatts
 GROUP BY i.indexrelid, i.indisprimary
 ORDER BY i.indisprimary DESC, 2
