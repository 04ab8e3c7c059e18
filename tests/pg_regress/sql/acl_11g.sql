-- dbms_network_acl_admin as of 11g: named lists, and how they and the 12c form share a host.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS utl_smtp;
CREATE ROLE regress_acl11_scott;
CREATE ROLE regress_acl11_adams IN ROLE regress_acl11_scott;
CREATE ROLE regress_acl11_blake;
RESET client_min_messages;
TRUNCATE utl_smtp.host_ace, utl_smtp.acl, utl_smtp.acl_ace, utl_smtp.acl_assignment;

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
CREATE VIEW pg_temp.entries AS
    SELECT host, lower_port AS lower, upper_port AS upper, ace_order AS nr, principal, grant_type AS type, privilege
    FROM utl_smtp.dba_host_aces ORDER BY host, lower_port, ace_order, privilege;
CREATE VIEW pg_temp.lists AS
    SELECT acl, ace_order AS nr, principal, grant_type AS type, privilege FROM utl_smtp.acl_ace ORDER BY 1, 2, 5;
CREATE VIEW pg_temp.assigned AS
    SELECT acl, host, lower_port AS lower, upper_port AS upper FROM utl_smtp.acl_assignment ORDER BY 1, 2, 3;
SET search_path = dbms_network_acl_admin, "$user", public;

--
-- Oracle's own examples
--
DO $$
BEGIN
    PERFORM dbms_network_acl_admin.create_acl(acl => 'www.xml',
                                              description => 'WWW ACL',
                                              principal => 'REGRESS_ACL11_SCOTT',
                                              is_grant => true,
                                              privilege => 'connect');
    PERFORM dbms_network_acl_admin.add_privilege(acl => 'www.xml',
                                                 principal => 'REGRESS_ACL11_SCOTT',
                                                 is_grant => true,
                                                 privilege => 'resolve');
    PERFORM dbms_network_acl_admin.assign_acl(acl => 'www.xml', host => 'www.us.example.com');
END $$;
SELECT add_privilege('/sys/acls/www.xml', 'regress_acl11_blake', true, 'resolve');
SELECT assign_acl('www.xml', 'WWW-Proxy.us.example.com', 80);
TABLE pg_temp.entries;
SELECT unassign_acl(host => 'www.us.example.com');
TABLE pg_temp.entries;

--
-- privileges
--
SELECT create_acl('mail.xml', 'mail', 'regress_acl11_scott', true, 'connect');
SELECT assign_acl('mail.xml', 'mail.example.com', 25, 25);
SELECT assign_acl('mail.xml', 'mail.example.com', 587, 587);
-- an entry that is there already; the same entry's next privilege; a denial before it; one beyond the end
SELECT add_privilege('mail.xml', 'regress_acl11_scott', true, 'CONNECT');
SELECT add_privilege('mail.xml', 'regress_acl11_scott', true, 'smtp');
SELECT add_privilege('mail.xml', 'regress_acl11_adams', false, 'connect', "position" => 1);
SELECT add_privilege('mail.xml', 'PUBLIC', false, 'connect', 99);
SELECT add_privilege('mail.xml', 'regress_acl11_blake', true, 'connect', 2);
TABLE pg_temp.lists;
SELECT lower, count(*) FROM pg_temp.entries WHERE host = 'mail.example.com' GROUP BY lower;
-- the first entry that concerns the role: 1, 0 or nothing
SELECT "user", privilege, check_privilege('mail.xml', "user", privilege)
FROM (VALUES ('regress_acl11_scott', 'connect'), ('REGRESS_ACL11_ADAMS', 'connect'), ('regress_acl11_adams', 'smtp'),
             ('regress_acl11_blake', 'Connect'), ('regress_acl11_blake', 'smtp'), ('public', 'connect')) AS c ("user", privilege);
SELECT utl_smtp.host_access(ARRAY['mail.example.com'], 587, 'regress_acl11_scott'::regrole, ARRAY['connect', 'smtp']) AS scott,
       utl_smtp.host_access(ARRAY['mail.example.com'], 587, 'regress_acl11_adams'::regrole, ARRAY['connect', 'smtp']) AS adams,
       utl_smtp.host_access(ARRAY['mail.example.com'], 465, 'regress_acl11_scott'::regrole, ARRAY['connect', 'smtp']) AS other_port;
SELECT delete_privilege('mail.xml', 'regress_acl11_adams');
SELECT delete_privilege('mail.xml', 'public', false, 'connect');
SELECT delete_privilege('mail.xml', 'regress_acl11_scott', true, 'connect');
TABLE pg_temp.lists;
SELECT lower, nr, principal, privilege FROM pg_temp.entries WHERE host = 'mail.example.com';

--
-- dates
--
SELECT create_acl('dated.xml', NULL, 'regress_acl11_scott', true, 'connect', '2001-01-01', '2001-12-31');
SELECT check_privilege('dated.xml', 'regress_acl11_scott', 'connect');
-- privileges without the dates are another entry
SELECT add_privilege('dated.xml', 'regress_acl11_scott', true, 'connect');
SELECT ace_order, start_date IS NOT NULL AS dated FROM utl_smtp.acl_ace WHERE acl = 'dated.xml' ORDER BY 1;
SELECT check_privilege('dated.xml', 'regress_acl11_scott', 'connect');

