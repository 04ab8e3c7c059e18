-- Who may talk to which host: the list, the look-up that open_connection makes in it, and the views over it.
--
-- Owns utl_smtp.host_ace. Refuses to know where an entry came from: the 12c and the 11g forms of
-- dbms_network_acl_admin both end up as rows here, and nothing else is read when a connection is opened.

CREATE FUNCTION utl_smtp.canonical_host_pattern(host text) RETURNS text
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'canonical_host_pattern_wrapper';

COMMENT ON FUNCTION utl_smtp.canonical_host_pattern(text) IS
'the one spelling of a host, domain (*.example.com), subnet or * under which host_ace keeps it; an invalid one is an error';

CREATE TABLE utl_smtp.host_ace (
    -- A collation that no operating-system upgrade can reorder under the index.
    host text COLLATE "C" NOT NULL,
    lower_port integer,
    upper_port integer,
    ace_order integer NOT NULL,
    principal regrole NOT NULL,
    privilege text NOT NULL,
    grant_type text NOT NULL,
    start_date timestamp with time zone,
    end_date timestamp with time zone,
    CONSTRAINT host_ace_host_is_canonical
        CHECK (host OPERATOR(pg_catalog.=) utl_smtp.canonical_host_pattern(host)),
    CONSTRAINT host_ace_ports_are_both_given_or_neither
        CHECK ((lower_port IS NULL) = (upper_port IS NULL)),
    CONSTRAINT host_ace_ports_are_a_range
        CHECK (lower_port >= 1 AND lower_port <= upper_port AND upper_port <= 65535),
    CONSTRAINT host_ace_order_is_positive
        CHECK (ace_order >= 1),
    CONSTRAINT host_ace_privilege_is_known
        CHECK (privilege IN ('connect', 'smtp', 'resolve', 'use_client_certificates',
                             'http', 'http_proxy', 'jdwp', 'use_passwords')),
    CONSTRAINT host_ace_grant_type_is_known
        CHECK (grant_type IN ('GRANT', 'DENY')),
    CONSTRAINT host_ace_dates_are_in_order
        CHECK (start_date <= end_date)
);

-- Serves host = ANY (...) as well; int4range makes two absent port ranges equal, which NULLs are not.
CREATE UNIQUE INDEX host_ace_key ON utl_smtp.host_ace
    (host, int4range(lower_port, upper_port, '[]'), ace_order, principal, privilege);

-- Without it a publication FOR ALL TABLES would make every revocation fail: there can be no primary key.
ALTER TABLE utl_smtp.host_ace REPLICA IDENTITY FULL;

REVOKE ALL ON TABLE utl_smtp.host_ace FROM PUBLIC;

COMMENT ON TABLE utl_smtp.host_ace IS
'access control entries: which role may (GRANT) or may not (DENY) talk to which host and ports; no entry means no access';
COMMENT ON COLUMN utl_smtp.host_ace.host IS
'a host name, *.domain, IP address, subnet (CIDR or 192.168.*) or *, as utl_smtp.canonical_host_pattern spells it';
COMMENT ON COLUMN utl_smtp.host_ace.lower_port IS
'first port of the range; NULL with upper_port NULL: every port. Ranges of one host are equal or apart';
COMMENT ON COLUMN utl_smtp.host_ace.upper_port IS
'last port of the range';
COMMENT ON COLUMN utl_smtp.host_ace.ace_order IS
'within one host and port range the lowest entry that applies decides; a DENY before a GRANT of the same order';
COMMENT ON COLUMN utl_smtp.host_ace.principal IS
'the role, of which membership counts; 0 (shown as -) is PUBLIC';
COMMENT ON COLUMN utl_smtp.host_ace.privilege IS
'connect or smtp: hold a conversation; connect or http: fetch access tokens from a token endpoint; use_client_certificates: show the wallet''s client certificate; resolve, http_proxy, jdwp and use_passwords are kept for Oracle''s scripts and allow nothing';
COMMENT ON COLUMN utl_smtp.host_ace.grant_type IS
'GRANT or DENY';
COMMENT ON COLUMN utl_smtp.host_ace.start_date IS
'the entry applies from this moment on; NULL: always did';
COMMENT ON COLUMN utl_smtp.host_ace.end_date IS
'the entry applies up to this moment; NULL: for ever';


