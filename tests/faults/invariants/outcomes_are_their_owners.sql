-- title: Every outcome was written by the owner of its claim, and none was taken back.
SELECT count(*) AS found, min(format('%s: %s, written by %s', inbox_id, what, writer)) AS detail FROM foul
