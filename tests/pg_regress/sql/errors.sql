-- What a caller reads when something is wrong, without any mail server: SQLSTATE, MESSAGE, DETAIL, HINT, CONTEXT.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS utl_smtp;
CREATE ROLE regress_errors_app;
RESET client_min_messages;
TRUNCATE utl_smtp.host_ace;
\pset format unaligned
\pset tuples_only on
\pset null '(null)'

CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
    context text;
    result text;
BEGIN
    EXECUTE statement INTO result;
    RETURN statement || E'\n  ' || coalesce('returns ' || result, 'returns null');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
        context = PG_EXCEPTION_CONTEXT;
    context := substring(context FROM '^SMTP conversation with [^\n]*');
    RETURN concat_ws(E'\n  ', statement, SQLSTATE || ' ' || message, 'DETAIL: ' || nullif(detail, ''),
                     'HINT: ' || nullif(hint, ''), 'CONTEXT: ' || context);
END $$;
GRANT EXECUTE ON FUNCTION pg_temp.outcome(text) TO PUBLIC;

--
-- arguments of open_connection; nothing is resolved or connected
--
SELECT pg_temp.outcome('SELECT utl_smtp.' || call)
FROM unnest(ARRAY[
    $$open_connection(NULL)$$,
    $$open_connection('')$$,
    $$open_connection('mail.example.test', NULL)$$,
    $$open_connection('mail.example.test', 0)$$,
    $$open_connection('mail.example.test', 65536)$$,
    $$open_connection('mail.example.test', -25)$$,
    $$open_connection('mail.example.test', 25, -1)$$,
    $$open_connection(E'mail.example.test\r\nQUIT')$$,
    $$open_connection(E'mail.example.test\u007f')$$,
    $$open_connection('mail example test')$$,
    $$open_connection('mail.example.test:25')$$,
    $$open_connection('user@mail.example.test')$$,
    $$open_connection('/run/smtp.sock')$$,
    $$open_connection('@abstract')$$,
    $$open_connection('-mail.example.test')$$,
    $$open_connection('mail..example.test')$$,
    $$open_connection('127.1')$$,
    $$open_connection('0x7f.1')$$,
    $$open_connection('2130706433')$$,
    $$open_connection('0177.0.0.1')$$,
    $$open_connection(' 127.0.0.1')$$,
    $$open_connection('*.example.test')$$,
    $$open_connection('127.0.0.0/8')$$,
    $$open_connection(repeat('a', 64) || '.test')$$,
    $$open_connection('mail.example.test', secure_host => '*')$$,
    $$open_connection('mail.example.test', secure_host => 'mail.*.test')$$,
    $$open_connection('mail.example.test', secure_host => E'mail\n')$$,
    $$open_connection('mail.example.test', wallet_path => 'ftp://wallet')$$,
    $$open_connection('mail.example.test', wallet_path => 'file:wallet')$$,
    $$open_connection('mail.example.test', wallet_path => 'wallet')$$,
    $$open_connection('mail.example.test', wallet_path => 'file:/no/such/wallet')$$,
    $$open_connection_reply(NULL)$$,
    $$open_connection_reply('mail.example.test', 0)$$,
    $$open_connection_reply('mail.example.test', tx_timeout => -1)$$]) AS call;

--
-- nobody listens: 421, as in Oracle
--
SELECT pg_temp.outcome('SELECT utl_smtp.' || call)
FROM unnest(ARRAY[
    $$open_connection('127.0.0.1', 1, 5)$$,
    $$open_connection('::ffff:127.0.0.1', 1, 5)$$,
    $$open_connection_reply('127.0.0.1', 1, 5)$$]) AS call;
SELECT c IS NULL AS no_connection, reply FROM utl_smtp.open_connection_reply('127.0.0.1', 1, 5);

--
-- a connection that never opened, was made up, or is another session's: the same 421 for every call
--
SELECT pg_temp.outcome(format('SELECT utl_smtp.noop(%s)', connection))
FROM unnest(ARRAY[
    'NULL',
    'ROW(NULL, NULL, NULL, NULL, NULL)',
    'ROW(''mail.example.test'', 25, NULL, 0, 0)',
    'ROW(''mail.example.test'', 25, NULL, 1, 0)',
    'ROW(''mail.example.test'', 25, NULL, -9223372036854775808, 0)',
    'ROW(''mail.example.test'', 25, NULL, 9223372036854775807, 0)']) AS connection;