-- The port ranges of one host are equal or apart, whoever writes the table.

CREATE FUNCTION utl_smtp.host_ace_keep_ports_apart() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    clash record;
BEGIN
    -- Two transactions that each add one of two overlapping ranges must see each other.
    PERFORM pg_advisory_xact_lock(TG_RELID::bigint);

    -- Sorted by their start, ranges overlap somewhere if and only if two neighbours do.
    SELECT * INTO clash
    FROM (
        SELECT ranges.host, ranges.lower_port, ranges.upper_port,
               lag(ranges.lower_port) OVER neighbours AS previous_lower,
               lag(ranges.upper_port) OVER neighbours AS previous_upper
        FROM (SELECT DISTINCT host FROM written WHERE lower_port IS NOT NULL) AS touched
        CROSS JOIN LATERAL (
            SELECT DISTINCT listed.host, listed.lower_port, listed.upper_port
            FROM utl_smtp.host_ace AS listed
            WHERE listed.host = touched.host AND listed.lower_port IS NOT NULL
        ) AS ranges
        WINDOW neighbours AS (PARTITION BY ranges.host ORDER BY ranges.lower_port, ranges.upper_port)
    ) AS neighbouring
    WHERE lower_port <= previous_upper
    LIMIT 1;

    IF FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = '22023',
            MESSAGE = 'ORA-24244: invalid host or port for access control list (ACL) assignment: '
                'overlapping port ranges',
            DETAIL = format('Ports %s to %s and %s to %s of host "%s" overlap.',
                            clash.previous_lower, clash.previous_upper,
                            clash.lower_port, clash.upper_port, clash.host),
            HINT = 'The port ranges of one host must be equal or apart.';
    END IF;
    RETURN NULL;
END
$body$;

REVOKE ALL ON FUNCTION utl_smtp.host_ace_keep_ports_apart() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.host_ace_keep_ports_apart() IS
'trigger of host_ace: refuses port ranges of one host that overlap without being equal';

CREATE TRIGGER keep_ports_apart_on_insert AFTER INSERT ON utl_smtp.host_ace
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION utl_smtp.host_ace_keep_ports_apart();
CREATE TRIGGER keep_ports_apart_on_update AFTER UPDATE ON utl_smtp.host_ace
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION utl_smtp.host_ace_keep_ports_apart();
COMMENT ON TRIGGER keep_ports_apart_on_insert ON utl_smtp.host_ace IS
'the port ranges of one host are equal or apart';
COMMENT ON TRIGGER keep_ports_apart_on_update ON utl_smtp.host_ace IS
'the port ranges of one host are equal or apart';


-- The look-up of open_connection, which is done in the library. This is it for a look from SQL.

CREATE FUNCTION utl_smtp.host_access(candidates text[], port integer, role oid, privileges text[]) RETURNS text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'host_access_wrapper';

