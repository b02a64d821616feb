-- title: Nothing below the edge was missing while the fault was under way.
SELECT count(*) AS found, min(format('%s at %s: %s', name, at, detail)) AS detail FROM found_meanwhile
