-- STARTTLS without an EHLO before it, since the administrator said that the server has it.

DO $$
DECLARE
  c utl_smtp.connection;
BEGIN
  c := utl_smtp.open_connection(
    host => current_setting('mail.host'), port => current_setting('mail.port')::integer,
    tx_timeout => NULL, wallet_path => 'file:' || current_setting('mail.wallet'), wallet_password => NULL);
  PERFORM utl_smtp.starttls(c);
  PERFORM utl_smtp.ehlo(c, 'db.example.com');
  PERFORM utl_smtp.auth(c, current_setting('mail.user'), current_setting('mail.password'), utl_smtp.all_schemes());
  PERFORM utl_smtp.mail(c, current_setting('mail.user'));
  PERFORM utl_smtp.rcpt(c, 'partner@elsewhere.test');
  PERFORM utl_smtp.open_data(c);
  PERFORM utl_smtp.write_data(c, 'Subject: ' || current_setting('mail.mark') || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, utl_tcp.crlf() || 'At once.');
  PERFORM utl_smtp.close_data(c);
  PERFORM utl_smtp.quit(c);
END;
$$;