REVOKE ALL ON FUNCTION utl_smtp.host_access(text[], integer, oid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.host_access(text[], integer, oid, text[]) IS
'GRANT, DENY or, where no entry applies, NULL: what host_ace says of a role, a port and any of the privileges, for a host given as the patterns that match it, the most specific first';


CREATE VIEW utl_smtp.dba_host_aces AS
    SELECT ace.host,
           ace.lower_port,
           ace.upper_port,
           ace.ace_order,
           ace.start_date,
           ace.end_date,
           ace.grant_type,
           'NO'::text AS inverted_principal,
           CASE WHEN ace.principal = 0 THEN 'PUBLIC'
                ELSE coalesce(role.rolname::text, ace.principal::oid::text)
           END AS principal,
           'DATABASE USER'::text AS principal_type,
           ace.privilege
    FROM utl_smtp.host_ace AS ace
    LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = ace.principal;

REVOKE ALL ON TABLE utl_smtp.dba_host_aces FROM PUBLIC;
COMMENT ON VIEW utl_smtp.dba_host_aces IS
'every access control entry, with the columns of Oracle''s DBA_HOST_ACES';
COMMENT ON COLUMN utl_smtp.dba_host_aces.host IS 'host, domain or subnet';
COMMENT ON COLUMN utl_smtp.dba_host_aces.lower_port IS 'first port of the range; NULL: every port';
COMMENT ON COLUMN utl_smtp.dba_host_aces.upper_port IS 'last port of the range';
COMMENT ON COLUMN utl_smtp.dba_host_aces.ace_order IS 'the lowest that applies decides';
COMMENT ON COLUMN utl_smtp.dba_host_aces.start_date IS 'applies from this moment on';
COMMENT ON COLUMN utl_smtp.dba_host_aces.end_date IS 'applies up to this moment';
COMMENT ON COLUMN utl_smtp.dba_host_aces.grant_type IS 'GRANT or DENY';
COMMENT ON COLUMN utl_smtp.dba_host_aces.inverted_principal IS 'always NO: inverted principals are not supported';
COMMENT ON COLUMN utl_smtp.dba_host_aces.principal IS 'name of the role, PUBLIC, or the OID of a role since dropped';
COMMENT ON COLUMN utl_smtp.dba_host_aces.principal_type IS 'always DATABASE USER, which means a role';
COMMENT ON COLUMN utl_smtp.dba_host_aces.privilege IS 'the privilege granted or denied';


-- The rows of others must not enter a plan: EXPLAIN ANALYZE counts what a filter removes, and
-- leakproof comparisons are done first, below a security barrier too. So the library leaves them
-- out.
CREATE FUNCTION utl_smtp.host_ace_applicable() RETURNS TABLE (
    host text,
    lower_port integer,
    upper_port integer,
    ace_order integer,
    privilege text,
    grant_type text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'host_ace_applicable_wrapper';
COMMENT ON FUNCTION utl_smtp.host_ace_applicable() IS
'the entries of host_ace that are in force now and concern the current role; what utl_smtp.user_host_aces is made of';

CREATE VIEW utl_smtp.user_host_aces AS
    SELECT DISTINCT ON (host, ace.lower_port, ace.upper_port, ace.privilege)
           ace.host COLLATE pg_catalog."C" AS host,
           ace.lower_port,
           ace.upper_port,
           ace.privilege,
           CASE ace.grant_type WHEN 'GRANT' THEN 'GRANTED' ELSE 'DENIED' END AS status
    FROM utl_smtp.host_ace_applicable() AS ace
    ORDER BY host, ace.lower_port, ace.upper_port, ace.privilege, ace.ace_order, ace.grant_type;

REVOKE ALL ON TABLE utl_smtp.user_host_aces FROM PUBLIC;
GRANT SELECT ON TABLE utl_smtp.user_host_aces TO PUBLIC;
COMMENT ON VIEW utl_smtp.user_host_aces IS
'what the current role is granted or denied now, by itself, by membership or by PUBLIC, with the columns of Oracle''s USER_HOST_ACES';
COMMENT ON COLUMN utl_smtp.user_host_aces.host IS 'host, domain or subnet; the most specific decides';
COMMENT ON COLUMN utl_smtp.user_host_aces.lower_port IS 'first port of the range; NULL: every port';
COMMENT ON COLUMN utl_smtp.user_host_aces.upper_port IS 'last port of the range';
COMMENT ON COLUMN utl_smtp.user_host_aces.privilege IS 'the privilege';
COMMENT ON COLUMN utl_smtp.user_host_aces.status IS 'GRANTED or DENIED';
