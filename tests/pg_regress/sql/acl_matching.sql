-- utl_smtp.host_access, the look-up of open_connection, and the view of it that everybody has.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS utl_smtp;
CREATE ROLE regress_aclm_app;
CREATE ROLE regress_aclm_other;
CREATE ROLE regress_aclm_mailers;
CREATE ROLE regress_aclm_member IN ROLE regress_aclm_mailers;
CREATE ROLE regress_aclm_noinherit NOINHERIT IN ROLE regress_aclm_mailers;
RESET client_min_messages;
TRUNCATE utl_smtp.host_ace;

-- The look-up as open_connection makes it, with the candidates spelt out as the matcher makes them.
CREATE FUNCTION pg_temp.access(host text, port integer, role regrole) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(utl_smtp.host_access(
        CASE host
            WHEN 'mail.us.example.com' THEN
                ARRAY['mail.us.example.com', '*.us.example.com', '*.example.com', '*.com', '*']
            WHEN '10.1.2.3' THEN
                ARRAY['10.1.2.3', '10.1.2.0/24', '10.1.2.*', '10.1.0.0/16', '10.1.*', '10.0.0.0/8', '10.*', '*']
            ELSE ARRAY[host, '*']
        END, port, role, ARRAY['connect', 'smtp']), 'no match');
