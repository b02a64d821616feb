-- title: Every message in work of a source with slots is named by the slots of its key.
-- meaning: A slot could be given twice. An instance whose config has no slots for this source, or an older release, claims from it too.
-- scope: once
SELECT count(*) AS found, min(m.inbox_id::text || ' of ' || m.locked_by) AS detail
  FROM service_ops.slot_limit l
  JOIN service_ops.integration_inbox m ON m.source = l.source AND left(m.group_key, 200) = l.group_key AND m.next_attempt_at IS NOT NULL AND m.status = 'PROCESSING'
 WHERE NOT EXISTS (SELECT FROM unnest(l.held, l.held_claims) h(inbox_id, claim) WHERE h.inbox_id = m.inbox_id AND h.claim = m.claim)
