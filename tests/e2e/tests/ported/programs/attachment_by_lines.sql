-- A text and an attachment: base64 in pieces of 57 bytes, each a line of 76 characters.

CREATE PROCEDURE send_document(p_to text, p_subject text, p_text text, p_name text, p_content bytea)
LANGUAGE plpgsql AS $$
DECLARE
  l_conn     utl_smtp.connection;
  l_boundary CONSTANT text := '----=*#abc1234321cba#*=';
  l_step     CONSTANT integer := 57;
BEGIN
  l_conn := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.helo(l_conn, 'db.example.com');
  PERFORM utl_smtp.mail(l_conn, 'reports@foo.test');
  PERFORM utl_smtp.rcpt(l_conn, p_to);
  PERFORM utl_smtp.open_data(l_conn);

  PERFORM utl_smtp.write_data(l_conn, 'Date: ' || to_char(clock_timestamp(), 'Dy, DD Mon YYYY HH24:MI:SS TZHTZM') || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(l_conn, 'To: ' || p_to || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(l_conn, 'From: reports@foo.test' || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(l_conn, 'Subject: ' || p_subject || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(l_conn, 'MIME-Version: 1.0' || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(l_conn, 'Content-Type: multipart/mixed; boundary="' || l_boundary || '"' || utl_tcp.crlf() || utl_tcp.crlf());

  IF p_text IS NOT NULL THEN
    PERFORM utl_smtp.write_data(l_conn, '--' || l_boundary || utl_tcp.crlf());
    PERFORM utl_smtp.write_data(l_conn, 'Content-Type: text/plain; charset="iso-8859-1"' || utl_tcp.crlf() || utl_tcp.crlf());
    PERFORM utl_smtp.write_data(l_conn, p_text);
    PERFORM utl_smtp.write_data(l_conn, utl_tcp.crlf() || utl_tcp.crlf());
  END IF;

  IF p_name IS NOT NULL THEN
    PERFORM utl_smtp.write_data(l_conn, '--' || l_boundary || utl_tcp.crlf());
    PERFORM utl_smtp.write_data(l_conn, 'Content-Type: application/octet-stream; name="' || p_name || '"' || utl_tcp.crlf());
    PERFORM utl_smtp.write_data(l_conn, 'Content-Transfer-Encoding: base64' || utl_tcp.crlf());
    PERFORM utl_smtp.write_data(l_conn, 'Content-Disposition: attachment; filename="' || p_name || '"' || utl_tcp.crlf() || utl_tcp.crlf());
    FOR i IN 0 .. trunc((octet_length(p_content) - 1) / l_step) LOOP
      -- encode() ends a full line by LF itself
      PERFORM utl_smtp.write_data(l_conn,
        rtrim(encode(substring(p_content FROM i * l_step + 1 FOR l_step), 'base64'), chr(10)) || utl_tcp.crlf());
    END LOOP;
    PERFORM utl_smtp.write_data(l_conn, utl_tcp.crlf());
  END IF;

  PERFORM utl_smtp.write_data(l_conn, '--' || l_boundary || '--' || utl_tcp.crlf());
  PERFORM utl_smtp.close_data(l_conn);
  PERFORM utl_smtp.quit(l_conn);
END;
$$;

DO $$
DECLARE
  l_content bytea;
BEGIN
  SELECT content INTO STRICT l_content FROM documents WHERE name = 'report.bin';
  CALL send_document('bob@example.test', current_setting('mail.mark'), 'See the attachment.', 'report.bin', l_content);
END;
$$;
