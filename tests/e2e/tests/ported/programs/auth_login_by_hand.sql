-- AUTH LOGIN said by hand, as programs did before UTL_SMTP had AUTH.

CREATE FUNCTION base64_text(p_text text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  -- UTL_RAW.CAST_TO_VARCHAR2(UTL_ENCODE.BASE64_ENCODE(UTL_RAW.CAST_TO_RAW(p_text)))
  RETURN encode(convert_to(p_text, 'UTF8'), 'base64');
END;
$$;

DO $$
DECLARE
  l_conn  utl_smtp.connection;
  l_reply utl_smtp.reply;
BEGIN
  l_conn := utl_smtp.open_connection(
    host        => current_setting('mail.host'),
    port        => current_setting('mail.port')::integer,
    wallet_path => 'file:' || current_setting('mail.wallet'));
  PERFORM utl_smtp.ehlo(l_conn, 'db.example.com');
  PERFORM utl_smtp.starttls(l_conn);
  PERFORM utl_smtp.ehlo(l_conn, 'db.example.com');

  l_reply := utl_smtp.command(l_conn, 'AUTH LOGIN');
  RAISE NOTICE 'AUTH LOGIN: %', l_reply.code;
  l_reply := utl_smtp.command(l_conn, base64_text(current_setting('mail.user')));
  RAISE NOTICE 'user: %', l_reply.code;
  l_reply := utl_smtp.command(l_conn, base64_text(current_setting('mail.password')));
  RAISE NOTICE 'password: %', l_reply.code;

  PERFORM utl_smtp.mail(l_conn, current_setting('mail.user'));
  PERFORM utl_smtp.rcpt(l_conn, 'partner@elsewhere.test');
  PERFORM utl_smtp.data(l_conn, 'Subject: ' || current_setting('mail.mark') || utl_tcp.crlf() || utl_tcp.crlf()
                             || 'By hand.' || utl_tcp.crlf());
  PERFORM utl_smtp.quit(l_conn);
END;
$$;
