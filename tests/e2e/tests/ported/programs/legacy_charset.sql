-- Text in the character sets of old mail programs: WRITE_DATA would send UTF-8, so it is converted and sent raw.

CREATE PROCEDURE send_in(p_subject text, p_charset text, p_encoding name, p_text text)
LANGUAGE plpgsql AS $$
DECLARE
  c utl_smtp.connection;
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.ehlo(c, 'db.example.com');
  PERFORM utl_smtp.mail(c, 'old@foo.test');
  PERFORM utl_smtp.rcpt(c, 'carol@example.test');
  PERFORM utl_smtp.open_data(c);
  PERFORM utl_smtp.write_data(c, 'Subject: ' || p_subject || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, 'MIME-Version: 1.0' || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, 'Content-Type: text/plain; charset=' || p_charset || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, 'Content-Transfer-Encoding: 8bit' || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, utl_tcp.crlf());
  -- UTL_RAW.CONVERT(UTL_RAW.CAST_TO_RAW(p_text), 'AMERICAN_AMERICA.WE8ISO8859P1', …)
  PERFORM utl_smtp.write_raw_data(c, convert_to(p_text, p_encoding));
  PERFORM utl_smtp.close_data(c);
  PERFORM utl_smtp.quit(c);
END;
$$;

CALL send_in(current_setting('mail.mark') || '-1', 'ISO-8859-1', 'LATIN1', 'Grüße aus Zürich, Ærø und Besançon' || utl_tcp.crlf());
CALL send_in(current_setting('mail.mark') || '-2', 'windows-1252', 'WIN1252', '“Fünf” €' || utl_tcp.crlf());
