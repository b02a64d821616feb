-- verify(): runs every row of service_ops.invariant with the caller's own rights.

CREATE OR REPLACE FUNCTION service_ops.verify()
RETURNS TABLE ("name" text, ok boolean, found bigint, detail text, query text)
LANGUAGE plpgsql AS $verify$
DECLARE
  inv  record;
  task record;
  violations ALIAS FOR $3; -- the column found: by that name PL/pgSQL finds its own boolean
BEGIN
  FOR inv IN SELECT * FROM service_ops.invariant ORDER BY invariant.name LOOP
    FOR task IN
      SELECT NULL::text AS poller, NULL::text AS source_table, NULL::jsonb AS source_columns WHERE inv.scope = 'once'
      UNION ALL
      SELECT t.task_name, t.source_table, t.source_columns FROM service_ops.background_task t
       WHERE inv.scope = 'poller' AND t.kind = 'poller'
         AND EXISTS (SELECT FROM service_ops.integration_poll_watermark w WHERE w.poller = t.task_name)
    LOOP
      "name" := inv.name || coalesce(':' || task.poller, '');
      query := inv.query;
      IF task.poller IS NOT NULL THEN
        query := format(inv.query, quote_literal(task.poller), task.source_table, task.source_columns ->> 'id',
                        task.source_columns ->> 'created_at', coalesce(task.source_columns ->> 'where', 'true'));
      END IF;
      BEGIN
        EXECUTE query INTO violations, detail;
        ok := violations = 0;
        detail := CASE WHEN ok THEN inv.title ELSE inv.meaning || coalesce(' First: ' || verify.detail, '') END;
      EXCEPTION
        WHEN insufficient_privilege THEN
          ok := NULL; violations := NULL;
          detail := SQLERRM || '. To check this: ' || CASE
            WHEN NOT has_schema_privilege((parse_ident(task.source_table))[1], 'USAGE') THEN format('GRANT USAGE ON SCHEMA %I TO %I', (parse_ident(task.source_table))[1], current_user)
            WHEN task.source_table IS NOT NULL THEN format('GRANT SELECT ON %s, service_ops.integration_inbox TO %I', task.source_table, current_user)
            ELSE format('GRANT SELECT ON ALL TABLES IN SCHEMA service_ops TO %I', current_user) END;
        WHEN OTHERS THEN
          ok := NULL; violations := NULL;
          detail := 'could not run: ' || SQLERRM;
      END;
      RETURN NEXT;
    END LOOP;
  END LOOP;
END $verify$;
COMMENT ON FUNCTION service_ops.verify() IS 'Every invariant: name, ok (NULL: could not be checked, detail says why), found (violations), detail, and the query behind it.';

DO $$ BEGIN
  ASSERT to_regprocedure('service_ops.verify()') IS NOT NULL, 'service_ops.verify() is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (5, 5) ON CONFLICT DO NOTHING;
END $$;
