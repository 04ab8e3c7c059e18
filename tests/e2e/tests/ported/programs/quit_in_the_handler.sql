-- The idiom of Oracle's documentation: whatever the server or the network does wrong, quit, and if there is nothing to
-- quit any more, never mind.

CREATE PROCEDURE send_or_explain(p_port integer, p_to text, p_subject text)
LANGUAGE plpgsql AS $$
DECLARE
  c utl_smtp.connection;
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), p_port, tx_timeout => 60);
  PERFORM utl_smtp.helo(c, 'db.example.com');
  PERFORM utl_smtp.mail(c, 'app@foo.test');
  PERFORM utl_smtp.rcpt(c, p_to);
  PERFORM utl_smtp.data(c, 'Subject: ' || p_subject || utl_tcp.crlf() || utl_tcp.crlf() || 'Sent.');
  PERFORM utl_smtp.quit(c);
EXCEPTION
  WHEN SQLSTATE 'U9278' OR SQLSTATE 'U9279' THEN   -- utl_smtp.transient_error OR utl_smtp.permanent_error
    BEGIN
      PERFORM utl_smtp.quit(c);
    EXCEPTION
      WHEN SQLSTATE 'U9278' OR SQLSTATE 'U9279' THEN
        NULL;   -- when the server is down or unavailable, there is no connection to it; quit raises, ignore it
    END;
    RAISE EXCEPTION 'Failed to send mail due to the following error: %', SQLERRM;
END;
$$;

CREATE FUNCTION outcome(p_port integer, p_to text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  CALL send_or_explain(p_port, p_to, current_setting('mail.mark'));
  RETURN 'sent';
EXCEPTION
  WHEN raise_exception THEN   -- ORA-20000
    RETURN SQLERRM;
END;
$$;

DO $$
DECLARE
  l_port CONSTANT integer := current_setting('mail.port')::integer;
BEGIN
  RAISE NOTICE '%', outcome(l_port, 'nobody@example.test');
  RAISE NOTICE '%', outcome(current_setting('mail.dead_port')::integer, 'bob@example.test');
  RAISE NOTICE '%', outcome(l_port, 'bob@example.test');
END;
$$;
