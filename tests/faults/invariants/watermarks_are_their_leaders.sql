-- title: Every change of a watermark was written by the leader whose holder stands in it.
SELECT count(*) AS found, min(format('%s: %s wrote under holder %s', poller, writer, holder)) AS detail FROM stale_write
