-- Messages as careless programs make them, one for each carelessness, all over one connection.

CREATE PROCEDURE send_as_is(c utl_smtp.connection, p_case text, p_message text)
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM utl_smtp.mail(c, current_setting('mail.mark') || '-' || p_case || '@foo.test');
  PERFORM utl_smtp.rcpt(c, 'carol@example.test');
  PERFORM utl_smtp.open_data(c);
  PERFORM utl_smtp.write_data(c, p_message);
  PERFORM utl_smtp.close_data(c);
END;
$$;

DO $$
DECLARE
  c    utl_smtp.connection;
  crlf CONSTANT text := utl_tcp.crlf();
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.ehlo(c, 'db.example.com');
  -- no empty line between the header and the text
  CALL send_as_is(c, 'unparted', 'Subject: unparted' || crlf || 'Hello there,' || crlf || 'this is text.' || crlf);
  -- line ends of Unix
  CALL send_as_is(c, 'unix', 'Subject: unix' || chr(10) || chr(10) || 'one' || chr(10) || 'two' || chr(10) || chr(10) || 'four' || chr(10));
  -- and of old Macs
  CALL send_as_is(c, 'mac', 'Subject: mac' || chr(13) || chr(13) || 'one' || chr(13) || 'two');
  -- lines that begin with dots, and the line that would end the message
  CALL send_as_is(c, 'dots', 'Subject: dots' || crlf || crlf || '.profile' || crlf || '..' || crlf || '.' || crlf || '...and on' || crlf || '.');
  -- one line of HTML
  CALL send_as_is(c, 'long', 'Subject: long' || crlf || 'Content-Type: text/html' || crlf || crlf
    || '<p>' || repeat('0123456789', 700) || '</p>' || crlf);
  -- nothing to say
  CALL send_as_is(c, 'silent', 'Subject: silent' || crlf || crlf);
  -- nothing at all
  CALL send_as_is(c, 'empty', '');
  PERFORM utl_smtp.quit(c);
END;
$$;
