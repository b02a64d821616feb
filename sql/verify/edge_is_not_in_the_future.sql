-- title: No edge lies in the future.
-- meaning: A poller claims to know rows that are not written yet; the database's clock may have stepped back.
-- scope: once
SELECT count(*) AS found, min(poller) AS detail
  FROM service_ops.integration_poll_watermark WHERE isfinite(edge) AND edge > clock_timestamp()
