-- What the role that we connect as may not use, each with the GRANT. From the catalogs alone, which need no right.

-- name: missing
-- $1 schemas, $2 tables that need only be read.
WITH s AS (
  SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1::text[]))
SELECT current_user::text AS role, m.object, m.remedy AS "grant"
  FROM (SELECT 1 AS turn, format('schema %I', s.nspname) AS object,
               format('GRANT USAGE ON SCHEMA %I TO %I', s.nspname, current_user) AS remedy
          FROM s WHERE NOT has_schema_privilege(s.oid, 'USAGE')
        UNION ALL
        SELECT 2, format('table %I.%I', s.nspname, min(c.relname)) || CASE WHEN count(*) > 1 THEN format(' and %s more', count(*) - 1) ELSE '' END,
               format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I', s.nspname, current_user)
          FROM s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid
         WHERE c.relkind IN ('r', 'p', 'v')
           AND NOT (has_table_privilege(c.oid, 'SELECT')
                    AND (c.relkind = 'v' OR c.relname = ANY ($2::text[])
                         OR (has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))))
         GROUP BY s.nspname
        UNION ALL
        SELECT 3, format('database %I', current_database()), format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user)
         WHERE (SELECT count(*) FROM s) < cardinality($1::text[]) AND NOT has_database_privilege(current_database(), 'CREATE')) m
 ORDER BY m.turn, m.object

-- name: hidden
-- $1 schemas. Tables of ours whose rows may be hidden from this role.
SELECT format('%I.%I', n.nspname, c.relname) AS name, format('ALTER TABLE %I.%I DISABLE ROW LEVEL SECURITY', n.nspname, c.relname) AS remedy
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p') AND c.relrowsecurity AND row_security_active(c.oid)
 ORDER BY 1

-- name: of_source
-- $1 schema, $2 table or view. What keeps this role from reading it; no row when that is not to be seen from outside. What
-- lies below a view is read by the right of the view's owner.
SELECT m.role, m.object, m.remedy AS "grant"
  FROM pg_catalog.pg_namespace n
  LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = $2
 CROSS JOIN LATERAL (
       SELECT current_user::text AS role, format('schema %I', n.nspname) AS object,
              format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user) AS remedy
        WHERE NOT has_schema_privilege(n.oid, 'USAGE')
        UNION ALL
       SELECT current_user::text, format('table %I.%I', n.nspname, $2::text), format('GRANT SELECT ON %I.%I TO %I', n.nspname, $2::text, current_user)
        WHERE c.oid IS NOT NULL AND NOT has_table_privilege(c.oid, 'SELECT')) m
 WHERE n.nspname = $1
