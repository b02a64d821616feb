-- The heartbeat of the connection that listens.

-- name: lost_channels
-- $1 the channels that we listen to. Behind a transaction pooler the LISTEN went to somebody else's session.
SELECT w.channel FROM unnest($1::text[]) w(channel)
EXCEPT
SELECT l.channel FROM pg_listening_channels() l(channel)
