-- Two attachments in the largest pieces that RAW allowed: 24,573 bytes, a multiple of 3. One goes as text, one as raw.
-- encode() breaks its lines by LF after 76 characters; what remains of a piece is a shorter line.

DO $$
DECLARE
  l_conn   utl_smtp.connection;
  l_blob   bytea;
  l_buffer bytea;
  l_amount CONSTANT integer := 24573;
  l_pos    integer;
  crlf     CONSTANT text := utl_tcp.crlf();
BEGIN
  SELECT content INTO STRICT l_blob FROM documents WHERE name = 'report.bin';
  l_conn := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.ehlo(l_conn, 'db.example.com');
  PERFORM utl_smtp.mail(l_conn, 'reports@foo.test');
  PERFORM utl_smtp.rcpt(l_conn, 'bob@example.test');
  PERFORM utl_smtp.open_data(l_conn);
  PERFORM utl_smtp.write_data(l_conn, 'Subject: ' || current_setting('mail.mark') || crlf
    || 'MIME-Version: 1.0' || crlf || 'Content-Type: multipart/mixed; boundary="=_b"' || crlf || crlf);

  PERFORM utl_smtp.write_data(l_conn, '--=_b' || crlf || 'Content-Type: application/octet-stream; name="1.bin"' || crlf
    || 'Content-Transfer-Encoding: base64' || crlf || crlf);
  l_pos := 1;
  WHILE l_pos <= octet_length(l_blob) LOOP
    l_buffer := substr(l_blob, l_pos, l_amount);
    PERFORM utl_smtp.write_data(l_conn, encode(l_buffer, 'base64') || crlf);
    l_pos := l_pos + l_amount;
  END LOOP;

  PERFORM utl_smtp.write_data(l_conn, crlf || '--=_b' || crlf || 'Content-Type: application/octet-stream; name="2.bin"' || crlf
    || 'Content-Transfer-Encoding: base64' || crlf || crlf);
  l_pos := 1;
  WHILE l_pos <= octet_length(l_blob) LOOP
    l_buffer := substr(l_blob, l_pos, l_amount);
    PERFORM utl_smtp.write_raw_data(l_conn, convert_to(encode(l_buffer, 'base64'), 'UTF8'));
    PERFORM utl_smtp.write_raw_data(l_conn, convert_to(crlf, 'UTF8'));
    l_pos := l_pos + l_amount;
  END LOOP;

  PERFORM utl_smtp.write_data(l_conn, crlf || '--=_b--' || crlf);
  PERFORM utl_smtp.close_data(l_conn);
  PERFORM utl_smtp.quit(l_conn);
END;
$$;
