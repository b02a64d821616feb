-- title: Every invariant of service_ops.verify() holds.
SELECT count(*) AS found, min(format('%s: %s', name, detail)) AS detail FROM service_ops.verify() WHERE ok IS NOT TRUE
