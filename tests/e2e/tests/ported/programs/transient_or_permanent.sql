-- A queue: what the server refuses for now stays, what it refuses for good is marked, what it takes is done.

CREATE TABLE outbox (id integer PRIMARY KEY, recipient text, state text DEFAULT 'new', reason text);
INSERT INTO outbox (id, recipient) VALUES
  (1, 'bob@example.test'), (2, 'busy@example.test'), (3, 'full@example.test'), (4, 'bob@example.test');

DO $$
DECLARE
  c     utl_smtp.connection;
  l_row outbox;
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.ehlo(c, 'db.example.com');
  FOR l_row IN SELECT * FROM outbox WHERE state = 'new' ORDER BY id LOOP
    BEGIN
      PERFORM utl_smtp.mail(c, 'queue@foo.test');
      PERFORM utl_smtp.rcpt(c, l_row.recipient);
      PERFORM utl_smtp.data(c, concat('Subject: ', current_setting('mail.mark'), '-', l_row.id, utl_tcp.crlf(), utl_tcp.crlf(), 'Queued.'));
      UPDATE outbox SET state = 'sent' WHERE id = l_row.id;
    EXCEPTION
      WHEN SQLSTATE 'U9278' THEN   -- utl_smtp.transient_error
        UPDATE outbox SET reason = SQLERRM WHERE id = l_row.id;
        PERFORM utl_smtp.rset(c);
      WHEN SQLSTATE 'U9279' THEN   -- utl_smtp.permanent_error
        UPDATE outbox SET state = 'failed', reason = SQLERRM WHERE id = l_row.id;
        PERFORM utl_smtp.rset(c);
    END;
  END LOOP;
  PERFORM utl_smtp.quit(c);
END;
$$;
