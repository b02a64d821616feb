-- title: Every message in work of a source with slots is named by the slots of its key.
-- meaning: A slot could be given twice. An instance whose config has no slots for this source, or an older release, claims from it too.
-- scope: once
SELECT count(*) AS found, min(m.inbox_id::text || ' of ' || m.locked_by) AS detail
  FROM service_ops.slot_limit l
  JOIN (SELECT m.inbox_id, m.claim, m.source, left(m.group_key, 200) AS group_key, m.locked_by, m.locked_at, m.source_created_at
          FROM service_ops.integration_inbox m WHERE m.next_attempt_at < 'infinity' AND m.status = 'PROCESSING'
        UNION ALL
        SELECT m.inbox_id, m.claim, m.source, left(m.group_key, 200), m.locked_by, m.locked_at, m.source_created_at
          FROM service_ops.integration_inbox m
         WHERE m.inbox_id > (SELECT min(coalesce(w.low, 0)) FROM service_ops.slot_limit d LEFT JOIN service_ops.inbox_low_water w USING (source) WHERE d.group_key = '*')
           AND m.next_attempt_at IS NULL AND m.status = 'PROCESSING') m ON m.source = l.source AND m.group_key = l.group_key
 WHERE NOT EXISTS (SELECT FROM unnest(l.held, l.held_claims) h(inbox_id, claim) WHERE h.inbox_id = m.inbox_id AND h.claim = m.claim)
