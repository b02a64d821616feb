-- What a new connection does first.

-- name: catalog_first
-- Our tables are named with their schema, functions and operators are not: pg_catalog is searched before everything unless
-- the path of the role names it later, and then a look-alike would be called instead. The rest of the path stays as it is,
-- for the handlers. Everything here is named whole, since this statement still runs on the path that it mends.
SELECT pg_catalog.set_config('search_path', pg_catalog.concat('pg_catalog, ', pg_catalog.current_setting('search_path')), false)
 WHERE (pg_catalog.current_schemas(true))[1] OPERATOR(pg_catalog.<>) 'pg_catalog'
