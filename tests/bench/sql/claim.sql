-- F1: the statements of a worker that claims mail of one server, without the worker. $1: how many messages.
WITH due AS MATERIALIZED (
    SELECT m.message_id FROM utl_smtp.message AS m
     WHERE m.lease IS NULL AND m.held_reason IS NULL AND m.crashes = 0 AND m.next_attempt_at <= statement_timestamp()
       AND m.server = (SELECT s.oid FROM pg_foreign_server AS s WHERE s.srvname = 'near')
     ORDER BY m.next_attempt_at, m.message_id LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE utl_smtp.message AS m SET lease = 1, last_attempt_at = statement_timestamp()
  FROM due WHERE m.message_id = due.message_id
RETURNING m.message_id, m.server, m.owner, m.sender, m.parameters, m.at_most_once, m.home, m.due_at, m.next_attempt_at, m.crashes
