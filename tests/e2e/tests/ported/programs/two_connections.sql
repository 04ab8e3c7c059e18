-- Two conversations at once, step by step in turns, kept in an array as a PL/SQL table kept them.

DO $$
DECLARE
  c utl_smtp.connection[];
BEGIN
  FOR i IN 1 .. 2 LOOP
    c[i] := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  END LOOP;
  FOR i IN 1 .. 2 LOOP
    PERFORM utl_smtp.helo(c[i], 'db' || i || '.example.com');
  END LOOP;
  FOR i IN 1 .. 2 LOOP
    PERFORM utl_smtp.mail(c[i], 'app' || i || '@foo.test');
  END LOOP;
  FOR i IN REVERSE 2 .. 1 LOOP
    PERFORM utl_smtp.rcpt(c[i], CASE i WHEN 1 THEN 'alice@example.test' ELSE 'bob@example.test' END);
  END LOOP;
  FOR i IN 1 .. 2 LOOP
    PERFORM utl_smtp.open_data(c[i]);
    PERFORM utl_smtp.write_data(c[i], concat('Subject: ', current_setting('mail.mark'), utl_tcp.crlf(), utl_tcp.crlf()));
  END LOOP;
  FOR n IN 1 .. 100 LOOP
    FOR i IN 1 .. 2 LOOP
      PERFORM utl_smtp.write_data(c[i], concat('line ', n, ' of ', i, utl_tcp.crlf()));
    END LOOP;
  END LOOP;
  FOR i IN REVERSE 2 .. 1 LOOP
    PERFORM utl_smtp.close_data(c[i]);
    PERFORM utl_smtp.quit(c[i]);
  END LOOP;
END;
$$;
