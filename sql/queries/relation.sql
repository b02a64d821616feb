-- name: identities
-- $1 relations, with their schema. Which relation has each name now; what is missing is left out. Takes no lock on any.
SELECT n.name, r.id::text AS id
  FROM unnest($1::text[]) n(name) CROSS JOIN LATERAL (SELECT to_regclass(n.name)::oid AS id) r
 WHERE r.id IS NOT NULL
