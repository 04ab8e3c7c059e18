-- Our side: conversations of one backend in PL/pgSQL. Replies are assigned: PERFORM would start the executor for each
-- call, and copy the arguments into the plans that it makes for the first ones.

CREATE FUNCTION bench.ours_each(port integer, mails bigint) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    message text := bench.message();
    c utl_smtp.connection;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    FOR i IN 1 .. mails LOOP
        c := utl_smtp.open_connection('127.0.0.1', port, 30);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        r := utl_smtp.mail(c, 'alice@example.test');
        r := utl_smtp.rcpt(c, 'bob@example.test');
        r := utl_smtp.data(c, message);
        r := utl_smtp.quit(c);
    END LOOP;
END
$body$;

CREATE FUNCTION bench.ours_kept(port integer, mails bigint) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    message text := bench.message();
    c utl_smtp.connection := utl_smtp.open_connection('127.0.0.1', port, 30);
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    offer := utl_smtp.ehlo(c, 'client.example.test');
    FOR i IN 1 .. mails LOOP
        r := utl_smtp.mail(c, 'alice@example.test');
        r := utl_smtp.rcpt(c, 'bob@example.test');
        r := utl_smtp.data(c, message);
    END LOOP;
    r := utl_smtp.quit(c);
END
$body$;

CREATE FUNCTION bench.ours_messages(port integer, mails bigint) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    message text := bench.message();
    recipients text[] := ARRAY['bob@example.test'];
    c utl_smtp.connection := utl_smtp.open_connection('127.0.0.1', port, 30);
    r utl_smtp.reply;
    offer utl_smtp.replies;
    accepted bigint;
BEGIN
    offer := utl_smtp.ehlo(c, 'client.example.test');
    -- One statement for all, as for the rows of a table. An argument that depends on the row is what makes it many calls.
    SELECT count(*) INTO accepted
      FROM generate_series(1, mails) AS i,
           LATERAL utl_smtp.send_message(c, 'alice@example.test', recipients, CASE WHEN i > 0 THEN message END)
     WHERE code = 250;
    IF accepted <> mails THEN
        RAISE EXCEPTION 'only % of % mails were accepted', accepted, mails;
    END IF;
    r := utl_smtp.quit(c);
END
$body$;

CREATE FUNCTION bench.ours_tls(port integer, mails bigint, wallet text) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    message text := bench.message();
    c utl_smtp.connection;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    FOR i IN 1 .. mails LOOP
        c := utl_smtp.open_connection('127.0.0.1', port, 30, wallet);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        r := utl_smtp.starttls(c);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        r := utl_smtp.auth(c, 'alice', 'secret', 'PLAIN');
        r := utl_smtp.mail(c, 'alice@example.test');
        r := utl_smtp.rcpt(c, 'bob@example.test');
        r := utl_smtp.data(c, message);
        r := utl_smtp.quit(c);
    END LOOP;
END
$body$;

-- Connections that send nothing.
CREATE FUNCTION bench.ours_open_tls(port integer, connections bigint, wallet text) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    FOR i IN 1 .. connections LOOP
        c := utl_smtp.open_connection('127.0.0.1', port, 30, wallet);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        r := utl_smtp.starttls(c);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        r := utl_smtp.quit(c);
    END LOOP;
END
$body$;

-- Connections that log in and send nothing, by hand and by a server that is an object.
CREATE FUNCTION bench.ours_log_in(port integer, connections bigint, wallet text) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    FOR i IN 1 .. connections LOOP
        c := utl_smtp.open_connection('127.0.0.1', port, 30, wallet);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        r := utl_smtp.starttls(c);
        offer := utl_smtp.ehlo(c, 'client.example.test');
        r := utl_smtp.auth(c, 'alice', 'secret', 'PLAIN');
        r := utl_smtp.quit(c);
    END LOOP;
END
$body$;

CREATE FUNCTION bench.ours_connect(port integer, connections bigint, wallet text) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection;
    r utl_smtp.reply;
BEGIN
    FOR i IN 1 .. connections LOOP
        c := utl_smtp.connect('sink', 30);
        r := utl_smtp.quit(c);
    END LOOP;
END
$body$;