$$;
CREATE FUNCTION pg_temp.entry(host text, nr integer, principal text, type text, privilege text DEFAULT 'connect',
                              lower integer DEFAULT NULL, upper integer DEFAULT NULL,
                              starts timestamptz DEFAULT NULL, ends timestamptz DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO utl_smtp.host_ace
    VALUES (host, lower, upper, nr, CASE principal WHEN 'PUBLIC' THEN 0 ELSE principal::regrole END, privilege, type,
            starts, ends);
$$;

-- nobody may talk to anything
SELECT pg_temp.access('mail.us.example.com', 25, 'regress_aclm_app');

-- the more specific pattern decides, whatever it says: each entry is more specific than all before
CREATE FUNCTION pg_temp.pile_up(target text, patterns text[])
RETURNS TABLE (pattern text, type text, access text, elsewhere text) LANGUAGE plpgsql AS $$
BEGIN
    FOR nr IN 1 .. cardinality(patterns) LOOP
        pattern := patterns[nr];
        type := CASE nr % 2 WHEN 1 THEN 'GRANT' ELSE 'DENY' END;
        PERFORM pg_temp.entry(pattern, 1, 'regress_aclm_app', type);
        access := pg_temp.access(target, 25, 'regress_aclm_app');
        elsewhere := pg_temp.access('other.test', 25, 'regress_aclm_app');
        RETURN NEXT;
    END LOOP;
END $$;
BEGIN;
SELECT * FROM pg_temp.pile_up('mail.us.example.com',
    ARRAY['*', '*.com', '*.example.com', '*.us.example.com', 'mail.us.example.com']);
ROLLBACK;
BEGIN;
SELECT * FROM pg_temp.pile_up('10.1.2.3', ARRAY['*', '10.*', '10.1.0.0/16', '10.1.2.*', '10.1.2.3']);
ROLLBACK;
-- nor does it depend on which was there first
BEGIN;
SELECT * FROM pg_temp.pile_up('mail.us.example.com',
    ARRAY['mail.us.example.com', '*.us.example.com', '*.example.com', '*.com', '*']);
ROLLBACK;

-- an entry for others doesn't hide mine; a denial for everybody does
BEGIN;
SELECT pg_temp.entry('*.example.com', 1, 'regress_aclm_app', 'GRANT');
SELECT pg_temp.entry('mail.us.example.com', 1, 'regress_aclm_other', 'GRANT');
SELECT pg_temp.access('mail.us.example.com', 25, 'regress_aclm_app');
SELECT pg_temp.entry('mail.us.example.com', 2, 'PUBLIC', 'DENY');
SELECT pg_temp.access('mail.us.example.com', 25, 'regress_aclm_app') AS app,
       pg_temp.access('mail.us.example.com', 25, 'regress_aclm_other') AS other;
ROLLBACK;

-- a port range before none, the bounds included, whatever the order says
BEGIN;
SELECT pg_temp.entry('mail.us.example.com', 1, 'PUBLIC', 'DENY');
SELECT pg_temp.entry('mail.us.example.com', 7, 'PUBLIC', 'GRANT', 'connect', 465, 587);
SELECT pg_temp.entry('mail.us.example.com', 7, 'PUBLIC', 'GRANT', 'connect', 25, 25);
SELECT port, pg_temp.access('mail.us.example.com', port, 'regress_aclm_app')
FROM unnest(ARRAY[22, 24, 25, 26, 464, 465, 500, 587, 588, 5432, 65535]) AS port;
-- but a more specific host before a port range
SELECT pg_temp.entry('*.us.example.com', 1, 'PUBLIC', 'GRANT', 'connect', 22, 22);
SELECT pg_temp.access('mail.us.example.com', 22, 'regress_aclm_app');
ROLLBACK;

-- within one list the lowest order decides; of one order, the denial
BEGIN;
SELECT pg_temp.entry('mail.us.example.com', 2, 'regress_aclm_app', 'GRANT');
SELECT pg_temp.entry('mail.us.example.com', 3, 'PUBLIC', 'DENY');
SELECT pg_temp.access('mail.us.example.com', 25, 'regress_aclm_app') AS app,
       pg_temp.access('mail.us.example.com', 25, 'regress_aclm_other') AS other;
SELECT pg_temp.entry('mail.us.example.com', 2, 'PUBLIC', 'DENY', 'smtp');
SELECT pg_temp.access('mail.us.example.com', 25, 'regress_aclm_app') AS app;
ROLLBACK;

-- connect and smtp allow a conversation, nothing else does
BEGIN;
SELECT v.host, v.privilege, pg_temp.access(v.host, 25, 'regress_aclm_app') AS before
FROM (VALUES ('a.example', 'connect'), ('b.example', 'smtp'), ('c.example', 'resolve'), ('d.example', 'http'),
             ('e.example', 'use_client_certificates')) AS v (host, privilege),
     LATERAL pg_temp.entry(v.host, 1, 'regress_aclm_app', 'GRANT', v.privilege);
SELECT host, pg_temp.access(host, 25, 'regress_aclm_app'),
       utl_smtp.host_access(ARRAY[host], 25, 'regress_aclm_app'::regrole, ARRAY['use_client_certificates']) AS certificates
FROM utl_smtp.host_ace ORDER BY host;
ROLLBACK;

-- membership counts where it is inherited; what is granted to a dropped role is nobody's
BEGIN;
SELECT pg_temp.entry('a.example', 1, 'regress_aclm_mailers', 'GRANT');
SELECT role, pg_temp.access('a.example', 25, role::regrole)
FROM unnest(ARRAY['regress_aclm_mailers', 'regress_aclm_member', 'regress_aclm_noinherit', 'regress_aclm_app']) AS role;
ALTER ROLE regress_aclm_mailers RENAME TO regress_aclm_posters;
SELECT pg_temp.access('a.example', 25, 'regress_aclm_member');
DROP ROLE regress_aclm_posters;
CREATE ROLE regress_aclm_posters;
CREATE ROLE regress_aclm_mailers;
SELECT role, pg_temp.access('a.example', 25, role::regrole)
FROM unnest(ARRAY['regress_aclm_mailers', 'regress_aclm_posters', 'regress_aclm_member']) AS role;
SELECT host, principal ~ '^[0-9]+$' AS is_an_oid FROM utl_smtp.dba_host_aces;
SELECT count(*) FROM utl_smtp.user_host_aces;
ROLLBACK;

-- dates: the clock, not the transaction's start; the bounds belong to it; an entry that has lapsed hides nothing
BEGIN;
SELECT pg_temp.entry('a.example', 1, 'PUBLIC', 'DENY', 'connect', ends => now());
SELECT pg_temp.entry('a.example', 2, 'PUBLIC', 'DENY', 'connect', starts => 'infinity');
SELECT pg_temp.entry('a.example', 3, 'PUBLIC', 'GRANT', 'connect', starts => '-infinity', ends => 'infinity');
SELECT pg_temp.access('a.example', 25, 'regress_aclm_app');
SET LOCAL TimeZone = 'Pacific/Kiritimati';
SELECT pg_temp.access('a.example', 25, 'regress_aclm_app');
SELECT pg_temp.entry('b.example', 1, 'PUBLIC', 'GRANT', 'connect', starts => clock_timestamp() + interval '50 ms');
SELECT pg_temp.access('b.example', 25, 'regress_aclm_app');
SELECT pg_sleep(0.1);
SELECT pg_temp.access('b.example', 25, 'regress_aclm_app');
ROLLBACK;
SELECT pg_temp.access('a.example', 25, 'regress_aclm_app');

-- what a role sees of itself
SELECT pg_temp.entry('mail.us.example.com', 1, 'regress_aclm_app', 'GRANT', 'connect', 25, 25);
SELECT pg_temp.entry('mail.us.example.com', 2, 'PUBLIC', 'DENY', 'connect', 25, 25);
SELECT pg_temp.entry('mail.us.example.com', 3, 'PUBLIC', 'GRANT', 'smtp', 25, 25);
SELECT pg_temp.entry('*.us.example.com', 1, 'regress_aclm_mailers', 'GRANT');
SELECT pg_temp.entry('*', 1, 'regress_aclm_other', 'GRANT');
SELECT pg_temp.entry('*', 2, 'PUBLIC', 'GRANT', ends => '2001-01-01');
CREATE FUNCTION pg_temp.leak(host text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS $$
BEGIN
    RAISE NOTICE 'saw %', host;
    RETURN true;
END $$;
SET ROLE regress_aclm_app;
TABLE utl_smtp.user_host_aces;
SET ROLE regress_aclm_member;
TABLE utl_smtp.user_host_aces;
-- a leaky function is not shown the rows of others
SELECT count(*) FROM utl_smtp.user_host_aces WHERE pg_temp.leak(host);
RESET ROLE;

-- the candidates find their entries by the index
TRUNCATE utl_smtp.host_ace;
INSERT INTO utl_smtp.host_ace
SELECT 'h' || n || '.example', NULL, NULL, 1, 0, 'connect', 'GRANT' FROM generate_series(1, 2000) AS n;
ANALYZE utl_smtp.host_ace;
CREATE FUNCTION pg_temp.scans(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        RETURN QUERY SELECT m[1] FROM regexp_matches(line, '(Seq Scan on host_ace|(?:Index|Bitmap).* host_ace_key)') AS m;
    END LOOP;
END $$;
SELECT bool_and(scan NOT LIKE 'Seq%') AS by_index
FROM pg_temp.scans($$SELECT FROM unnest(ARRAY['h5.example', '*.example', '*']) WITH ORDINALITY AS candidate (host, rank)
    JOIN utl_smtp.host_ace AS ace ON ace.host = candidate.host$$) AS scan;
SELECT pg_temp.access('h5.example', 25, 'regress_aclm_app'), pg_temp.access('h2001.example', 25, 'regress_aclm_app');

TRUNCATE utl_smtp.host_ace;
SET client_min_messages = warning;
DROP ROLE regress_aclm_app, regress_aclm_other, regress_aclm_member, regress_aclm_noinherit, regress_aclm_mailers;
