-- AUTH PLAIN in one line. Oracle code has CHR(0) || user || CHR(0) || password; a text of PostgreSQL holds no NUL, so
-- the response is put together as bytea.

DO $$
DECLARE
  l_conn     utl_smtp.connection;
  l_response bytea;
BEGIN
  l_conn := utl_smtp.open_connection(
    host        => current_setting('mail.host'),
    port        => current_setting('mail.port')::integer,
    wallet_path => current_setting('mail.wallet'));
  PERFORM utl_smtp.ehlo(l_conn, 'db.example.com');
  PERFORM utl_smtp.starttls(l_conn);
  PERFORM utl_smtp.ehlo(l_conn, 'db.example.com');

  l_response := '\x00'::bytea || convert_to(current_setting('mail.user'), 'UTF8')
             || '\x00'::bytea || convert_to(current_setting('mail.password'), 'UTF8');
  -- encode() breaks its lines after 76 characters, and a command is one line.
  PERFORM utl_smtp.command(l_conn, 'AUTH', 'PLAIN ' || replace(encode(l_response, 'base64'), chr(10), ''));

  PERFORM utl_smtp.mail(l_conn, current_setting('mail.user'));
  PERFORM utl_smtp.rcpt(l_conn, 'partner@elsewhere.test');
  PERFORM utl_smtp.data(l_conn, 'Subject: ' || current_setting('mail.mark') || utl_tcp.crlf() || utl_tcp.crlf()
                             || 'In one line.' || utl_tcp.crlf());
  PERFORM utl_smtp.quit(l_conn);
END;
$$;
