-- Which releases this schema serves. The schema itself is made by the migrator before this file runs.

CREATE TABLE IF NOT EXISTS service_ops.schema_window (
  schema_version integer PRIMARY KEY,
  oldest_code    integer NOT NULL,
  at             timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT schema_window_order CHECK (oldest_code <= schema_version)
);
COMMENT ON SCHEMA service_ops IS 'Tidemark: pollers, inbox, leadership and what operators ask about them.';
COMMENT ON TABLE service_ops.schema_window IS 'One row a schema change: the newest says which code versions the schema still serves.';
COMMENT ON COLUMN service_ops.schema_window.schema_version IS 'Number of the newest migration that has been applied.';
COMMENT ON COLUMN service_ops.schema_window.oldest_code IS 'Code built for this schema version or a newer one may run; older code refuses to start.';
COMMENT ON COLUMN service_ops.schema_window.at IS 'When this version was reached.';

-- The invariants behind verify(): one row a file of sql/verify, written by the migrator after the numbered files.
CREATE TABLE IF NOT EXISTS service_ops.invariant (
  name           text PRIMARY KEY,
  scope          text NOT NULL CHECK (scope IN ('once', 'poller')),
  title          text NOT NULL,
  meaning        text NOT NULL,
  query          text NOT NULL,
  schema_version integer NOT NULL
);
COMMENT ON TABLE service_ops.invariant IS 'What must always be true, each with the query that counts its violations; verify() runs them.';
COMMENT ON COLUMN service_ops.invariant.name IS 'Short name, as verify() shows it.';
COMMENT ON COLUMN service_ops.invariant.scope IS 'once: one query; poller: the query is a format() template, run for each poller with %1$s poller as a literal, %2$s table, %3$s id column, %4$s time column as timestamptz, %5$s the where condition.';
COMMENT ON COLUMN service_ops.invariant.title IS 'The invariant as one sentence.';
COMMENT ON COLUMN service_ops.invariant.meaning IS 'What a violation means and what to do about it.';
COMMENT ON COLUMN service_ops.invariant.query IS 'Returns one row: found (bigint, the number of violations) and detail (text, an example, or NULL).';
COMMENT ON COLUMN service_ops.invariant.schema_version IS 'Schema version of the release that wrote this row; an older release leaves it alone.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.schema_window') IS NOT NULL, 'service_ops.schema_window is missing';
  ASSERT to_regclass('service_ops.invariant') IS NOT NULL, 'service_ops.invariant is missing';
END $$;
