-- Queueing mail, and what it is measured beside. The message is put in by the harness.

CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO PUBLIC;
CREATE FUNCTION bench.message() RETURNS text LANGUAGE sql IMMUTABLE RETURN $message$$MESSAGE$$message$;

CREATE FUNCTION bench.queue(server text, mails bigint) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    message text := bench.message();
    id bigint;
BEGIN
    FOR i IN 1 .. mails LOOP
        id := utl_smtp.submit(server, 'alice@example.test', ARRAY['bob@example.test'], message);
    END LOOP;
END
$body$;


-- D1. Each function returns the seconds of its loop. They run in a transaction that is rolled back.

CREATE FUNCTION bench.submit(mails bigint) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    begun timestamptz := clock_timestamp();
BEGIN
    PERFORM bench.queue('near', mails);
    RETURN extract(epoch FROM clock_timestamp() - begun);
END
$body$;

CREATE FUNCTION bench.record(mails bigint) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    message text := bench.message();
    c utl_smtp.connection;
    r utl_smtp.reply;
    offer utl_smtp.replies;
    begun timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1 .. mails LOOP
        c := utl_smtp.open_connection('127.0.0.1', 25);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        r := utl_smtp.mail(c, 'alice@example.test');
        r := utl_smtp.rcpt(c, 'bob@example.test');
        r := utl_smtp.data(c, message);
        r := utl_smtp.quit(c);
    END LOOP;
    RETURN extract(epoch FROM clock_timestamp() - begun);
END
$body$;

-- The least that queueing a mail could do: its three rows into tables with the same indexes.
CREATE SEQUENCE bench.message_id;
CREATE TABLE bench.message (LIKE utl_smtp.message INCLUDING ALL);
CREATE TABLE bench.message_recipient (LIKE utl_smtp.message_recipient INCLUDING ALL);
CREATE TABLE bench.message_content (LIKE utl_smtp.message_content INCLUDING ALL);
GRANT USAGE ON SEQUENCE bench.message_id TO PUBLIC;
GRANT SELECT, INSERT ON bench.message, bench.message_recipient, bench.message_content TO PUBLIC;

-- The rows of a mail, to be repeated.
CREATE TABLE bench.pattern (message bench.message, recipient bench.message_recipient, content bench.message_content);
GRANT SELECT ON bench.pattern TO PUBLIC;

CREATE FUNCTION bench.insert(mails bigint) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    m bench.message;
    r bench.message_recipient;
    c bench.message_content;
    begun timestamptz;
BEGIN
    SELECT (p.message).* INTO m FROM bench.pattern AS p;
    SELECT (p.recipient).* INTO r FROM bench.pattern AS p;
    SELECT (p.content).* INTO c FROM bench.pattern AS p;
    begun := clock_timestamp();
    FOR i IN 1 .. mails LOOP
        m.message_id := nextval('bench.message_id');
        r.message_id := m.message_id;
        c.message_id := m.message_id;
        INSERT INTO bench.message VALUES (m.*);
        INSERT INTO bench.message_recipient VALUES (r.*);
        INSERT INTO bench.message_content VALUES (c.*);
    END LOOP;
    RETURN extract(epoch FROM clock_timestamp() - begun);
END
$body$;

-- Transactions that queue nothing.
CREATE TABLE bench.nothing (i bigint);
GRANT INSERT ON bench.nothing TO PUBLIC;
CREATE PROCEDURE bench.commits(times bigint, INOUT seconds double precision) LANGUAGE plpgsql AS $body$
DECLARE
    begun timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1 .. times LOOP
        INSERT INTO bench.nothing VALUES (i);
        COMMIT;
    END LOOP;
    seconds := extract(epoch FROM clock_timestamp() - begun);
END
$body$;


-- The outbox of peers/outbox.py.

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    message text NOT NULL,
    sent_at timestamptz
);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
