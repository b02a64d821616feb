-- name: update_packet
-- $1 packet, $2 score.
UPDATE service_ops.decision_packet
   SET decisions = decisions + 1, score = score + $2::numeric, updated_at = clock_timestamp()
 WHERE packet_id = $1::bigint;

-- name: digest
INSERT INTO service_ops.inbox_digest (counts)
SELECT coalesce(jsonb_object_agg(c.status, c.n), '{}')
  FROM (SELECT status, count(*) AS n FROM service_ops.integration_inbox
         WHERE created_at > now() - interval '1 hour' GROUP BY status) c
ON CONFLICT DO NOTHING;

-- name: forget_digests
DELETE FROM service_ops.inbox_digest WHERE digest_at < now() - interval '1 day';
