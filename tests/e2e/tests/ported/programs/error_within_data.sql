-- What goes wrong within the message: Oracle takes || with NULL, PostgreSQL does not. QUIT has no place there, and a
-- message that is cut off must not be sent; the handler closes the connection.

CREATE FUNCTION send_order(p_id integer, p_note text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  c utl_smtp.connection;
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.helo(c, 'db.example.com');
  PERFORM utl_smtp.mail(c, 'orders@foo.test');
  PERFORM utl_smtp.rcpt(c, 'bob@example.test');
  PERFORM utl_smtp.open_data(c);
  PERFORM utl_smtp.write_data(c, concat('Subject: ', current_setting('mail.mark'), '-', p_id, utl_tcp.crlf(), utl_tcp.crlf()));
  PERFORM utl_smtp.write_data(c, 'Note: ' || p_note || utl_tcp.crlf());
  PERFORM utl_smtp.close_data(c);
  PERFORM utl_smtp.quit(c);
  RETURN 'sent';
EXCEPTION
  WHEN OTHERS THEN
    DECLARE
      l_reason text := SQLERRM;
    BEGIN
      PERFORM utl_smtp.quit(c);
      RETURN l_reason;
    EXCEPTION
      WHEN SQLSTATE 'U9277' THEN   -- utl_smtp.invalid_operation
        PERFORM utl_smtp.close_connection(c);
        RETURN l_reason || ' (given up)';
    END;
END;
$$;

DO $$
BEGIN
  RAISE NOTICE '%', send_order(1, NULL);
  RAISE NOTICE '%', send_order(2, 'handle with care');
END;
$$;