SELECT pg_temp.outcome('SELECT utl_smtp.' || call) AS outcome
FROM unnest(ARRAY['quit(NULL)', 'close_connection(NULL)', 'command(NULL, ''NOOP'')', 'command_replies(NULL, ''NOOP'')',
                  'helo(NULL, ''a'')', 'ehlo(NULL, ''a'')', 'starttls(NULL)', 'auth(NULL, ''u'', ''secret'')',
                  'mail(NULL, ''a@example.test'')', 'rcpt(NULL, ''a@example.test'')', 'rset(NULL)', 'vrfy(NULL, ''a'')',
                  'help(NULL)', 'data(NULL, ''x'')', 'open_data(NULL)', 'write_data(NULL, ''x'')',
                  'write_raw_data(NULL, ''x'')', 'close_data(NULL)',
                  'send_message(NULL, '''', ''{a@example.test}'', ''x'')']) AS call;
-- and with raise_reply_errors off it is returned, where there is something to return
SET utl_smtp.raise_reply_errors = off;
SELECT pg_temp.outcome('SELECT utl_smtp.' || call)
FROM unnest(ARRAY['quit(NULL)', 'command(NULL, ''NOOP'')', 'command_replies(NULL, ''NOOP'')', 'ehlo(NULL, ''a'')',
                  'starttls(NULL)', 'auth(NULL, ''u'', ''secret'')', 'mail(NULL, ''a@example.test'')', 'data(NULL, ''x'')',
                  'open_data(NULL)', 'write_data(NULL, ''x'')', 'write_raw_data(NULL, ''x'')', 'close_data(NULL)']) AS call;
SELECT * FROM utl_smtp.send_message(NULL, '', '{a@example.test, b@example.test, a@EXAMPLE.test}', 'x');
RESET utl_smtp.raise_reply_errors;
-- the message is text unless it is said to be bytea
SELECT pg_temp.outcome('SELECT utl_smtp.' || call)
FROM unnest(ARRAY[
    $$send_message(NULL, '', '{a@example.test}', '\x00'::bytea)$$,
    $$send_message(NULL, '', '{a@example.test}', message => '\x00')$$,
    $$send_message(NULL, '', '{a@example.test, NULL}', 'x')$$,
    $$send_message(NULL, '', '{}', 'x')$$,
    $$send_message(NULL, '', NULL, 'x')$$,
    $$send_message(NULL, '', ARRAY['a@example.test', 'Ann <ann@example.test>'], 'x')$$]) AS call;
-- handles are looked for among this session's own: none of a million is there
SELECT count(*) FILTER (WHERE (reply).code <> 421) AS found
FROM (SELECT set_config('utl_smtp.raise_reply_errors', 'off', true) OFFSET 0) AS s,
     generate_series(1, 1000000) AS n,
     LATERAL utl_smtp.vrfy(ROW('h', 25, NULL, n, 0)::utl_smtp.connection, 'x') AS reply;
SELECT utl_smtp.close_all_connections(), (SELECT count(*) FROM utl_smtp.connections());

--
-- a role that nothing was granted to
--
SET ROLE regress_errors_app;
SELECT pg_temp.outcome('SELECT utl_smtp.' || call)
FROM unnest(ARRAY[
    $$open_connection('mail.example.test')$$,
    $$open_connection('MAIL.Example.Test.', 587)$$,
    $$open_connection('bücher.example', 25)$$,
    $$open_connection('::1', 465, secure_connection_before_smtp => true)$$,
    $$open_connection_reply('127.0.0.1', 1)$$,
    -- arguments come first, then permission, then the wallet
    $$open_connection('mail.example.test', 0)$$,
    $$open_connection('mail.example.test', wallet_path => 'file:/no/such/wallet')$$]) AS call;
RESET ROLE;
SET utl_smtp.raise_reply_errors = off;
SET ROLE regress_errors_app;
SELECT pg_temp.outcome($$SELECT utl_smtp.open_connection('127.0.0.1', 1)$$);
RESET ROLE;
RESET utl_smtp.raise_reply_errors;

--
-- wallets: who may name which
--
SELECT pg_temp.outcome(format('SELECT count(*) FROM utl_smtp.wallet_certificates(%s)', path))
FROM unnest(ARRAY[$$'file:/no/such/wallet'$$, $$'http://example.test/wallet'$$, $$'file:relative'$$, $$'system'$$,
                  $$E'file:/etc\n'$$]) AS path;
SET ROLE regress_errors_app;
SELECT pg_temp.outcome(format('SELECT count(*) FROM utl_smtp.wallet_certificates(%s)', path))
FROM unnest(ARRAY[$$'file:/no/such/wallet'$$, $$'file:/etc'$$, $$'/root'$$]) AS path;
RESET ROLE;
SET utl_smtp.wallet_path = '';
SELECT pg_temp.outcome('SELECT count(*) FROM utl_smtp.wallet_certificates()');
RESET utl_smtp.wallet_path;

--
-- as many connections as the superuser allows
--
SET utl_smtp.max_connections = 0;
SELECT pg_temp.outcome($$SELECT utl_smtp.open_connection('127.0.0.1', 1)$$);
RESET utl_smtp.max_connections;

--
-- not where another's code would send the mail
--
CREATE FUNCTION public.regress_errors_sends() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    RETURN (utl_smtp.open_connection('127.0.0.1', 1)).port;
END $$;
SELECT pg_temp.outcome($$CREATE MATERIALIZED VIEW regress_errors_view AS SELECT public.regress_errors_sends()$$);

DROP FUNCTION public.regress_errors_sends();
DROP ROLE regress_errors_app;
