-- Subjects that are not ASCII, as encoded words (RFC 2047): each at most 75 characters, of whole characters, one a line.

CREATE FUNCTION b_words(p_text text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  l_words text;
  l_pos   integer := 1;
BEGIN
  WHILE l_pos <= length(p_text) LOOP
    l_words := concat(l_words, CASE WHEN l_pos > 1 THEN utl_tcp.crlf() || ' ' END,
      '=?UTF-8?B?', replace(encode(convert_to(substr(p_text, l_pos, 10), 'UTF8'), 'base64'), chr(10), ''), '?=');
    l_pos := l_pos + 10;
  END LOOP;
  RETURN l_words;
END;
$$;

CREATE FUNCTION q_words(p_text text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  l_words text := '=?UTF-8?Q?';
  l_used  integer := 0;
  l_char  text;
  l_code  text;
BEGIN
  FOREACH l_char IN ARRAY regexp_split_to_array(p_text, '') LOOP
    l_code := CASE
      WHEN l_char ~ '[A-Za-z0-9]' AND ascii(l_char) < 128 THEN l_char
      WHEN l_char = ' ' THEN '_'
      ELSE regexp_replace(upper(encode(convert_to(l_char, 'UTF8'), 'hex')), '(..)', '=\1', 'g')
    END;
    IF l_used + length(l_code) > 60 THEN
      l_words := l_words || '?=' || utl_tcp.crlf() || ' =?UTF-8?Q?';
      l_used := 0;
    END IF;
    l_words := l_words || l_code;
    l_used := l_used + length(l_code);
  END LOOP;
  RETURN l_words || '?=';
END;
$$;

DO $$
DECLARE
  c      utl_smtp.connection;
  l_mark CONSTANT text := current_setting('mail.mark');
BEGIN
  c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
  PERFORM utl_smtp.ehlo(c, 'db.example.com');

  PERFORM utl_smtp.mail(c, 'b@foo.test');
  PERFORM utl_smtp.rcpt(c, 'bob@example.test');
  PERFORM utl_smtp.open_data(c);
  PERFORM utl_smtp.write_data(c, 'X-Mark: ' || l_mark || '-b' || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, 'Subject: ' || b_words('Ежемесячный отчёт о продажах за ноябрь: всё в порядке, 売上報告') || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, utl_tcp.crlf() || 'b' || utl_tcp.crlf());
  PERFORM utl_smtp.close_data(c);

  PERFORM utl_smtp.mail(c, 'q@foo.test');
  PERFORM utl_smtp.rcpt(c, 'bob@example.test');
  PERFORM utl_smtp.open_data(c);
  PERFORM utl_smtp.write_data(c, 'X-Mark: ' || l_mark || '-q' || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, 'Subject: ' || q_words('Überfällige Rechnungen = 12 % mehr als im Vorjahr (größte: 1_000 €)?') || utl_tcp.crlf());
  PERFORM utl_smtp.write_data(c, utl_tcp.crlf() || 'q' || utl_tcp.crlf());
  PERFORM utl_smtp.close_data(c);
  PERFORM utl_smtp.quit(c);
END;
$$;