--
-- errors
--
SELECT statement, pg_temp.outcome('SELECT dbms_network_acl_admin.' || statement)
FROM unnest(ARRAY[
    $$create_acl('mail.xml', NULL, 'public', true, 'connect')$$,
    $$create_acl(NULL, NULL, 'public', true, 'connect')$$,
    $$create_acl('/sys/acls/', NULL, 'public', true, 'connect')$$,
    $$create_acl('x.xml', NULL, 'regress_acl11_absent', true, 'connect')$$,
    $$create_acl('x.xml', NULL, 'public', NULL, 'connect')$$,
    $$create_acl('x.xml', NULL, 'public', true, 'fly')$$,
    $$create_acl('x.xml', NULL, 'public', true, NULL)$$,
    $$create_acl('x.xml', NULL, NULL, true, 'connect')$$,
    $$add_privilege('Mail.xml', 'public', true, 'connect')$$,
    $$add_privilege('mail.xml', 'public', true, 'connect', 0)$$,
    $$add_privilege('mail.xml', 'regress_acl11_blake', true, 'connect', 1)$$,
    $$delete_privilege('absent.xml', 'public')$$,
    $$delete_privilege('mail.xml', 'public')$$,
    $$assign_acl('absent.xml', 'mail.example.com')$$,
    $$assign_acl('mail.xml', NULL)$$,
    $$assign_acl('mail.xml', 'mail.example.com', 26, 25)$$,
    $$assign_acl('mail.xml', 'mail.example.com', 20, 30)$$,
    $$unassign_acl('absent.xml')$$,
    $$unassign_acl('mail.xml', 'mail.example.com')$$,
    $$unassign_acl('www.xml', 'mail.example.com', 25)$$,
    $$check_privilege('absent.xml', 'public', 'connect')$$,
    $$drop_acl('absent.xml')$$]) AS statement;
SELECT count(*) FROM utl_smtp.acl WHERE name = 'x.xml';
-- nothing of it is for everybody
SET ROLE regress_acl11_blake;
SELECT statement, pg_temp.outcome(statement)
FROM unnest(ARRAY['SELECT FROM utl_smtp.acl', 'SELECT FROM utl_smtp.acl_ace', 'SELECT FROM utl_smtp.acl_assignment',
                  $$SELECT dbms_network_acl_admin.drop_acl('mail.xml')$$,
                  $$SELECT dbms_network_acl_admin.check_privilege('mail.xml', NULL, 'connect')$$]) AS statement;
RESET ROLE;

--
-- one list for one host: assigning replaces what was there
--
SELECT assign_acl('www.xml', 'mail.example.com', 25);
TABLE pg_temp.assigned;
SELECT append_host_ace('own.example.com', ace => xs$ace_type(ARRAY['smtp'], principal_name => 'regress_acl11_blake'));
SELECT assign_acl('www.xml', 'own.example.com');
SELECT lower, nr, principal, privilege FROM pg_temp.entries WHERE host = 'own.example.com';
SELECT set_host_acl('own.example.com', NULL, NULL, 'mail.xml');
SELECT lower, nr, principal, privilege FROM pg_temp.entries WHERE host = 'own.example.com';
SELECT set_host_acl('own.example.com');
SELECT count(*) FROM pg_temp.entries WHERE host = 'own.example.com';

--
-- the 12c form on a host that has a named list: others that share the list keep theirs …
--
SELECT drop_acl('www.xml');
SELECT assign_acl('mail.xml', 'mail.example.com', 25);
SELECT append_host_ace('mail.example.com', 25, 25, xs$ace_type(ARRAY['connect'], principal_name => 'regress_acl11_adams'));
TABLE pg_temp.assigned;
TABLE pg_temp.entries;
TABLE pg_temp.lists;
-- … and the only host of a list changes it
SELECT append_host_ace('mail.example.com', 587, 587, xs$ace_type(ARRAY['resolve'], principal_name => 'PUBLIC'));
SELECT remove_host_ace('mail.example.com', 587, 587, xs$ace_type(ARRAY['smtp'], principal_name => 'regress_acl11_scott'));
TABLE pg_temp.assigned;
SELECT * FROM pg_temp.lists WHERE acl = 'mail.xml';
SELECT remove_host_ace('mail.example.com', 587, 587, xs$ace_type(ARRAY['resolve'], principal_name => 'PUBLIC'), true);
SELECT name FROM utl_smtp.acl ORDER BY 1;
SELECT remove_host_ace('mail.example.com', 587, 587, xs$ace_type(ARRAY['connect'], principal_name => 'regress_acl11_blake'), true);
SELECT name FROM utl_smtp.acl ORDER BY 1;
-- the entries of a list, copied to a host
SELECT append_host_acl('mail.example.com', 25, acl => 'dated.xml');
SELECT append_host_acl('mail.example.com', 25, acl => 'dated.xml');
TABLE pg_temp.entries;

--
-- unassigning everything leaves what append_host_ace made; dropping takes the entries along
--
SELECT assign_acl('dated.xml', '*.example.com');
SELECT assign_acl('dated.xml', '*', 1, 1024);
SELECT unassign_acl('dated.xml', '*.example.com');
SELECT drop_acl('dated.xml');
SELECT unassign_acl();
TABLE pg_temp.entries;
SELECT count(*) FROM utl_smtp.acl_ace;
TABLE pg_temp.assigned;

TRUNCATE utl_smtp.host_ace;
SET client_min_messages = warning;
DROP ROLE regress_acl11_scott, regress_acl11_adams, regress_acl11_blake;
