-- What the server offers, read out of the lines of its reply to EHLO.

CREATE FUNCTION offers(p_replies utl_smtp.replies, p_keyword text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. cardinality(p_replies) LOOP
    IF p_replies[i].code = 250 AND upper(p_replies[i].text) ~ ('^' || p_keyword || '( |$)') THEN
      -- the parameters behind the keyword
      RETURN trim(substr(p_replies[i].text, length(p_keyword) + 1));
    END IF;
  END LOOP;
  RETURN NULL;
END;
$$;

DO $$
DECLARE
  l_conn    utl_smtp.connection;
  l_replies utl_smtp.replies;
  l_scheme  text;
BEGIN
  l_conn := utl_smtp.open_connection(
    current_setting('mail.host'), current_setting('mail.port')::integer, 30, current_setting('mail.wallet'));
  l_replies := utl_smtp.ehlo(l_conn, 'db.example.com');
  RAISE NOTICE 'before TLS: STARTTLS %, AUTH %', offers(l_replies, 'STARTTLS') IS NOT NULL, offers(l_replies, 'AUTH') IS NOT NULL;
  IF offers(l_replies, 'STARTTLS') IS NOT NULL THEN
    PERFORM utl_smtp.starttls(l_conn);
    l_replies := utl_smtp.ehlo(l_conn, 'db.example.com');
  END IF;
  RAISE NOTICE 'under TLS: STARTTLS %, AUTH %', offers(l_replies, 'STARTTLS') IS NOT NULL, offers(l_replies, 'AUTH') IS NOT NULL;
  RAISE NOTICE 'SIZE %', offers(l_replies, 'SIZE');

  -- the server's own order
  FOREACH l_scheme IN ARRAY string_to_array(offers(l_replies, 'AUTH'), ' ') LOOP
    EXIT WHEN l_scheme IN ('PLAIN', 'LOGIN');
  END LOOP;
  PERFORM utl_smtp.auth(l_conn, current_setting('mail.user'), current_setting('mail.password'), l_scheme);
  PERFORM utl_smtp.quit(l_conn);
END;
$$;
