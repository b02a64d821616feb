-- The rows behind verify(), kept equal to the files of sql/verify by the newest release that migrates.

-- name: are_kept
-- $1 the files as a JSON array, $2 schema version of this release. Whether `sync` has nothing to do: reading is all that a role
-- that does not migrate may do here.
SELECT NOT EXISTS (
         SELECT FROM jsonb_to_recordset($1::jsonb) f(name text, scope text, title text, meaning text, query text)
           FULL JOIN service_ops.invariant i USING (name)
          WHERE i.schema_version IS NULL
             OR i.schema_version <= $2
            AND (i.scope, i.title, i.meaning, i.query, i.schema_version) IS DISTINCT FROM (f.scope, f.title, f.meaning, f.query, $2)) AS kept

-- name: sync
-- $1 the files as a JSON array, $2 schema version of this release. Rows of a newer release are left alone.
WITH files AS (
  SELECT f.name, f.scope, f.title, f.meaning, f.query
    FROM jsonb_to_recordset($1::jsonb) f(name text, scope text, title text, meaning text, query text)),
gone AS (
  DELETE FROM service_ops.invariant i
   WHERE i.schema_version <= $2 AND NOT EXISTS (SELECT FROM files f WHERE f.name = i.name))
INSERT INTO service_ops.invariant AS i (name, scope, title, meaning, query, schema_version)
SELECT f.name, f.scope, f.title, f.meaning, f.query, $2 FROM files f
    ON CONFLICT (name) DO UPDATE
   SET scope = EXCLUDED.scope, title = EXCLUDED.title, meaning = EXCLUDED.meaning, query = EXCLUDED.query,
       schema_version = EXCLUDED.schema_version
 WHERE i.schema_version <= EXCLUDED.schema_version
   AND (i.scope, i.title, i.meaning, i.query, i.schema_version)
       IS DISTINCT FROM (EXCLUDED.scope, EXCLUDED.title, EXCLUDED.meaning, EXCLUDED.query, EXCLUDED.schema_version)
