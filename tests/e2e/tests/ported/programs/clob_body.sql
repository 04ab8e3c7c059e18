-- A CLOB in pieces of 8,000 characters. A piece may end anywhere: within a line end, before a dot, among characters of
-- several octets.

CREATE PROCEDURE send_clob(p_subject text, p_clob text)
LANGUAGE plpgsql AS $$
DECLARE
  l_conn   utl_smtp.connection;
  l_offset integer := 1;
  l_amount CONSTANT integer := 8000;
BEGIN
  l_conn := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.ehlo(l_conn, 'db.example.com');
  PERFORM utl_smtp.mail(l_conn, 'news@foo.test');
  PERFORM utl_smtp.rcpt(l_conn, 'carol@example.test');
  PERFORM utl_smtp.open_data(l_conn);
  PERFORM utl_smtp.write_data(l_conn, 'Subject: ' || p_subject || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(l_conn, 'MIME-Version: 1.0' || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(l_conn, 'Content-Type: text/plain; charset=UTF-8' || utl_tcp.crlf() || utl_tcp.crlf());
  WHILE l_offset <= length(p_clob) LOOP
    PERFORM utl_smtp.write_data(l_conn, substr(p_clob, l_offset, l_amount));
    l_offset := l_offset + l_amount;
  END LOOP;
  PERFORM utl_smtp.close_data(l_conn);
  PERFORM utl_smtp.quit(l_conn);
END;
$$;

DO $$
DECLARE
  l_clob text;
BEGIN
  SELECT string_agg(concat(CASE WHEN n % 3 = 0 THEN '.' END, n, ' ', repeat('žluťoučký kůň ', n % 5), utl_tcp.crlf()), '' ORDER BY n)
    INTO l_clob
    FROM generate_series(1, 5000) AS n;
  CALL send_clob(current_setting('mail.mark'), l_clob);
END;
$$;
