-- title: Where order is asked for, no message is in work that began while an earlier one of its key was open.
-- meaning: The order of a key was broken. An instance whose config does not ask for order, or an older release, claims from the source too.
-- scope: once
SELECT count(*) AS found, min(m.inbox_id::text || ' began before ' || e.inbox_id) AS detail
  FROM service_ops.slot_limit d
  JOIN (SELECT m.inbox_id, m.claim, m.source, left(m.group_key, 200) AS group_key, m.locked_by, m.locked_at, m.source_created_at
          FROM service_ops.integration_inbox m WHERE m.next_attempt_at < 'infinity' AND m.status = 'PROCESSING'
        UNION ALL
        SELECT m.inbox_id, m.claim, m.source, left(m.group_key, 200), m.locked_by, m.locked_at, m.source_created_at
          FROM service_ops.integration_inbox m
         WHERE m.inbox_id > (SELECT min(coalesce(w.low, 0)) FROM service_ops.slot_limit d LEFT JOIN service_ops.inbox_low_water w USING (source) WHERE d.group_key = '*')
           AND m.next_attempt_at IS NULL AND m.status = 'PROCESSING') m ON m.source = d.source AND m.group_key IS NOT NULL
  JOIN service_ops.integration_inbox e ON e.source = m.source AND left(e.group_key, 200) = m.group_key AND e.next_attempt_at IS NOT NULL
   AND (e.source_created_at, e.inbox_id) < (m.source_created_at, m.inbox_id)
 WHERE d.group_key = '*' AND d.ordered
   -- Tried before, and not changed since ten seconds before the other began: it was open then.
   AND e.status IN ('FAILED', 'DEAD') AND e.claim > 0 AND e.updated_at < m.locked_at - interval '10 seconds'
