-- dbms_network_acl_utility: the levels and precedences that Oracle documents, and what PostgreSQL adds to them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS utl_smtp;
RESET client_min_messages;
\pset null '(null)'
SET search_path = dbms_network_acl_utility, pg_catalog;

--
-- domains: the host itself, then what contains it, the narrowest first
--
SELECT host, array_to_string(domains(host), ' ') AS domains
FROM unnest(ARRAY['www.hr.example.com', 'WWW.HR.Example.Com.', '*.hr.example.com', 'localhost', '*',
                  '192.0.2.3', '192.0.2.*', '192.*', '::ffff:192.0.2.3']) WITH ORDINALITY AS h (host, nr)
ORDER BY nr;
-- where Oracle has no answer, every network that contains it
SELECT array_to_string(domains('10.32.0.0/11'), ' ') AS domains;
SELECT domains('2001:db8::1') @> ARRAY['2001:db8::1', '2001:db8::/32', '*'] AS networks,
       domains('2001:db8::1') @> ARRAY['192.*'] AS other_networks;

--
-- domain_level: labels of a name, octets of an address; of IPv6 and prefix lengths Oracle has none
--
SELECT host, domain_level(host)
FROM unnest(ARRAY['www.hr.example.com', '*.hr.example.com', '*.example.com', '*.com', 'example.com', 'localhost', '*',
                  '192.0.2.3', '192.0.2.*', '192.0.*', '192.*', '192.0.2.0/24', '10.0.0.0/9', '2001:db8::1',
                  '2001:db8::/32', '::/0', '0.0.0.0/0']) WITH ORDINALITY AS h (host, nr)
ORDER BY nr;

--
-- contains_host: the precedence of the entry, NULL where it doesn't concern the host
--
SELECT host, domain, contains_host(host, domain)
FROM (VALUES
    (1, 'www.hr.example.com', 'www.hr.example.com'),
    (2, 'www.hr.example.com', 'WWW.hr.EXAMPLE.com.'),
    (3, 'www.hr.example.com', '*.hr.example.com'),
    (4, 'www.hr.example.com', '*.example.com'),
    (5, 'www.hr.example.com', '*.com'),
    (6, 'www.hr.example.com', '*'),
    (7, 'www.hr.example.com', '*.other.example.com'),
    (8, 'www.hr.example.com', 'hr.example.com'),
    (9, 'www.xhr.example.com', '*.hr.example.com'),
    (10, 'hr.example.com', '*.hr.example.com'),
    (11, '*.hr.example.com', '*.example.com'),
    (12, '*.example.com', '*.hr.example.com'),
    (13, 'bücher.example', 'XN--BCHER-KVA.example'),
    (14, 'ｗｗｗ．hr。example.com', '*.hr.example.com'),
    (20, '192.0.2.3', '192.0.2.3'),
    (21, '192.0.2.3', '192.0.2.0/24'),
    (22, '192.0.2.3', '192.0.2.*'),
    (23, '192.0.2.3', '192.0.0.0/16'),
    (24, '192.0.2.3', '192.0.*'),
    (25, '192.0.2.3', '192.*'),
    (26, '192.0.2.3', '*'),
    (27, '192.0.2.3', '192.0.3.0/24'),
    (28, '192.0.2.3', '192.0.2.2/31'),
    (29, '::ffff:192.0.2.3', '192.0.2.0/24'),
    (30, '192.0.2.0/25', '192.0.2.0/24'),
    (31, '192.0.2.0/24', '192.0.2.0/25'),
    (32, '2001:db8::1', '2001:db8::/32'),
    (33, '2001:db8::1', '2001:DB8:0:0:0:0:0:1'),
    (34, '2001:db8::1', '192.0.2.0/24'),
    -- no name is resolved
    (40, 'localhost', '127.0.0.1'),
    (41, '127.0.0.1', 'localhost')) AS c (nr, host, domain)
ORDER BY nr;
-- the order in which Oracle's guide lists the entries for a host
SELECT domain
FROM unnest(ARRAY['*', '*.com', 'www.hr.example.com', '*.example.com', '*.hr.example.com', '*.example.org']) AS domain
WHERE contains_host('www.hr.example.com', domain) IS NOT NULL
ORDER BY contains_host('www.hr.example.com', domain) DESC;

--
-- equals_host
--
SELECT host1, host2, equals_host(host1, host2)
FROM (VALUES
    (1, 'mail.example.com', 'MAIL.EXAMPLE.COM'),
    (2, 'mail.example.com', 'mail.example.com.'),
    (3, 'bücher.example', 'xn--bcher-kva.example'),
    (4, 'mail.example.com', 'example.com'),
    (5, '*.example.com', '*.EXAMPLE.com'),
    (6, '*.example.com', 'mail.example.com'),
    (7, '192.0.2.*', '192.0.2.0/24'),
    (8, '192.0.2.3', '192.0.2.3/32'),
    (9, '192.0.2.3', '::ffff:192.0.2.3'),
    (10, '2001:db8::1', '2001:0db8:0:0:0:0:0:1'),
    (11, '192.0.2.0/24', '192.0.2.0/25'),
    (12, '*', '0.0.0.0/0'),
    (13, '*', '*')) AS c (nr, host1, host2)
ORDER BY nr;

--
-- NULL in is NULL out; what is no host is an error that quotes it
--
SELECT domains(NULL), domain_level(NULL), equals_host(NULL, '*'), equals_host('*', NULL),
       contains_host(NULL, '*'), contains_host('*', NULL);
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || message || ': ' || detail;
END $$;
SELECT pg_temp.outcome(format('SELECT dbms_network_acl_utility.%s', call))
FROM unnest(ARRAY[
    $$domains('')$$,
    $$domains('a b')$$,
    $$domain_level('127.1')$$,
    $$domain_level('0x7f.0.0.1')$$,
    $$domain_level('192.0.2.0/33')$$,
    $$domain_level('192.0.2.3/24')$$,
    $$domain_level('www.*.example.com')$$,
    $$domain_level('*example.com')$$,
    $$equals_host('a..b', 'a')$$,
    $$equals_host('a', 'a..b')$$,
    $$contains_host('a@b', '*')$$,
    $$contains_host('*', E'a\nb')$$]) AS call;
