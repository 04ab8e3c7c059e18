-- F1: what is sent: recipients and content of the messages $1.
SELECT r.message_id, r.recipient_no, r.recipient, r.parameters, r.attempts, c.piece
  FROM utl_smtp.message_recipient AS r JOIN utl_smtp.message_content AS c ON c.message_id = r.message_id
 WHERE r.message_id = ANY ($1)
