-- Headers and body in one DATA, put together by ||.

DO $$
DECLARE
  c      utl_smtp.connection;
  crlf   CONSTANT text := utl_tcp.crlf();
  l_mesg text;
BEGIN
  l_mesg := 'Date: ' || to_char(clock_timestamp(), 'Dy, DD Mon YYYY HH24:MI:SS TZHTZM') || crlf
         || 'From: "Payroll" <payroll@foo.test>' || crlf
         || 'To: bob@example.test' || crlf
         || 'Subject: ' || current_setting('mail.mark') || crlf
         || 'MIME-Version: 1.0' || crlf
         || 'Content-Type: text/plain; charset=UTF-8' || crlf
         || crlf
         || 'Zażółć gęślą jaźń.' || crlf
         || crlf
         || '  two spaces, and one at the end ' || crlf
         || 'last line';
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.ehlo(c, 'db.example.com');
  PERFORM utl_smtp.mail(c, 'payroll@foo.test');
  PERFORM utl_smtp.rcpt(c, 'bob@example.test');
  PERFORM utl_smtp.data(c, l_mesg);
  PERFORM utl_smtp.quit(c);
END;
$$;
