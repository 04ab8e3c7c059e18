-- VRFY, HELP, NOOP and RSET in the middle of things, and a message begun anew after RSET.

DO $$
DECLARE
  c  utl_smtp.connection;
  r  utl_smtp.reply;
  rs utl_smtp.replies;
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.helo(c, 'db.example.com');
  r := utl_smtp.vrfy(c, 'bob@example.test');
  RAISE NOTICE 'VRFY %', r.code;
  r := utl_smtp.vrfy(c, 'nobody@example.test');
  RAISE NOTICE 'VRFY nobody %', r.code;
  rs := utl_smtp.help(c);
  RAISE NOTICE 'HELP %', rs[1].code;
  rs := utl_smtp.command_replies(c, 'NOOP', 'still there?');
  RAISE NOTICE 'NOOP %', rs[cardinality(rs)].code;

  PERFORM utl_smtp.mail(c, 'wrong@foo.test');
  PERFORM utl_smtp.rcpt(c, 'carol@example.test');
  r := utl_smtp.noop(c);
  RAISE NOTICE 'NOOP %', r.code;
  r := utl_smtp.rset(c);
  RAISE NOTICE 'RSET %', r.code;

  PERFORM utl_smtp.mail(c, 'right@foo.test');
  PERFORM utl_smtp.noop(c);
  PERFORM utl_smtp.rcpt(c, 'bob@example.test');
  PERFORM utl_smtp.vrfy(c, 'carol@example.test');
  PERFORM utl_smtp.data(c, 'Subject: ' || current_setting('mail.mark') || utl_tcp.crlf() || utl_tcp.crlf() || 'Anew.');
  PERFORM utl_smtp.quit(c);
END;
$$;
