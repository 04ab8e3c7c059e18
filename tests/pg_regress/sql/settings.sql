-- The settings: their defaults, their bounds, who may change them, and that nobody can invent one.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS utl_smtp;
CREATE ROLE regress_settings_app;
RESET client_min_messages;
-- the library is loaded by the first call
SELECT utl_smtp.close_all_connections();
\pset format unaligned
\pset fieldsep ' | '

SELECT name, vartype, context, coalesce(boot_val, '(null)') AS default, unit, min_val, max_val, enumvals
FROM pg_settings
WHERE name LIKE 'utl\_smtp.%'
ORDER BY name COLLATE "C";
-- each says what it does
SELECT name AS undescribed FROM pg_settings WHERE name LIKE 'utl\_smtp.%' AND coalesce(short_desc, '') = '';
SHOW utl_smtp.default_timeout;

-- values
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    -- which units are in a range depends on the version of PostgreSQL
    RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, ' \(.*\.\..*\)', '');
END $$;
SELECT statement, pg_temp.outcome(statement)
FROM unnest(ARRAY[
    'SET LOCAL utl_smtp.default_timeout = ''2min''',
    'SET LOCAL utl_smtp.default_timeout = 0',
    'SET LOCAL utl_smtp.default_timeout = -1',
    'SET LOCAL utl_smtp.max_connections = 0',
    'SET LOCAL utl_smtp.max_connections = 1025',
    'SET LOCAL utl_smtp.trace = notice',
    'SET LOCAL utl_smtp.trace = verbose',
    'SET LOCAL utl_smtp.min_tls_version = ''tlsv1.3''',
    'SET LOCAL utl_smtp.min_tls_version = ''TLSv1.1''',
    'SET LOCAL utl_smtp.raise_reply_errors = maybe',
    'SET LOCAL utl_smtp.wallet_path = ''file:/nowhere''',
    'SET LOCAL utl_smtp.wallet_roots = ''/etc/wallets, "/srv/my wallets"''',
    'SET LOCAL utl_smtp.wallet_roots = ''/etc/wallets, srv/wallets''',
    'SET LOCAL utl_smtp.wallet_roots = ''/etc/wallets, ""''',
    'SET LOCAL utl_smtp.wallet_roots = ''/etc/wallets, "/srv''',
    'SET LOCAL utl_smtp.wallet_roots = ''/etc/wallets,,/srv''']) AS statement;

-- the prefix is the library's own
SELECT statement, pg_temp.outcome(statement)
FROM unnest(ARRAY[
    'SET utl_smtp.no_such_setting = 1',
    'ALTER ROLE regress_settings_app SET utl_smtp.no_such_setting = 1']) AS statement;

-- who may change what
SET ROLE regress_settings_app;
SELECT statement, pg_temp.outcome(statement)
FROM unnest(ARRAY[
    'SET LOCAL utl_smtp.raise_reply_errors = off',
    'SET LOCAL utl_smtp.default_timeout = 10',
    'SET LOCAL utl_smtp.trace = off',
    'SET LOCAL utl_smtp.max_connections = 17',
    'SET LOCAL utl_smtp.wallet_path = ''file:/tmp''',
    'SET LOCAL utl_smtp.wallet_roots = ''/''',
    'SET LOCAL utl_smtp.allow_cleartext_auth = on',
    'SET LOCAL utl_smtp.min_tls_version = ''TLSv1.2''']) AS statement;
-- a function of the role's own can't carry them either
CREATE FUNCTION pg_temp.carrier() RETURNS void LANGUAGE sql SET utl_smtp.allow_cleartext_auth = on AS '';
RESET ROLE;

-- what is set lasts as long as any setting: a function's for its call
CREATE FUNCTION pg_temp.judges_itself() RETURNS text LANGUAGE plpgsql SET utl_smtp.raise_reply_errors = off AS $$
BEGIN
    RETURN current_setting('utl_smtp.raise_reply_errors') || ' ' || (utl_smtp.noop(NULL)).code;
END $$;
SELECT pg_temp.judges_itself(), current_setting('utl_smtp.raise_reply_errors') AS after;
SELECT pg_temp.outcome('SELECT utl_smtp.noop(NULL)');

-- a database's or role's setting is there before the library is loaded, and checked when it is
ALTER ROLE regress_settings_app SET utl_smtp.default_timeout = '5s';
SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'regress_settings_app'::regrole;

DROP ROLE regress_settings_app;
