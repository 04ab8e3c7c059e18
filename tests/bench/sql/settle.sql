-- F1: all recipients of the messages $1 have their mail.
WITH m AS (
    DELETE FROM utl_smtp.message AS m WHERE m.message_id = ANY ($1) AND m.lease = 1 RETURNING m.*),
content AS (
    DELETE FROM utl_smtp.message_content AS c USING m WHERE c.message_id = m.message_id),
r AS (
    DELETE FROM utl_smtp.message_recipient AS r WHERE r.message_id = ANY ($1) RETURNING r.*)
INSERT INTO utl_smtp.delivery_log
    (message_id, recipient_no, recipient, state, server, server_name, owner, owner_name, sender, subject, size, submitted_at,
     attempts, finished_at, last_reply, remote)
SELECT m.message_id, r.recipient_no, r.recipient, 'sent', m.server, m.server_name, m.owner, m.owner_name, m.sender, m.subject,
       m.size, m.submitted_at, r.attempts + 1, statement_timestamp(), '250 ok', '127.0.0.1[127.0.0.1]:25'
  FROM r JOIN m ON m.message_id = r.message_id
