-- Oracle's function forms: every reply is looked at, nothing is raised; who is refused is skipped.

-- Until a session has used the extension, PostgreSQL lets only superusers put its settings into a function's header.
SELECT utl_smtp.close_all_connections();

CREATE FUNCTION send_to_all(p_recipients text[], p_subject text) RETURNS text
LANGUAGE plpgsql SET utl_smtp.raise_reply_errors = off AS $$
DECLARE
  c         utl_smtp.connection;
  r         utl_smtp.reply;
  rs        utl_smtp.replies;
  l_skipped text;
  l_taken   integer := 0;
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  r := utl_smtp.mail(c, 'early@foo.test');
  IF r.code <> 503 THEN
    RETURN 'MAIL before EHLO: ' || r.code;
  END IF;
  rs := utl_smtp.ehlo(c, 'db.example.com');
  IF rs[1].code <> 250 THEN
    RETURN 'EHLO: ' || rs[1].text;
  END IF;
  r := utl_smtp.mail(c, 'app@foo.test');
  IF r.code <> 250 THEN
    RETURN 'MAIL: ' || r.text;
  END IF;
  FOR i IN 1 .. cardinality(p_recipients) LOOP
    r := utl_smtp.rcpt(c, p_recipients[i]);
    IF r.code IN (250, 251) THEN
      l_taken := l_taken + 1;
    ELSE
      l_skipped := concat_ws(', ', l_skipped, p_recipients[i] || ' (' || r.code || ')');
    END IF;
  END LOOP;
  IF l_taken = 0 THEN
    PERFORM utl_smtp.quit(c);
    RETURN 'nobody took it: ' || l_skipped;
  END IF;
  r := utl_smtp.open_data(c);
  IF r.code <> 354 THEN
    RETURN 'DATA: ' || r.text;
  END IF;
  PERFORM utl_smtp.write_data(c, 'Subject: ' || p_subject || utl_tcp.crlf() || utl_tcp.crlf() || 'For whoever is there.');
  r := utl_smtp.close_data(c);
  IF r.code <> 250 THEN
    RETURN 'end of data: ' || r.text;
  END IF;
  r := utl_smtp.quit(c);
  RETURN concat(r.code, ', skipped: ', l_skipped);
END;
$$;

DO $$
BEGIN
  RAISE NOTICE '%', send_to_all(
    ARRAY['alice@example.test', 'nobody@example.test', 'bob@example.test'], current_setting('mail.mark'));
  RAISE NOTICE '%', send_to_all(ARRAY['nobody@example.test'], current_setting('mail.mark'));
END;
$$;
