-- Conversations that grow in one direction. Each function returns the seconds that count.

CREATE FUNCTION bench.ours_recipients(port integer, mails bigint, recipients integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpgsql AS $body$
DECLARE
    message text := bench.message();
    c utl_smtp.connection := utl_smtp.open_connection('127.0.0.1', port, 60);
    clock bench.clock;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    offer := utl_smtp.ehlo(c, 'client.example.test');
    clock := bench.now();
    FOR i IN 1 .. mails LOOP
        r := utl_smtp.mail(c, 'alice@example.test');
        FOR j IN 1 .. recipients LOOP
            r := utl_smtp.rcpt(c, 'bob@example.test');
        END LOOP;
        r := utl_smtp.data(c, message);
    END LOOP;
    clock := bench.since(clock);
    wall := clock.wall;
    cpu := clock.cpu;
    r := utl_smtp.quit(c);
END
$body$;

-- Mails in turn over so many open connections.
CREATE FUNCTION bench.ours_sessions(port integer, mails bigint, sessions integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpgsql AS $body$
DECLARE
    message text := bench.message();
    open utl_smtp.connection[];
    c utl_smtp.connection;
    clock bench.clock;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    FOR i IN 1 .. sessions LOOP
        c := utl_smtp.open_connection('127.0.0.1', port, 60);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        open := open || c;
    END LOOP;
    clock := bench.now();
    FOR i IN 1 .. mails LOOP
        c := open[1 + i % sessions];
        r := utl_smtp.mail(c, 'alice@example.test');
        r := utl_smtp.rcpt(c, 'bob@example.test');
        r := utl_smtp.data(c, message);
    END LOOP;
    clock := bench.since(clock);
    wall := clock.wall;
    cpu := clock.cpu;
    FOREACH c IN ARRAY open LOOP
        r := utl_smtp.quit(c);
    END LOOP;
END
$body$;

-- The peak of memory during one data() call beyond what was in use when it began: the growth is the call's own.
CREATE FUNCTION bench.ours_growth(port integer, lines integer) RETURNS bigint LANGUAGE plpgsql AS $body$
DECLARE
    message text := repeat(bench.line(), lines);
    c utl_smtp.connection := utl_smtp.open_connection('127.0.0.1', port, 60);
    before record;
    after record;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    offer := utl_smtp.ehlo(c, 'client.example.test');
    r := utl_smtp.mail(c, 'alice@example.test');
    r := utl_smtp.rcpt(c, 'bob@example.test');
    before := bench.memory(true);
    r := utl_smtp.data(c, message);
    after := bench.memory(false);
    r := utl_smtp.quit(c);
    RETURN after.peak - before.resident;
END
$body$;

-- What so many open connections hold, in octets.
CREATE FUNCTION bench.ours_held(port integer, sessions integer, wallet text) RETURNS bigint LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection;
    before record := bench.memory(false);
    after record;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    FOR i IN 1 .. sessions LOOP
        c := utl_smtp.open_connection('127.0.0.1', port, 60, wallet);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        IF wallet IS NOT NULL THEN
            r := utl_smtp.starttls(c);
            offer := utl_smtp.ehlo(c, 'client.example.test');
        END IF;
    END LOOP;
    after := bench.memory(false);
    PERFORM utl_smtp.close_all_connections();
    RETURN after.resident - before.resident;
END
$body$;
