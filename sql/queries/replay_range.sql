-- What a replay's range is to its poller. Beside replay.sql, whose statements are made for one source.

-- name: split
-- $1 poller, $2 $3 from and to. Where the edge parts the range: what lies from there on is the next pass's, with or without a
-- replay. Without a watermark nobody can say what that will read. No row: no such poller.
SELECT w.edge::text AS edge,
       greatest($2::timestamptz, least($3::timestamptz, w.edge))::text AS at
  FROM service_ops.background_task t
  LEFT JOIN service_ops.integration_poll_watermark w ON w.poller = t.task_name
 WHERE t.task_name = $1 AND t.kind = 'poller';
