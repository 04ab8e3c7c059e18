-- To, cc and bcc as lists with commas, as people type them. The bcc ones are in the envelope only.

CREATE FUNCTION process_recipients(c utl_smtp.connection, p_list text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  l_recipient text;
  l_count     integer := 0;
BEGIN
  IF trim(p_list) IS NOT NULL THEN
    FOREACH l_recipient IN ARRAY string_to_array(p_list, ',') LOOP
      CONTINUE WHEN trim(l_recipient) = '';
      PERFORM utl_smtp.rcpt(c, trim(l_recipient));
      l_count := l_count + 1;
    END LOOP;
  END IF;
  RETURN l_count;
END;
$$;

CREATE PROCEDURE send_mail(p_to text, p_subject text, p_body text, p_cc text DEFAULT NULL, p_bcc text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
  c       utl_smtp.connection;
  l_count integer;
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.helo(c, 'db.example.com');
  PERFORM utl_smtp.mail(c, 'app@foo.test');
  l_count := process_recipients(c, p_to) + process_recipients(c, p_cc) + process_recipients(c, p_bcc);
  PERFORM utl_smtp.open_data(c);
  PERFORM utl_smtp.write_data(c, 'From: app@foo.test' || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, 'To: ' || p_to || utl_tcp.crlf());
  IF p_cc IS NOT NULL THEN
    PERFORM utl_smtp.write_data(c, 'Cc: ' || replace(p_cc, ',', ', ') || utl_tcp.crlf());
  END IF;
  PERFORM utl_smtp.write_data(c, 'Subject: ' || p_subject || utl_tcp.crlf() || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, p_body || utl_tcp.crlf());
  PERFORM utl_smtp.close_data(c);
  PERFORM utl_smtp.quit(c);
  RAISE NOTICE '% recipients', l_count;
END;
$$;

CALL send_mail(
  p_to      => ' alice@example.test , ,',
  p_cc      => 'bob@example.test',
  p_bcc     => 'carol@example.test,',
  p_subject => current_setting('mail.mark'),
  p_body    => 'For all of you.');
