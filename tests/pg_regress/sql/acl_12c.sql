-- dbms_network_acl_admin as of 12c, and the table under it.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS utl_smtp;
CREATE ROLE regress_acl12_app;
CREATE ROLE regress_acl12_nobody;
CREATE ROLE "Regress_Acl12_Mixed";
RESET client_min_messages;
TRUNCATE utl_smtp.host_ace, utl_smtp.acl, utl_smtp.acl_ace, utl_smtp.acl_assignment;

-- Runs a statement and shows what became of it: SQLSTATE, message, detail, hint.
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || ' ' || message
        || CASE WHEN detail <> '' THEN E'\n  ' || detail ELSE '' END
        || CASE WHEN hint <> '' THEN E'\n  ' || hint ELSE '' END;
END $$;
CREATE FUNCTION pg_temp.sqlstate_of(statement text) RETURNS text LANGUAGE sql AS $$
    SELECT split_part(pg_temp.outcome(statement), ' ', 1);
$$;
CREATE VIEW pg_temp.entries AS
    SELECT host, lower_port AS lower, upper_port AS upper, ace_order AS nr, principal, grant_type AS type, privilege
    FROM utl_smtp.dba_host_aces ORDER BY 1, 2, 3, 4, 7;

--
-- append
--
-- positional and named notation, as Oracle's scripts have them
SELECT dbms_network_acl_admin.append_host_ace('mail.example.com', 25, 25,
    dbms_network_acl_admin.xs$ace_type(dbms_network_acl_admin.xs$name_list('connect'),
                                       principal_name => 'regress_acl12_app'));
DO $$
BEGIN
    PERFORM dbms_network_acl_admin.append_host_ace(
        host => 'MAIL.Example.COM.',
        lower_port => 25,
        ace => dbms_network_acl_admin.xs$ace_type(
            privilege_list => dbms_network_acl_admin.xs$name_list('SMTP', 'connect'),
            principal_name => 'REGRESS_ACL12_APP',
            principal_type => xs_acl.ptype_db()));
END $$;
-- one entry: same host, same role, same port range, connect only once
TABLE pg_temp.entries;
-- a denial is another entry; so is the same with a date
SELECT dbms_network_acl_admin.append_host_ace('mail.example.com', 25, 25,
    dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], granted => false, principal_name => 'regress_acl12_app'));
SELECT dbms_network_acl_admin.append_host_ace('mail.example.com', 25, 25,
    dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], principal_name => 'regress_acl12_app',
                                       end_date => '2001-01-01 00:00+00'));
-- a range of its own, none at all, another role, everybody
SELECT dbms_network_acl_admin.append_host_ace('mail.example.com', 465, 587,
    dbms_network_acl_admin.xs$ace_type(ARRAY['connect', 'resolve'], principal_name => 'Regress_Acl12_Mixed'));
SELECT dbms_network_acl_admin.append_host_ace('mail.example.com',
    ace => dbms_network_acl_admin.xs$ace_type(ARRAY['use_client_certificates'], principal_name => 'Public'));
TABLE pg_temp.entries;
SELECT principal, start_date, end_date = '2001-01-01 00:00+00' AS ends FROM utl_smtp.host_ace ORDER BY host, lower_port, ace_order, privilege;

