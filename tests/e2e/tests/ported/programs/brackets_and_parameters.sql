-- Every argument by name, addresses in their brackets, ESMTP parameters behind them.

DO $$
DECLARE
  c utl_smtp.connection;
  b CONSTANT text := 'Subject: ' || current_setting('mail.mark') || utl_tcp.crlf() || utl_tcp.crlf() || 'Né' || utl_tcp.crlf();
BEGIN
  c := utl_smtp.open_connection(
    host                          => current_setting('mail.host'),
    port                          => current_setting('mail.port')::integer,
    tx_timeout                    => NULL,
    wallet_path                   => NULL,
    wallet_password               => NULL,
    secure_connection_before_smtp => FALSE,
    secure_host                   => NULL);
  PERFORM utl_smtp.ehlo(c => c, domain => '[127.0.0.1]');
  PERFORM utl_smtp.mail(c => c, sender => '<app@foo.test>', parameters => 'SIZE=' || octet_length(b) || ' BODY=8BITMIME');
  PERFORM utl_smtp.rcpt(c => c, recipient => '<bob@example.test>', parameters => 'NOTIFY=NEVER');
  PERFORM utl_smtp.rcpt(c => c, recipient => 'carol@EXAMPLE.test', parameters => '');
  PERFORM utl_smtp.data(c => c, body => b);
  -- nobody to send it back to
  PERFORM utl_smtp.mail(c => c, sender => '<>');
  PERFORM utl_smtp.rcpt(c => c, recipient => '<alice@example.test>');
  PERFORM utl_smtp.open_data(c => c);
  PERFORM utl_smtp.write_data(c => c, data => b);
  PERFORM utl_smtp.close_data(c => c);
  PERFORM utl_smtp.noop(c => c);
  PERFORM utl_smtp.command(c => c, cmd => 'RSET', arg => NULL);
  PERFORM utl_smtp.quit(c => c);
END;
$$;
