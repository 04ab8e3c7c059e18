-- The overload of OPEN_CONNECTION that returns the reply, with c as an OUT parameter, tried until a server answers.

DO $$
DECLARE
  l_opened record;
  c        utl_smtp.connection;
  r        utl_smtp.reply;
  l_port   text;
BEGIN
  -- r := utl_smtp.open_connection(host, port, c, tx_timeout, …)
  FOREACH l_port IN ARRAY ARRAY[current_setting('mail.dead_port'), current_setting('mail.port')] LOOP
    l_opened := utl_smtp.open_connection_reply(
      host => current_setting('mail.host'), port => l_port::integer, tx_timeout => 60,
      wallet_path => 'file:' || current_setting('mail.wallet'),
      secure_connection_before_smtp => TRUE, secure_host => 'mail.example.test');
    c := l_opened.c;
    r := l_opened.reply;
    RAISE NOTICE '%', r.code;
    EXIT WHEN r.code = 220;
    PERFORM utl_smtp.close_connection(c);
  END LOOP;
  PERFORM utl_smtp.ehlo(c, 'db.example.com');
  PERFORM utl_smtp.auth(
    c        => c,
    username => current_setting('mail.user'),
    password => current_setting('mail.password'),
    schemes  => utl_smtp.non_cleartext_password_schemes());
  PERFORM utl_smtp.mail(c, current_setting('mail.user'));
  PERFORM utl_smtp.rcpt(c, 'partner@elsewhere.test');
  PERFORM utl_smtp.data(c, 'Subject: ' || current_setting('mail.mark') || utl_tcp.crlf() || utl_tcp.crlf() || 'The second one.');
  PERFORM utl_smtp.quit(c);
END;
$$;
