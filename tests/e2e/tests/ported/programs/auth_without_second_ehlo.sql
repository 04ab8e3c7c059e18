-- No EHLO after STARTTLS. What the server had offered before is forgotten (RFC 3207): some answer 503. The program
-- looks at the code and says EHLO then.

CREATE FUNCTION log_in(c utl_smtp.connection) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM utl_smtp.auth(c, current_setting('mail.user'), current_setting('mail.password'), 'PLAIN LOGIN');
  RETURN 'logged in at once';
EXCEPTION
  WHEN SQLSTATE 'U9279' THEN
    IF SQLERRM NOT LIKE 'ORA-29279: SMTP permanent error: 503 %' THEN
      RAISE;
    END IF;
    PERFORM utl_smtp.ehlo(c, 'db.example.com');
    PERFORM utl_smtp.auth(c, current_setting('mail.user'), current_setting('mail.password'), 'PLAIN LOGIN');
    RETURN 'logged in after EHLO';
END;
$$;

DO $$
DECLARE
  c utl_smtp.connection;
BEGIN
  c := utl_smtp.open_connection(
    host => current_setting('mail.host'), port => current_setting('mail.port')::integer,
    wallet_path => 'file:' || current_setting('mail.wallet'));
  PERFORM utl_smtp.ehlo(c, 'db.example.com');
  PERFORM utl_smtp.starttls(c);
  RAISE NOTICE '%', log_in(c);
  PERFORM utl_smtp.mail(c, current_setting('mail.user'));
  PERFORM utl_smtp.rcpt(c, 'partner@elsewhere.test');
  PERFORM utl_smtp.data(c, 'Subject: ' || current_setting('mail.mark') || utl_tcp.crlf() || utl_tcp.crlf() || 'In the end.');
  PERFORM utl_smtp.quit(c);
END;
$$;