-- Large messages. Each function returns the wall and processor seconds of the sending alone.

CREATE FUNCTION bench.ours_data(port integer, mails bigint, lines integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpgsql AS $body$
DECLARE
    message text := repeat(bench.line(), lines);
    c utl_smtp.connection := utl_smtp.open_connection('127.0.0.1', port, 60);
    clock bench.clock;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    wall := 0;
    cpu := 0;
    offer := utl_smtp.ehlo(c, 'client.example.test');
    FOR i IN 1 .. mails LOOP
        r := utl_smtp.mail(c, 'alice@example.test');
        r := utl_smtp.rcpt(c, 'bob@example.test');
        clock := bench.now();
        r := utl_smtp.data(c, message);
        clock := bench.since(clock);
        wall := wall + clock.wall;
        cpu := cpu + clock.cpu;
    END LOOP;
    r := utl_smtp.quit(c);
END
$body$;

CREATE FUNCTION bench.ours_lines(port integer, mails bigint, lines integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpgsql AS $body$
DECLARE
    line text := bench.line();
    c utl_smtp.connection := utl_smtp.open_connection('127.0.0.1', port, 60);
    clock bench.clock;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    wall := 0;
    cpu := 0;
    offer := utl_smtp.ehlo(c, 'client.example.test');
    FOR i IN 1 .. mails LOOP
        r := utl_smtp.mail(c, 'alice@example.test');
        r := utl_smtp.rcpt(c, 'bob@example.test');
        clock := bench.now();
        r := utl_smtp.open_data(c);
        FOR j IN 1 .. lines LOOP
            PERFORM utl_smtp.write_data(c, line);
        END LOOP;
        r := utl_smtp.close_data(c);
        clock := bench.since(clock);
        wall := wall + clock.wall;
        cpu := cpu + clock.cpu;
    END LOOP;
    r := utl_smtp.quit(c);
END
$body$;

CREATE FUNCTION bench.ours_raw(port integer, mails bigint, lines integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpgsql AS $body$
DECLARE
    message bytea := convert_to(repeat(bench.line(), lines), 'UTF8');
    c utl_smtp.connection := utl_smtp.open_connection('127.0.0.1', port, 60);
    clock bench.clock;
    r utl_smtp.reply;
    offer utl_smtp.replies;
BEGIN
    wall := 0;
    cpu := 0;
    offer := utl_smtp.ehlo(c, 'client.example.test');
    FOR i IN 1 .. mails LOOP
        r := utl_smtp.mail(c, 'alice@example.test');
        r := utl_smtp.rcpt(c, 'bob@example.test');
        clock := bench.now();
        r := utl_smtp.open_data(c);
        FOR j IN 1 .. length(message) BY 24576 LOOP
            PERFORM utl_smtp.write_raw_data(c, substring(message FROM j FOR 24576));
        END LOOP;
        r := utl_smtp.close_data(c);
        clock := bench.since(clock);
        wall := wall + clock.wall;
        cpu := cpu + clock.cpu;
    END LOOP;
    r := utl_smtp.quit(c);
END
$body$;

-- The loop of ours_lines around a function that does nothing, and has the same arguments or none.

CREATE FUNCTION bench.calls(times bigint, lines integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpgsql AS $body$
DECLARE
    line text := bench.line();
    c utl_smtp.connection := ROW('127.0.0.1', 25, 60, 1, NULL)::utl_smtp.connection;
    clock bench.clock := bench.now();
BEGIN
    FOR i IN 1 .. times LOOP
        FOR j IN 1 .. lines LOOP
            PERFORM bench.empty(c, line);
        END LOOP;
    END LOOP;
    clock := bench.since(clock);
    wall := clock.wall;
    cpu := clock.cpu;
END
$body$;

CREATE FUNCTION bench.bare_calls(times bigint, lines integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpgsql AS $body$
DECLARE
    clock bench.clock := bench.now();
BEGIN
    FOR i IN 1 .. times LOOP
        FOR j IN 1 .. lines LOOP
            PERFORM bench.empty();
        END LOOP;
    END LOOP;
    clock := bench.since(clock);
    wall := clock.wall;
    cpu := clock.cpu;
END
$body$;