--
-- arguments
--
SELECT c.name, pg_temp.outcome(format(
    'SELECT dbms_network_acl_admin.append_host_ace(%s,
        dbms_network_acl_admin.xs$ace_type(ARRAY[''connect''], principal_name => ''regress_acl12_app''))', c.arguments))
FROM (VALUES
    (1, 'port 0', '''a.example'', 0, 25'),
    (2, 'port 65536', '''a.example'', 25, 65536'),
    (3, 'lower > upper', '''a.example'', 26, 25'),
    (4, 'upper only', '''a.example'', NULL, 25'),
    (5, 'no host', 'NULL, 25, 25'),
    (6, 'overlap from below', '''mail.example.com'', 24, 25'),
    (7, 'overlap from above', '''mail.example.com'', 587, 600'),
    (8, 'overlap inside', '''mail.example.com'', 500, 500'),
    (9, 'overlap around', '''mail.example.com'', 26, 65535'),
    (10, 'apart', '''mail.example.com'', 26, 464')) AS c (nr, name, arguments)
ORDER BY c.nr;
-- not a host: what it says is the matcher's business, that it is 22023 is ours
SELECT pattern, pg_temp.sqlstate_of(format(
    'SELECT dbms_network_acl_admin.append_host_ace(%L, NULL, NULL,
        dbms_network_acl_admin.xs$ace_type(ARRAY[''connect''], principal_name => ''regress_acl12_app''))', pattern))
FROM unnest(ARRAY['', 'a..example', 'a.example..', 'a/b', 'a@b', 'a.example:25', 'a b', '/run/smtp.sock', 'a.*.example'])
    AS pattern;
SELECT c.name, pg_temp.outcome(format(
    'SELECT dbms_network_acl_admin.append_host_ace(''a.example'', ace => %s)', c.ace))
FROM (VALUES
    (1, 'no ace', 'NULL'),
    (2, 'no principal', 'dbms_network_acl_admin.xs$ace_type(ARRAY[''connect''])'),
    (3, 'unknown principal', 'dbms_network_acl_admin.xs$ace_type(ARRAY[''connect''], principal_name => ''Regress_acl12_Absent'')'),
    (4, 'unknown privilege', 'dbms_network_acl_admin.xs$ace_type(ARRAY[''connect'', ''Fly''], principal_name => ''public'')'),
    (5, 'no privilege', 'dbms_network_acl_admin.xs$ace_type(ARRAY[]::text[], principal_name => ''public'')'),
    (6, 'null privilege', 'dbms_network_acl_admin.xs$ace_type(ARRAY[NULL], principal_name => ''public'')'),
    (7, 'null list', 'dbms_network_acl_admin.xs$ace_type(NULL, principal_name => ''public'')'),
    (8, 'granted null', 'dbms_network_acl_admin.xs$ace_type(ARRAY[''connect''], NULL, principal_name => ''public'')'),
    (9, 'inverted', 'dbms_network_acl_admin.xs$ace_type(ARRAY[''connect''], true, true, ''public'')'),
    (10, 'dates', 'dbms_network_acl_admin.xs$ace_type(ARRAY[''connect''], principal_name => ''public'', start_date => ''2002-01-01'', end_date => ''2001-01-01'')'))
    AS c (nr, name, ace)
ORDER BY c.nr;
SELECT count(*) FROM utl_smtp.host_ace WHERE host = 'a.example';

--
-- remove
--
SELECT pg_temp.outcome($$
    SELECT dbms_network_acl_admin.remove_host_ace('mail.example.com', 25, 26,
        dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], principal_name => 'regress_acl12_app')) $$);
-- in any case, with one port; the entry with a date goes too, the denial stays
SELECT dbms_network_acl_admin.remove_host_ace('Mail.Example.Com', 25,
    ace => dbms_network_acl_admin.xs$ace_type(ARRAY['CONNECT'], principal_name => 'Regress_ACL12_app'));
TABLE pg_temp.entries;
SELECT dbms_network_acl_admin.remove_host_ace('mail.example.com', 25, 25,
    dbms_network_acl_admin.xs$ace_type(ARRAY['connect', 'smtp'], granted => false, principal_name => 'regress_acl12_app'),
    remove_empty_acl => true);
SELECT dbms_network_acl_admin.remove_host_ace('mail.example.com', NULL, NULL,
    dbms_network_acl_admin.xs$ace_type(ARRAY['use_client_certificates'], principal_name => 'PUBLIC'));
TABLE pg_temp.entries;

--
-- the table refuses what the functions refuse
--
SELECT c.name, pg_temp.outcome(
    'INSERT INTO utl_smtp.host_ace VALUES (' || c.row || ')')
FROM (VALUES
    (1, 'overlap', $$'mail.example.com', 500, 600, 9, 0, 'connect', 'GRANT'$$),
    (2, 'two of one statement', $$'two.example', 1, 10, 1, 0, 'connect', 'GRANT'), ('two.example', 5, 7, 1, 0, 'connect', 'GRANT'$$),
    (3, 'spelling', $$'Mail.example.com', NULL, NULL, 9, 0, 'connect', 'GRANT'$$),
    (4, 'half a range', $$'a.example', 25, NULL, 1, 0, 'connect', 'GRANT'$$),
    (5, 'port', $$'a.example', 0, 25, 1, 0, 'connect', 'GRANT'$$),
    (6, 'order', $$'a.example', NULL, NULL, 0, 0, 'connect', 'GRANT'$$),
    (7, 'privilege', $$'a.example', NULL, NULL, 1, 0, 'CONNECT', 'GRANT'$$),
    (8, 'type', $$'a.example', NULL, NULL, 1, 0, 'connect', 'ALLOW'$$),
    (9, 'equal ranges', $$'mail.example.com', 465, 587, 9, 0, 'connect', 'DENY'$$))
    AS c (nr, name, row)
ORDER BY c.nr;
SELECT pg_temp.outcome($$UPDATE utl_smtp.host_ace SET lower_port = 30 WHERE lower_port = 465$$);
SELECT pg_temp.sqlstate_of($$INSERT INTO utl_smtp.host_ace SELECT * FROM utl_smtp.host_ace$$);

--
-- who may
--
SET ROLE regress_acl12_nobody;
SELECT statement, pg_temp.outcome(statement)
FROM unnest(ARRAY[
    'SELECT FROM utl_smtp.host_ace',
    'INSERT INTO utl_smtp.host_ace VALUES (''a.example'', NULL, NULL, 1, 0, ''connect'', ''GRANT'')',
    'UPDATE utl_smtp.host_ace SET principal = 0',
    'DELETE FROM utl_smtp.host_ace',
    'TRUNCATE utl_smtp.host_ace',
    'ALTER TABLE utl_smtp.host_ace DISABLE TRIGGER ALL',
    'CREATE TRIGGER t BEFORE INSERT ON utl_smtp.host_ace EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()',
    'SELECT FROM utl_smtp.dba_host_aces',
    'SELECT FROM utl_smtp.user_host_aces',
    'SELECT utl_smtp.host_access(ARRAY[''*''], 25, 10, ARRAY[''connect''])',
    'SELECT dbms_network_acl_admin.append_host_ace(''*'')',
    'SELECT dbms_network_acl_admin.remove_host_ace(''*'')',
    'CREATE FUNCTION dbms_network_acl_admin.f() RETURNS int RETURN 1']) AS statement;
RESET ROLE;
-- EXECUTE on a routine doesn't open the table
GRANT EXECUTE ON FUNCTION dbms_network_acl_admin.set_host_acl(text, integer, integer, text) TO regress_acl12_nobody;
SET ROLE regress_acl12_nobody;
SELECT pg_temp.sqlstate_of('SELECT dbms_network_acl_admin.set_host_acl(''*'')');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION dbms_network_acl_admin.set_host_acl(text, integer, integer, text) FROM regress_acl12_nobody;

-- what everybody may execute in these schemas
SELECT p.oid::regprocedure AS open_to_public
FROM pg_proc AS p
WHERE p.pronamespace::regnamespace::text IN ('dbms_network_acl_admin', 'dbms_network_acl_utility', 'xs_acl')
  AND has_function_privilege('regress_acl12_nobody', p.oid, 'EXECUTE')
ORDER BY p.oid::regprocedure::text COLLATE "C";
-- every body looks names up where we say
SELECT p.oid::regprocedure AS without_a_pinned_path
FROM pg_proc AS p
JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'utl_smtp'
JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname = 'plpgsql'
WHERE NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false);
-- everything says what it is for
SELECT p.oid::regprocedure AS without_a_comment
FROM pg_proc AS p
WHERE (p.pronamespace::regnamespace::text IN ('dbms_network_acl_admin', 'dbms_network_acl_utility', 'xs_acl')
       OR p.pronamespace::regnamespace::text = 'utl_smtp' AND p.proname ~ '^(acl|host)_')
  AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT c.oid::regclass, a.attname AS without_a_comment
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace::regnamespace::text IN ('utl_smtp', 'dbms_network_acl_admin')
  AND c.relkind IN ('r', 'v', 'c') AND c.relname ~ 'ac[el]|xs'
  AND (col_description(c.oid, a.attnum) IS NULL
       OR c.relkind <> 'c' AND obj_description(c.oid, 'pg_class') IS NULL);

-- a caller's own names, operators and temporary tables change nothing
CREATE SCHEMA regress_acl12_hostile;
CREATE FUNCTION regress_acl12_hostile.always(text, text) RETURNS boolean LANGUAGE sql RETURN true;
CREATE OPERATOR regress_acl12_hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_acl12_hostile.always);
CREATE FUNCTION regress_acl12_hostile.lower(text) RETURNS text LANGUAGE sql RETURN 'public';
CREATE TEMP TABLE host_ace (LIKE utl_smtp.host_ace);
CREATE TEMP TABLE pg_roles AS SELECT 10::oid AS oid, 'regress_acl12_absent'::name AS rolname;
SET search_path = regress_acl12_hostile, pg_catalog;
SELECT pg_temp.sqlstate_of($$
    SELECT dbms_network_acl_admin.append_host_ace('h.example', ace =>
        dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], principal_name => 'regress_acl12_absent')) $$);
SELECT utl_smtp.host_access(ARRAY['other.example'], 465, 10, ARRAY['connect']);
RESET search_path;
DROP TABLE pg_temp.pg_roles, pg_temp.host_ace;
SET client_min_messages = warning;
DROP SCHEMA regress_acl12_hostile CASCADE;

TRUNCATE utl_smtp.host_ace;
DROP ROLE regress_acl12_app, regress_acl12_nobody, "Regress_Acl12_Mixed";
