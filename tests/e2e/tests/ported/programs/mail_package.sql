-- A package with its connection in a global variable: here a row of a temporary table, which lives as long as the
-- connection does. The second half of the file is what used the package, in transactions of its own.

CREATE SCHEMA mail_package;

CREATE FUNCTION mail_package.connection() RETURNS utl_smtp.connection LANGUAGE plpgsql AS $$
DECLARE
  c utl_smtp.connection;
BEGIN
  SELECT (g.c).* INTO c FROM pg_temp.mail_package_globals AS g;
  RETURN c;
END;
$$;

CREATE PROCEDURE mail_package.open() LANGUAGE plpgsql AS $$
BEGIN
  CREATE TEMPORARY TABLE IF NOT EXISTS mail_package_globals (c utl_smtp.connection);
  DELETE FROM pg_temp.mail_package_globals;
  INSERT INTO pg_temp.mail_package_globals
    VALUES (utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer));
  PERFORM utl_smtp.ehlo(mail_package.connection(), 'db.example.com');
END;
$$;

CREATE PROCEDURE mail_package.begin_mail(p_sender text, p_recipient text) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM utl_smtp.mail(mail_package.connection(), p_sender);
  PERFORM utl_smtp.rcpt(mail_package.connection(), p_recipient);
  PERFORM utl_smtp.open_data(mail_package.connection());
END;
$$;

CREATE PROCEDURE mail_package.write_mime_header(p_name text, p_value text) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM utl_smtp.write_data(mail_package.connection(), p_name || ': ' || p_value || utl_tcp.crlf());
END;
$$;

CREATE PROCEDURE mail_package.write_text(p_message text) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM utl_smtp.write_data(mail_package.connection(), p_message);
END;
$$;

CREATE PROCEDURE mail_package.end_mail() LANGUAGE plpgsql AS $$
BEGIN
  PERFORM utl_smtp.close_data(mail_package.connection());
END;
$$;

CREATE PROCEDURE mail_package.close() LANGUAGE plpgsql AS $$
BEGIN
  PERFORM utl_smtp.quit(mail_package.connection());
  DELETE FROM pg_temp.mail_package_globals;
END;
$$;

BEGIN;
CALL mail_package.open();
COMMIT;
BEGIN;
CALL mail_package.begin_mail('package@foo.test', 'bob@example.test');
CALL mail_package.write_mime_header('Subject', current_setting('mail.mark'));
CALL mail_package.write_mime_header('X-Mailer', 'mail_package');
COMMIT;
BEGIN;
CALL mail_package.write_text(utl_tcp.crlf() || 'First line,' || utl_tcp.crlf());
COMMIT;
BEGIN;
CALL mail_package.write_text('second line.');
CALL mail_package.end_mail();
COMMIT;
BEGIN;
CALL mail_package.close();
COMMIT;
