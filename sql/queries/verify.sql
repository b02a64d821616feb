-- The invariants one by one, for whoever gives each of them a limit of its own: in service_ops.verify() one that takes too long
-- takes the others with it.

-- name: checks
-- The texts that service_ops.verify() runs, with what it says of them. The remedy is looked up before anybody is refused, so a
-- schema that is gone must be no error here.
SELECT i.name || coalesce(':' || t.task_name, '') AS name, i.title, i.meaning,
       CASE WHEN t.task_name IS NULL THEN i.query
            ELSE format(i.query, quote_literal(t.task_name), t.source_table, t.source_columns ->> 'id', t.source_columns ->> 'created_at',
                        coalesce(t.source_columns ->> 'where', 'true')) END AS query,
       CASE WHEN NOT has_schema_privilege(to_regnamespace(quote_ident(s.name)), 'USAGE') THEN format('GRANT USAGE ON SCHEMA %I TO %I', s.name, current_user)
            WHEN t.source_table IS NOT NULL THEN format('GRANT SELECT ON %s, service_ops.integration_inbox TO %I', t.source_table, current_user)
            ELSE format('GRANT SELECT ON ALL TABLES IN SCHEMA service_ops TO %I', current_user) END AS remedy
  FROM service_ops.invariant i
  LEFT JOIN (SELECT b.task_name, b.source_table, b.source_columns FROM service_ops.background_task b
              WHERE b.kind = 'poller' AND EXISTS (SELECT FROM service_ops.integration_poll_watermark w WHERE w.poller = b.task_name)) t
         ON i.scope = 'poller'
 CROSS JOIN LATERAL (SELECT (parse_ident(t.source_table))[1] AS name) s
 WHERE i.scope = 'once' OR t.task_name IS NOT NULL
 ORDER BY 1
