-- The schemas, types and constants. All names are qualified, and nothing that exists already is taken over.

CREATE SCHEMA utl_smtp;
GRANT USAGE ON SCHEMA utl_smtp TO PUBLIC;
COMMENT ON SCHEMA utl_smtp IS 'Oracle''s UTL_SMTP: a conversational SMTP client';

CREATE SCHEMA utl_tcp;
GRANT USAGE ON SCHEMA utl_tcp TO PUBLIC;
COMMENT ON SCHEMA utl_tcp IS 'what ported programs use of Oracle''s UTL_TCP';

CREATE FUNCTION utl_tcp.crlf() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN E'\r\n';
COMMENT ON FUNCTION utl_tcp.crlf() IS 'carriage return and line feed, the end of a line in SMTP';


CREATE TYPE utl_smtp.connection AS (
    host text,
    port integer,
    tx_timeout integer,
    private_tcp_con bigint,
    private_state integer
);
COMMENT ON TYPE utl_smtp.connection IS
'an SMTP connection of this session, as open_connection returns it; it stands for the connection, copies stand for the same one';
COMMENT ON COLUMN utl_smtp.connection.host IS 'the host that was asked for';
COMMENT ON COLUMN utl_smtp.connection.port IS 'the port that was asked for';
COMMENT ON COLUMN utl_smtp.connection.tx_timeout IS 'the time limit of each command that was asked for, in seconds';
COMMENT ON COLUMN utl_smtp.connection.private_tcp_con IS 'the handle: random, never used again, of no use to other sessions';
COMMENT ON COLUMN utl_smtp.connection.private_state IS 'not used';

CREATE TYPE utl_smtp.reply AS (code integer, text text);
COMMENT ON TYPE utl_smtp.reply IS 'one line of a server''s reply';
COMMENT ON COLUMN utl_smtp.reply.code IS 'the reply code, 200 to 599 (RFC 5321 section 4.2)';
COMMENT ON COLUMN utl_smtp.reply.text IS 'the text behind the code; control characters are replaced by ?';

CREATE DOMAIN utl_smtp.replies AS utl_smtp.reply[];
COMMENT ON DOMAIN utl_smtp.replies IS 'a server''s reply, one element a line';


CREATE FUNCTION utl_smtp.all_schemes() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN';
COMMENT ON FUNCTION utl_smtp.all_schemes() IS 'every password scheme of auth, the safest first';

CREATE FUNCTION utl_smtp.non_cleartext_password_schemes() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'SCRAM-SHA-256 CRAM-MD5';
COMMENT ON FUNCTION utl_smtp.non_cleartext_password_schemes() IS
'the password schemes of auth that don''t show the password to the server or to whoever listens; the default of auth';

CREATE FUNCTION utl_smtp.invalid_operation() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U9277';
COMMENT ON FUNCTION utl_smtp.invalid_operation() IS 'SQLSTATE of ORA-29277: the call has no place at this point of the conversation';

CREATE FUNCTION utl_smtp.transient_error() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U9278';
COMMENT ON FUNCTION utl_smtp.transient_error() IS 'SQLSTATE of ORA-29278: a 4xx reply, a network failure or a time-out';

CREATE FUNCTION utl_smtp.permanent_error() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U9279';
COMMENT ON FUNCTION utl_smtp.permanent_error() IS 'SQLSTATE of ORA-29279: a 5xx reply';

CREATE FUNCTION utl_smtp.unsupported_scheme() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U4249';
COMMENT ON FUNCTION utl_smtp.unsupported_scheme() IS 'SQLSTATE of ORA-24249: an authentication scheme that utl_smtp does not know';

CREATE FUNCTION utl_smtp.no_supported_scheme() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U4250';
COMMENT ON FUNCTION utl_smtp.no_supported_scheme() IS 'SQLSTATE of ORA-24250: none of the schemes can be used with this server over this connection';

CREATE FUNCTION utl_smtp.invalid_operation_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -29277;
COMMENT ON FUNCTION utl_smtp.invalid_operation_errcode() IS 'Oracle''s number of invalid_operation';

CREATE FUNCTION utl_smtp.transient_error_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -29278;
COMMENT ON FUNCTION utl_smtp.transient_error_errcode() IS 'Oracle''s number of transient_error';

CREATE FUNCTION utl_smtp.permanent_error_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -29279;
COMMENT ON FUNCTION utl_smtp.permanent_error_errcode() IS 'Oracle''s number of permanent_error';

CREATE FUNCTION utl_smtp.unsupported_scheme_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -24249;
COMMENT ON FUNCTION utl_smtp.unsupported_scheme_errcode() IS 'Oracle''s number of unsupported_scheme';

CREATE FUNCTION utl_smtp.no_supported_scheme_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -24250;
COMMENT ON FUNCTION utl_smtp.no_supported_scheme_errcode() IS 'Oracle''s number of no_supported_scheme';
-- The routines of UTL_SMTP, as the library implements them. Parameter names are Oracle's, so that named notation ports
-- unchanged. All are VOLATILE, PARALLEL UNSAFE and never STRICT, with the caller's rights, and PUBLIC may execute them:
-- utl_smtp.host_ace decides who may talk to whom.


-- Opening and closing

CREATE FUNCTION utl_smtp.open_connection(
    host text,
    port integer = 25,
    tx_timeout integer = NULL,
    wallet_path text = NULL,
    wallet_password text = NULL,
    secure_connection_before_smtp boolean = false,
    secure_host text = NULL
) RETURNS utl_smtp.connection
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'open_connection_wrapper';
COMMENT ON FUNCTION utl_smtp.open_connection(text, integer, integer, text, text, boolean, text) IS
'connects to an SMTP server and reads its greeting; tx_timeout in seconds limits each command (NULL: utl_smtp.default_timeout, 0: no waiting at all), wallet_path names the certificates trusted by TLS, secure_connection_before_smtp starts TLS at once (port 465), secure_host is the name that the server''s certificate must have if it is not host';

CREATE FUNCTION utl_smtp.open_connection_reply(
    host text,
    port integer = 25,
    tx_timeout integer = NULL,
    wallet_path text = NULL,
    wallet_password text = NULL,
    secure_connection_before_smtp boolean = false,
    secure_host text = NULL,
    OUT c utl_smtp.connection,
    OUT reply utl_smtp.reply
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'open_connection_reply_wrapper';
COMMENT ON FUNCTION utl_smtp.open_connection_reply(text, integer, integer, text, text, boolean, text) IS
'open_connection for callers who judge the greeting themselves: where the server can''t be reached or refuses, c is NULL and reply says why';

CREATE FUNCTION utl_smtp.quit(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'quit_wrapper';
COMMENT ON FUNCTION utl_smtp.quit(utl_smtp.connection) IS
'QUIT: ends the conversation and closes the connection, whatever the server says (RFC 5321 section 4.1.1.10)';

CREATE FUNCTION utl_smtp.close_connection(c utl_smtp.connection) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'close_connection_wrapper';
COMMENT ON FUNCTION utl_smtp.close_connection(utl_smtp.connection) IS
'closes a connection without QUIT; inside message data the message is given up. No error if it is closed already';

CREATE FUNCTION utl_smtp.close_all_connections() RETURNS integer
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'close_all_connections_wrapper';
COMMENT ON FUNCTION utl_smtp.close_all_connections() IS
'closes every connection of this session that the current role may use; returns how many';

CREATE FUNCTION utl_smtp.connections() RETURNS TABLE (
    handle bigint,
    host text,
    address inet,
    port integer,
    phase text,
    tls_version text,
    cipher text,
    peer_subject text,
    peer_not_after timestamp with time zone,
    authenticated_as text,
    auth_scheme text,
    capabilities text[],
    messages_sent bigint,
    bytes_sent bigint,
    bytes_received bigint,
    opened_at timestamp with time zone,
    last_reply text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 16
AS 'MODULE_PATHNAME', 'connections_wrapper';
COMMENT ON FUNCTION utl_smtp.connections() IS
'the open connections of this session that the current role may use';


-- The conversation

CREATE FUNCTION utl_smtp.command(c utl_smtp.connection, cmd text, arg text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'command_wrapper';
COMMENT ON FUNCTION utl_smtp.command(utl_smtp.connection, text, text) IS
'sends any command line and returns the last line of the reply (RFC 5321 section 4.1); STARTTLS, DATA, BDAT and QUIT have routines of their own';

CREATE FUNCTION utl_smtp.command_replies(c utl_smtp.connection, cmd text, arg text = NULL) RETURNS utl_smtp.replies
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'command_replies_wrapper';
COMMENT ON FUNCTION utl_smtp.command_replies(utl_smtp.connection, text, text) IS
'sends any command line and returns all lines of the reply, whatever it is';

CREATE FUNCTION utl_smtp.helo(c utl_smtp.connection, domain text) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'helo_wrapper';
COMMENT ON FUNCTION utl_smtp.helo(utl_smtp.connection, text) IS
'HELO: introduces this client by its domain name; NULL or '''' is this machine''s name (RFC 5321 section 4.1.1.1)';

CREATE FUNCTION utl_smtp.ehlo(c utl_smtp.connection, domain text) RETURNS utl_smtp.replies
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'ehlo_wrapper';
COMMENT ON FUNCTION utl_smtp.ehlo(utl_smtp.connection, text) IS
'EHLO: introduces this client by its domain name and returns what the server offers, one element a line; NULL or '''' is this machine''s name (RFC 5321 section 4.1.1.1)';

CREATE FUNCTION utl_smtp.starttls(c utl_smtp.connection, secure_host text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'starttls_wrapper';
COMMENT ON FUNCTION utl_smtp.starttls(utl_smtp.connection, text) IS
'STARTTLS: encrypts the connection and verifies the server''s certificate against the wallet given to open_connection; say EHLO again after it (RFC 3207)';

CREATE FUNCTION utl_smtp.auth(c utl_smtp.connection, username text, password text, schemes text = utl_smtp.non_cleartext_password_schemes()) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'auth_wrapper';
COMMENT ON FUNCTION utl_smtp.auth(utl_smtp.connection, text, text, text) IS
'AUTH: authenticates by the first of schemes, a space-separated list, that the server offers; for XOAUTH2 and OAUTHBEARER password is the access token (RFC 4954)';

CREATE FUNCTION utl_smtp.mail(c utl_smtp.connection, sender text, parameters text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mail_wrapper';
COMMENT ON FUNCTION utl_smtp.mail(utl_smtp.connection, text, text) IS
'MAIL FROM: begins a mail transaction; '''' or ''<>'' is the null sender (RFC 5321 section 4.1.1.2)';

CREATE FUNCTION utl_smtp.rcpt(c utl_smtp.connection, recipient text, parameters text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'rcpt_wrapper';
COMMENT ON FUNCTION utl_smtp.rcpt(utl_smtp.connection, text, text) IS
'RCPT TO: names one recipient (RFC 5321 section 4.1.1.3)';

CREATE FUNCTION utl_smtp.rset(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'rset_wrapper';
COMMENT ON FUNCTION utl_smtp.rset(utl_smtp.connection) IS
'RSET: gives up the mail transaction (RFC 5321 section 4.1.1.5)';

CREATE FUNCTION utl_smtp.noop(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'noop_wrapper';
COMMENT ON FUNCTION utl_smtp.noop(utl_smtp.connection) IS
'NOOP: does nothing but be answered (RFC 5321 section 4.1.1.9)';

CREATE FUNCTION utl_smtp.vrfy(c utl_smtp.connection, recipient text) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'vrfy_wrapper';
COMMENT ON FUNCTION utl_smtp.vrfy(utl_smtp.connection, text) IS
'VRFY: asks whether a recipient is known; never raises, the reply is the caller''s to judge (RFC 5321 section 4.1.1.6)';

CREATE FUNCTION utl_smtp.help(c utl_smtp.connection, command text = NULL) RETURNS utl_smtp.replies
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'help_wrapper';
COMMENT ON FUNCTION utl_smtp.help(utl_smtp.connection, text) IS
'HELP: asks for help, perhaps about a command; never raises (RFC 5321 section 4.1.1.8)';


-- Message data

CREATE FUNCTION utl_smtp.data(c utl_smtp.connection, body text) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'data_wrapper';
COMMENT ON FUNCTION utl_smtp.data(utl_smtp.connection, text) IS
'DATA: sends a whole message, headers and body, and returns the reply to its end (RFC 5321 section 4.1.1.4)';

CREATE FUNCTION utl_smtp.open_data(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'open_data_wrapper';
COMMENT ON FUNCTION utl_smtp.open_data(utl_smtp.connection) IS
'DATA: begins message data; write_data and write_raw_data follow, close_data ends it';

CREATE FUNCTION utl_smtp.write_data(c utl_smtp.connection, data text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'write_data_wrapper';
COMMENT ON FUNCTION utl_smtp.write_data(utl_smtp.connection, text) IS
'sends a piece of the message as UTF-8; line endings become CRLF, leading dots are doubled';

CREATE FUNCTION utl_smtp.write_raw_data(c utl_smtp.connection, data bytea) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'write_raw_data_wrapper';
COMMENT ON FUNCTION utl_smtp.write_raw_data(utl_smtp.connection, bytea) IS
'sends a piece of the message as it is, but for line endings, which become CRLF, and leading dots, which are doubled';

CREATE FUNCTION utl_smtp.close_data(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'close_data_wrapper';
COMMENT ON FUNCTION utl_smtp.close_data(utl_smtp.connection) IS
'ends message data and returns the reply of the server, which has accepted the message only if this succeeds';


-- Wallets

CREATE FUNCTION utl_smtp.wallet_certificates(wallet_path text = NULL) RETURNS TABLE (
    file text,
    kind text,
    subject text,
    issuer text,
    serial text,
    not_before timestamp with time zone,
    not_after timestamp with time zone,
    days_left integer,
    sha256_fingerprint text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'wallet_certificates_wrapper';
COMMENT ON FUNCTION utl_smtp.wallet_certificates(text) IS
'the certificates and revocation lists of a wallet (NULL: utl_smtp.wallet_path), with how many days they are still valid';
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

-- A role that was dropped since would make a restore fail; its entries match nobody anyway.
SELECT pg_catalog.pg_extension_config_dump(
    'utl_smtp.host_ace',
    'WHERE principal = 0 OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE oid = principal)');

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
'connect or smtp: hold a conversation; use_client_certificates: show the wallet''s client certificate; resolve, http, http_proxy, jdwp and use_passwords are kept for Oracle''s scripts and allow nothing';
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


-- Sessions keep the plan of the look-up. A short list is read whole, a long one by its index, and it is ANALYZE that makes
-- every session plan anew: where the list has grown much since the last one, waiting for autovacuum would make each
-- open_connection read a long list whole.

CREATE FUNCTION utl_smtp.host_ace_keep_plans_right() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_relation_size('utl_smtp.host_ace') / current_setting('block_size')::integer
       > (SELECT 4 + 2 * greatest(relpages, 0) FROM pg_class WHERE oid = 'utl_smtp.host_ace'::regclass) THEN
        ANALYZE utl_smtp.host_ace;
    END IF;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION utl_smtp.host_ace_keep_plans_right() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.host_ace_keep_plans_right() IS
'trigger of host_ace: analyzes the list when it has grown much';

CREATE TRIGGER keep_plans_right_on_insert AFTER INSERT ON utl_smtp.host_ace
    FOR EACH STATEMENT EXECUTE FUNCTION utl_smtp.host_ace_keep_plans_right();
COMMENT ON TRIGGER keep_plans_right_on_insert ON utl_smtp.host_ace IS
'a list that has grown much is analyzed';


-- The look-up.
--
-- The decision is the first row, in order of precedence, of the entries that apply to the role, the port, one of the
-- privileges and the present moment: the more specific host first; for one host a port range before none; then the
-- lowest ace_order. It is the first row of the query that Oracle's Security Guide gives users for USER_HOST_ACES
-- ("ORDER BY precedence DESC, lower_port NULLS LAST"), a view that leaves out the lists that "do not apply" to the
-- user. So an entry for mail.example.com that concerns another role doesn't hide this role's entry for *.example.com:
-- granting something to one role never takes it from another. Who wants it taken says DENY.

-- In PL/pgSQL, because that can keep one plan for the session: planning costs ten times as much as the look-up itself.

CREATE FUNCTION utl_smtp.host_access(candidates text[], port integer, role oid, privileges text[]) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN (
        SELECT ace.grant_type
        FROM utl_smtp.host_ace AS ace
        WHERE ace.host = ANY (host_access.candidates)
          AND (ace.lower_port IS NULL OR host_access.port BETWEEN ace.lower_port AND ace.upper_port)
          AND ace.privilege = ANY (host_access.privileges)
          AND (ace.start_date IS NULL OR ace.start_date <= clock_timestamp())
          AND (ace.end_date IS NULL OR ace.end_date >= clock_timestamp())
          AND (ace.principal = 0 OR pg_has_role(host_access.role, ace.principal, 'USAGE'))
        ORDER BY array_position(host_access.candidates, ace.host), ace.lower_port IS NULL, ace.ace_order, ace.grant_type
        LIMIT 1);
END
$$;

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


-- A barrier, or a function in the caller's WHERE clause would see the entries of others.
CREATE VIEW utl_smtp.user_host_aces WITH (security_barrier) AS
    SELECT DISTINCT ON (ace.host, ace.lower_port, ace.upper_port, ace.privilege)
           ace.host,
           ace.lower_port,
           ace.upper_port,
           ace.privilege,
           CASE ace.grant_type WHEN 'GRANT' THEN 'GRANTED' ELSE 'DENIED' END AS status
    FROM utl_smtp.host_ace AS ace
    WHERE (ace.principal = 0 OR pg_catalog.pg_has_role(ace.principal, 'USAGE'))
      AND (ace.start_date IS NULL OR ace.start_date <= pg_catalog.clock_timestamp())
      AND (ace.end_date IS NULL OR ace.end_date >= pg_catalog.clock_timestamp())
    ORDER BY ace.host, ace.lower_port, ace.upper_port, ace.privilege, ace.ace_order, ace.grant_type;

REVOKE ALL ON TABLE utl_smtp.user_host_aces FROM PUBLIC;
GRANT SELECT ON TABLE utl_smtp.user_host_aces TO PUBLIC;
COMMENT ON VIEW utl_smtp.user_host_aces IS
'what the current role is granted or denied now, by itself, by membership or by PUBLIC, with the columns of Oracle''s USER_HOST_ACES';
COMMENT ON COLUMN utl_smtp.user_host_aces.host IS 'host, domain or subnet; the most specific decides';
COMMENT ON COLUMN utl_smtp.user_host_aces.lower_port IS 'first port of the range; NULL: every port';
COMMENT ON COLUMN utl_smtp.user_host_aces.upper_port IS 'last port of the range';
COMMENT ON COLUMN utl_smtp.user_host_aces.privilege IS 'the privilege';
COMMENT ON COLUMN utl_smtp.user_host_aces.status IS 'GRANTED or DENIED';
-- Access control as Oracle has it since 12c: an entry is appended to, or removed from, the list of a host.
--
-- Owns the schemas dbms_network_acl_admin and xs_acl, and the parsing of hosts, principals and privileges that the
-- 11g form shares. Every routine runs with the invoker's rights: only the owner of utl_smtp.host_ace gets through.
--
-- The ORA numbers are those of Oracle's DBMS_NETWORK_ACL_ADMIN.

CREATE SCHEMA dbms_network_acl_admin;
GRANT USAGE ON SCHEMA dbms_network_acl_admin TO PUBLIC;
COMMENT ON SCHEMA dbms_network_acl_admin IS
'Oracle''s DBMS_NETWORK_ACL_ADMIN: who may talk to which host';

CREATE SCHEMA xs_acl;
GRANT USAGE ON SCHEMA xs_acl TO PUBLIC;
COMMENT ON SCHEMA xs_acl IS
'Oracle''s XS_ACL: the constants for the principal_type of xs$ace_type';


CREATE FUNCTION xs_acl.ptype_xs() RETURNS integer LANGUAGE sql IMMUTABLE RETURN 1;
CREATE FUNCTION xs_acl.ptype_db() RETURNS integer LANGUAGE sql IMMUTABLE RETURN 2;
CREATE FUNCTION xs_acl.ptype_dn() RETURNS integer LANGUAGE sql IMMUTABLE RETURN 3;
CREATE FUNCTION xs_acl.ptype_external() RETURNS integer LANGUAGE sql IMMUTABLE RETURN 4;
COMMENT ON FUNCTION xs_acl.ptype_xs() IS 'principal type 1, application user; a role here';
COMMENT ON FUNCTION xs_acl.ptype_db() IS 'principal type 2, database user or role; a role here';
COMMENT ON FUNCTION xs_acl.ptype_dn() IS 'principal type 3, distinguished name; a role here';
COMMENT ON FUNCTION xs_acl.ptype_external() IS 'principal type 4, external; a role here';

CREATE TYPE dbms_network_acl_admin.xs$ace_type AS (
    privilege_list text[],
    granted boolean,
    inverted boolean,
    principal_name text,
    principal_type integer,
    start_date timestamp with time zone,
    end_date timestamp with time zone
);
COMMENT ON TYPE dbms_network_acl_admin.xs$ace_type IS
'an access control entry: privileges granted to, or denied from, a principal';
COMMENT ON COLUMN dbms_network_acl_admin.xs$ace_type.privilege_list IS 'the privileges, in any case';
COMMENT ON COLUMN dbms_network_acl_admin.xs$ace_type.granted IS 'true: granted, false: denied';
COMMENT ON COLUMN dbms_network_acl_admin.xs$ace_type.inverted IS 'everybody but the principal: not supported';
COMMENT ON COLUMN dbms_network_acl_admin.xs$ace_type.principal_name IS 'a role, as given or in lower case, or PUBLIC';
COMMENT ON COLUMN dbms_network_acl_admin.xs$ace_type.principal_type IS 'a constant of xs_acl; whichever, it means a role';
COMMENT ON COLUMN dbms_network_acl_admin.xs$ace_type.start_date IS 'applies from this moment on';
COMMENT ON COLUMN dbms_network_acl_admin.xs$ace_type.end_date IS 'applies up to this moment';

CREATE FUNCTION dbms_network_acl_admin.xs$ace_type(
    privilege_list text[],
    granted boolean DEFAULT true,
    inverted boolean DEFAULT false,
    principal_name text DEFAULT NULL,
    principal_type integer DEFAULT 1,
    start_date timestamp with time zone DEFAULT NULL,
    end_date timestamp with time zone DEFAULT NULL
) RETURNS dbms_network_acl_admin.xs$ace_type
LANGUAGE sql IMMUTABLE
RETURN ROW (privilege_list, granted, inverted, principal_name, principal_type, start_date, end_date)
    ::dbms_network_acl_admin.xs$ace_type;
COMMENT ON FUNCTION dbms_network_acl_admin.xs$ace_type(text[], boolean, boolean, text, integer,
    timestamp with time zone, timestamp with time zone) IS
'an access control entry, for append_host_ace and remove_host_ace';

CREATE FUNCTION dbms_network_acl_admin.xs$name_list(VARIADIC names text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE
RETURN names;
COMMENT ON FUNCTION dbms_network_acl_admin.xs$name_list(text[]) IS
'a list of privileges, for xs$ace_type';


-- What both forms share: arguments become values that exist only when they are valid.

CREATE TYPE utl_smtp.acl_target AS (
    host text,
    lower_port integer,
    upper_port integer
);
COMMENT ON TYPE utl_smtp.acl_target IS
'what an access control list belongs to: a canonical host with one port range or none; made by utl_smtp.acl_target()';
COMMENT ON COLUMN utl_smtp.acl_target.host IS 'as utl_smtp.canonical_host_pattern spells it';
COMMENT ON COLUMN utl_smtp.acl_target.lower_port IS 'first port of the range; NULL: every port';
COMMENT ON COLUMN utl_smtp.acl_target.upper_port IS 'last port of the range';

CREATE TYPE utl_smtp.acl_entry AS (
    principal regrole,
    grant_type text,
    privileges text[],
    start_date timestamp with time zone,
    end_date timestamp with time zone
);
COMMENT ON TYPE utl_smtp.acl_entry IS
'a checked access control entry; made by utl_smtp.acl_entry()';
COMMENT ON COLUMN utl_smtp.acl_entry.principal IS 'the role; 0 is PUBLIC';
COMMENT ON COLUMN utl_smtp.acl_entry.grant_type IS 'GRANT or DENY';
COMMENT ON COLUMN utl_smtp.acl_entry.privileges IS 'known privileges in lower case, each once';
COMMENT ON COLUMN utl_smtp.acl_entry.start_date IS 'applies from this moment on';
COMMENT ON COLUMN utl_smtp.acl_entry.end_date IS 'applies up to this moment';

CREATE FUNCTION utl_smtp.acl_target(host text, lower_port integer, upper_port integer)
RETURNS utl_smtp.acl_target
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    last_port CONSTANT integer := coalesce(upper_port, lower_port);
    fault text;
BEGIN
    fault := CASE
        WHEN host IS NULL THEN 'argument "host" is null'
        WHEN lower_port IS NULL AND upper_port IS NOT NULL THEN 'argument "lower_port" is null, "upper_port" is not'
        WHEN lower_port NOT BETWEEN 1 AND 65535 THEN format('argument "lower_port" is %s', lower_port)
        WHEN last_port NOT BETWEEN 1 AND 65535 THEN format('argument "upper_port" is %s', last_port)
        WHEN last_port < lower_port THEN format('argument "upper_port" is %s, below "lower_port", %s',
                                                last_port, lower_port)
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = '22023',
            MESSAGE = 'ORA-24244: invalid host or port for access control list (ACL) assignment: ' || fault,
            HINT = 'A port range lies between 1 and 65535; without one every port is meant.';
    END IF;
    RETURN ROW (utl_smtp.canonical_host_pattern(host), lower_port, last_port);
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_target(text, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_target(text, integer, integer) IS
'the target that a host and a port range mean; upper_port NULL is lower_port';

CREATE FUNCTION utl_smtp.acl_ports_in_words(target utl_smtp.acl_target) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN target.lower_port IS NULL THEN 'without a port range'
            ELSE format('ports %s to %s', target.lower_port, target.upper_port)
       END;
REVOKE ALL ON FUNCTION utl_smtp.acl_ports_in_words(utl_smtp.acl_target) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_ports_in_words(utl_smtp.acl_target) IS
'the port range of a target, for messages';

CREATE FUNCTION utl_smtp.acl_principal(name text) RETURNS regrole
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    found_role regrole;
BEGIN
    IF name IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = '22023',
            MESSAGE = 'ORA-29261: bad argument: the principal is null',
            HINT = 'Name a role, or PUBLIC.';
    ELSIF upper(name) = 'PUBLIC' THEN
        RETURN 0::oid::regrole;
    END IF;

    SELECT oid::regrole INTO found_role
    FROM pg_roles
    WHERE rolname::text IN (name, lower(name))
    ORDER BY rolname::text = name DESC
    LIMIT 1;

    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = '42704',
            MESSAGE = format('ORA-46238: database user or role "%s" does not exist', name),
            HINT = 'The name is tried as given, then in lower case.';
    END IF;
    RETURN found_role;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_principal(text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_principal(text) IS
'the role that a principal''s name means: as given, else in lower case; 0 for PUBLIC';

CREATE FUNCTION utl_smtp.acl_entry(
    principal text,
    granted boolean,
    privileges text[],
    start_date timestamp with time zone,
    end_date timestamp with time zone
) RETURNS utl_smtp.acl_entry
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    known CONSTANT text[] := ARRAY['connect', 'smtp', 'resolve', 'use_client_certificates',
                                   'http', 'http_proxy', 'jdwp', 'use_passwords'];
    fault text;
    unknown text;
    wanted text[];
BEGIN
    fault := CASE
        WHEN granted IS NULL THEN 'whether to grant or to deny is null'
        WHEN coalesce(cardinality(privileges), 0) = 0 THEN 'there is no privilege'
        WHEN array_position(privileges, NULL) IS NOT NULL THEN 'a privilege is null'
        WHEN start_date > end_date THEN 'argument "end_date" is before "start_date"'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'ORA-29261: bad argument: ' || fault;
    END IF;

    SELECT array_agg(DISTINCT lower(item)), min(item) FILTER (WHERE lower(item) <> ALL (known))
    INTO wanted, unknown
    FROM unnest(privileges) AS item;
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = '22023',
            MESSAGE = format('ORA-24245: invalid network privilege "%s"', unknown),
            HINT = 'The privileges are ' || array_to_string(known, ', ') || '.';
    END IF;

    RETURN ROW (utl_smtp.acl_principal(principal), CASE WHEN granted THEN 'GRANT' ELSE 'DENY' END,
                wanted, start_date, end_date);
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_entry(text, boolean, text[], timestamp with time zone,
    timestamp with time zone) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_entry(text, boolean, text[], timestamp with time zone,
    timestamp with time zone) IS
'the entry that a principal, privileges and dates mean';

CREATE FUNCTION utl_smtp.acl_entry(ace dbms_network_acl_admin.xs$ace_type) RETURNS utl_smtp.acl_entry
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF ace IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = '22023',
            MESSAGE = 'ORA-29261: bad argument: "ace" is null',
            HINT = 'Make one with dbms_network_acl_admin.xs$ace_type(...).';
    ELSIF ace.inverted THEN
        -- host_ace has no place for it, and to drop it silently would turn "all but X" into "X".
        RAISE EXCEPTION USING
            ERRCODE = '0A000',
            MESSAGE = 'inverted principals are not supported',
            HINT = 'Deny the principal first, then grant to PUBLIC.';
    END IF;
    RETURN utl_smtp.acl_entry(ace.principal_name, ace.granted, ace.privilege_list,
                              ace.start_date, ace.end_date);
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_entry(dbms_network_acl_admin.xs$ace_type) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_entry(dbms_network_acl_admin.xs$ace_type) IS
'the entry that an xs$ace_type means';

CREATE FUNCTION utl_smtp.acl_append(target utl_smtp.acl_target, entry utl_smtp.acl_entry) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    ports CONSTANT int4range := int4range(target.lower_port, target.upper_port, '[]');
    place integer;
BEGIN
    SELECT listed.ace_order INTO place
    FROM utl_smtp.host_ace AS listed
    WHERE listed.host = target.host
      AND int4range(listed.lower_port, listed.upper_port, '[]') = ports
      AND listed.principal = entry.principal
      AND listed.grant_type = entry.grant_type
      AND listed.start_date IS NOT DISTINCT FROM entry.start_date
      AND listed.end_date IS NOT DISTINCT FROM entry.end_date
    ORDER BY listed.ace_order
    LIMIT 1;

    IF NOT FOUND THEN
        SELECT coalesce(max(listed.ace_order), 0) + 1 INTO place
        FROM utl_smtp.host_ace AS listed
        WHERE listed.host = target.host
          AND int4range(listed.lower_port, listed.upper_port, '[]') = ports;
    END IF;

    INSERT INTO utl_smtp.host_ace (host, lower_port, upper_port, ace_order, principal, privilege,
                                   grant_type, start_date, end_date)
    SELECT target.host, target.lower_port, target.upper_port, place, entry.principal, privilege,
           entry.grant_type, entry.start_date, entry.end_date
    FROM unnest(entry.privileges) AS privilege
    ON CONFLICT DO NOTHING;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_append(utl_smtp.acl_target, utl_smtp.acl_entry) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_append(utl_smtp.acl_target, utl_smtp.acl_entry) IS
'puts an entry at the end of the list of a target, or its privileges into the first equal entry; duplicates are skipped';


-- The routines.

CREATE FUNCTION dbms_network_acl_admin.append_host_ace(
    host text,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL,
    ace dbms_network_acl_admin.xs$ace_type DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    target utl_smtp.acl_target := utl_smtp.acl_target(host, lower_port, upper_port);
    entry utl_smtp.acl_entry := utl_smtp.acl_entry(ace);
BEGIN
    -- One administrator at a time: the next ace_order is computed.
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    PERFORM utl_smtp.acl_append(target, entry);
    PERFORM utl_smtp.acl_follow(target);
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.append_host_ace(text, integer, integer,
    dbms_network_acl_admin.xs$ace_type) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.append_host_ace(text, integer, integer,
    dbms_network_acl_admin.xs$ace_type) IS
'appends an entry to the access control list of a host, or its privileges to the equal entry that is there; upper_port NULL is lower_port';

CREATE FUNCTION dbms_network_acl_admin.remove_host_ace(
    host text,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL,
    ace dbms_network_acl_admin.xs$ace_type DEFAULT NULL,
    remove_empty_acl boolean DEFAULT false
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    target utl_smtp.acl_target := utl_smtp.acl_target(host, lower_port, upper_port);
    entry utl_smtp.acl_entry := utl_smtp.acl_entry(ace);
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;

    -- Dates count only if given: who revokes without naming them wants the access gone.
    DELETE FROM utl_smtp.host_ace AS listed
    WHERE listed.host = target.host
      AND int4range(listed.lower_port, listed.upper_port, '[]')
          = int4range(target.lower_port, target.upper_port, '[]')
      AND listed.principal = entry.principal
      AND listed.grant_type = entry.grant_type
      AND listed.privilege = ANY (entry.privileges)
      AND (entry.start_date IS NULL OR listed.start_date = entry.start_date)
      AND (entry.end_date IS NULL OR listed.end_date = entry.end_date);

    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = '42704',
            MESSAGE = format('ORA-01927: no such access control entry (ACE) for host "%s"', target.host),
            DETAIL = format('%s of %s, principal "%s", %s.', entry.grant_type,
                            array_to_string(entry.privileges, ', '), ace.principal_name,
                            utl_smtp.acl_ports_in_words(target)),
            HINT = 'utl_smtp.dba_host_aces shows the entries; host, port range and principal must be theirs.';
    END IF;

    PERFORM utl_smtp.acl_follow(target);
    IF remove_empty_acl THEN
        PERFORM utl_smtp.acl_drop_if_empty(target);
    END IF;
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.remove_host_ace(text, integer, integer,
    dbms_network_acl_admin.xs$ace_type, boolean) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.remove_host_ace(text, integer, integer,
    dbms_network_acl_admin.xs$ace_type, boolean) IS
'removes privileges of a principal from the access control list of a host; remove_empty_acl also drops an assigned list that becomes empty';
-- Access control as Oracle had it in 11g: a named list, which is assigned to hosts.
--
-- Owns the named lists (acl, acl_ace) and what each is assigned to (acl_assignment). Their effect is copied into
-- utl_smtp.host_ace, the one list that is looked up: a target has one list, as in Oracle, so assigning a named list
-- replaces what the target had, and every change of a named list rewrites its targets (acl_publish).
--
-- The 12c form goes the other way (acl_follow), again as in Oracle: appending to, or removing from, a host whose list
-- is a named one changes that named list, unless other hosts share it; then the host gets a copy of its own.

-- There are no foreign keys between the three: a parallel pg_restore loads the tables of an extension in any order.

CREATE TABLE utl_smtp.acl (
    name text COLLATE "C" PRIMARY KEY,
    description text
);
REVOKE ALL ON TABLE utl_smtp.acl FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.acl', '');
COMMENT ON TABLE utl_smtp.acl IS
'named access control lists, as create_acl makes them';
COMMENT ON COLUMN utl_smtp.acl.name IS 'the name, without the prefix /sys/acls/';
COMMENT ON COLUMN utl_smtp.acl.description IS 'free text';

CREATE TABLE utl_smtp.acl_ace (
    acl text COLLATE "C" NOT NULL,
    ace_order integer NOT NULL CHECK (ace_order >= 1),
    principal regrole NOT NULL,
    privilege text NOT NULL,
    grant_type text NOT NULL CHECK (grant_type IN ('GRANT', 'DENY')),
    start_date timestamp with time zone,
    end_date timestamp with time zone,
    PRIMARY KEY (acl, ace_order, principal, privilege)
);
REVOKE ALL ON TABLE utl_smtp.acl_ace FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump(
    'utl_smtp.acl_ace',
    'WHERE principal = 0 OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE oid = principal)');
COMMENT ON TABLE utl_smtp.acl_ace IS
'the entries of named access control lists; utl_smtp.host_ace has a copy for every host a list is assigned to';
COMMENT ON COLUMN utl_smtp.acl_ace.acl IS 'the list';
COMMENT ON COLUMN utl_smtp.acl_ace.ace_order IS 'the lowest that applies decides';
COMMENT ON COLUMN utl_smtp.acl_ace.principal IS 'the role; 0 is PUBLIC';
COMMENT ON COLUMN utl_smtp.acl_ace.privilege IS 'as in utl_smtp.host_ace';
COMMENT ON COLUMN utl_smtp.acl_ace.grant_type IS 'GRANT or DENY';
COMMENT ON COLUMN utl_smtp.acl_ace.start_date IS 'applies from this moment on';
COMMENT ON COLUMN utl_smtp.acl_ace.end_date IS 'applies up to this moment';

CREATE TABLE utl_smtp.acl_assignment (
    acl text COLLATE "C" NOT NULL,
    host text COLLATE "C" NOT NULL,
    lower_port integer,
    upper_port integer
);
CREATE UNIQUE INDEX acl_assignment_key ON utl_smtp.acl_assignment
    (host, int4range(lower_port, upper_port, '[]'));
CREATE INDEX acl_assignment_acl ON utl_smtp.acl_assignment (acl);
ALTER TABLE utl_smtp.acl_assignment REPLICA IDENTITY FULL;
REVOKE ALL ON TABLE utl_smtp.acl_assignment FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.acl_assignment', '');
COMMENT ON TABLE utl_smtp.acl_assignment IS
'which named access control list a host has; a host and port range has one at most';
COMMENT ON COLUMN utl_smtp.acl_assignment.acl IS 'the list';
COMMENT ON COLUMN utl_smtp.acl_assignment.host IS 'as in utl_smtp.host_ace';
COMMENT ON COLUMN utl_smtp.acl_assignment.lower_port IS 'first port of the range; NULL: every port';
COMMENT ON COLUMN utl_smtp.acl_assignment.upper_port IS 'last port of the range';


-- Keeping the named lists and host_ace in step.

CREATE FUNCTION utl_smtp.acl_name(acl text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    name CONSTANT text := regexp_replace(acl, '^/sys/acls/', '');
BEGIN
    IF coalesce(name, '') = '' THEN
        RAISE EXCEPTION USING
            ERRCODE = '22023',
            MESSAGE = 'ORA-46059: invalid ACL identifier: argument "acl" is null or empty';
    END IF;
    RETURN name;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_name(text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_name(text) IS
'the name of a list without the prefix /sys/acls/, to which Oracle''s names are relative';

CREATE FUNCTION utl_smtp.acl_existing(acl text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    wanted CONSTANT text := utl_smtp.acl_name(acl);
BEGIN
    IF NOT EXISTS (SELECT FROM utl_smtp.acl AS list WHERE list.name = wanted) THEN
        RAISE EXCEPTION USING
            ERRCODE = '42704',
            MESSAGE = format('ORA-46114: ACL "%s" not found', wanted),
            HINT = 'dbms_network_acl_admin.create_acl makes one; names are case-sensitive.';
    END IF;
    RETURN wanted;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_existing(text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_existing(text) IS
'the name of a list that exists';

CREATE FUNCTION utl_smtp.acl_publish(acl_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    DELETE FROM utl_smtp.host_ace AS listed
    USING utl_smtp.acl_assignment AS target
    WHERE target.acl = acl_name
      AND listed.host = target.host
      AND int4range(listed.lower_port, listed.upper_port, '[]')
          = int4range(target.lower_port, target.upper_port, '[]');

    INSERT INTO utl_smtp.host_ace (host, lower_port, upper_port, ace_order, principal, privilege,
                                   grant_type, start_date, end_date)
    SELECT target.host, target.lower_port, target.upper_port, ace.ace_order, ace.principal, ace.privilege,
           ace.grant_type, ace.start_date, ace.end_date
    FROM utl_smtp.acl_assignment AS target
    JOIN utl_smtp.acl_ace AS ace ON ace.acl = target.acl
    WHERE target.acl = acl_name;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_publish(text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_publish(text) IS
'rewrites the entries in host_ace of everything that a named list is assigned to';

CREATE FUNCTION utl_smtp.acl_follow(target utl_smtp.acl_target) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    ports CONSTANT int4range := int4range(target.lower_port, target.upper_port, '[]');
    assigned text;
BEGIN
    SELECT assignment.acl INTO assigned
    FROM utl_smtp.acl_assignment AS assignment
    WHERE assignment.host = target.host
      AND int4range(assignment.lower_port, assignment.upper_port, '[]') = ports;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    IF (SELECT count(*) FROM utl_smtp.acl_assignment AS assignment WHERE assignment.acl = assigned) > 1 THEN
        DELETE FROM utl_smtp.acl_assignment AS assignment
        WHERE assignment.host = target.host
          AND int4range(assignment.lower_port, assignment.upper_port, '[]') = ports;
        RETURN;
    END IF;

    DELETE FROM utl_smtp.acl_ace AS ace WHERE ace.acl = assigned;
    INSERT INTO utl_smtp.acl_ace (acl, ace_order, principal, privilege, grant_type, start_date, end_date)
    SELECT assigned, listed.ace_order, listed.principal, listed.privilege, listed.grant_type,
           listed.start_date, listed.end_date
    FROM utl_smtp.host_ace AS listed
    WHERE listed.host = target.host
      AND int4range(listed.lower_port, listed.upper_port, '[]') = ports;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_follow(utl_smtp.acl_target) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_follow(utl_smtp.acl_target) IS
'after a change of a target''s entries in host_ace: the named list assigned to it changes too, or, if others share it, is no longer assigned to it';

CREATE FUNCTION utl_smtp.acl_drop_if_empty(target utl_smtp.acl_target) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH unassigned AS (
        DELETE FROM utl_smtp.acl_assignment AS assignment
        WHERE assignment.host = target.host
          AND int4range(assignment.lower_port, assignment.upper_port, '[]')
              = int4range(target.lower_port, target.upper_port, '[]')
          AND NOT EXISTS (SELECT FROM utl_smtp.acl_ace AS ace WHERE ace.acl = assignment.acl)
        RETURNING assignment.acl
    )
    DELETE FROM utl_smtp.acl AS list
    USING unassigned
    WHERE list.name = unassigned.acl;
END;
REVOKE ALL ON FUNCTION utl_smtp.acl_drop_if_empty(utl_smtp.acl_target) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_drop_if_empty(utl_smtp.acl_target) IS
'drops the named list assigned to a target if no entry is left in it';


-- The routines.

CREATE FUNCTION dbms_network_acl_admin.create_acl(
    acl text,
    description text,
    principal text,
    is_grant boolean,
    privilege text,
    start_date timestamp with time zone DEFAULT NULL,
    end_date timestamp with time zone DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    new_name CONSTANT text := utl_smtp.acl_name(acl);
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM utl_smtp.acl AS list WHERE list.name = new_name) THEN
        RAISE EXCEPTION USING
            ERRCODE = '42710',
            MESSAGE = format('ORA-46212: ACL "%s" already exists', new_name),
            HINT = 'dbms_network_acl_admin.add_privilege adds to it, drop_acl drops it.';
    END IF;
    INSERT INTO utl_smtp.acl (name, description) VALUES (new_name, description);
    PERFORM dbms_network_acl_admin.add_privilege(new_name, principal, is_grant, privilege,
                                                 NULL, start_date, end_date);
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.create_acl(text, text, text, boolean, text,
    timestamp with time zone, timestamp with time zone) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.create_acl(text, text, text, boolean, text,
    timestamp with time zone, timestamp with time zone) IS
'creates a named access control list with a first entry; it has no effect until assign_acl assigns it to a host';

CREATE FUNCTION dbms_network_acl_admin.add_privilege(
    acl text,
    principal text,
    is_grant boolean,
    privilege text,
    "position" integer DEFAULT NULL,
    start_date timestamp with time zone DEFAULT NULL,
    end_date timestamp with time zone DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    list CONSTANT text := utl_smtp.acl_existing(acl);
    entry CONSTANT utl_smtp.acl_entry :=
        utl_smtp.acl_entry(principal, is_grant, ARRAY[privilege], start_date, end_date);
    place integer;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;

    IF add_privilege."position" IS NOT NULL THEN
        place := utl_smtp.acl_make_room(list, entry, add_privilege."position");
    ELSE
        SELECT ace.ace_order INTO place
        FROM utl_smtp.acl_ace AS ace
        WHERE ace.acl = list
          AND ace.principal = entry.principal
          AND ace.grant_type = entry.grant_type
          AND ace.start_date IS NOT DISTINCT FROM entry.start_date
          AND ace.end_date IS NOT DISTINCT FROM entry.end_date
        ORDER BY ace.ace_order
        LIMIT 1;
        IF NOT FOUND THEN
            SELECT coalesce(max(ace.ace_order), 0) + 1 INTO place
            FROM utl_smtp.acl_ace AS ace
            WHERE ace.acl = list;
        END IF;
    END IF;

    INSERT INTO utl_smtp.acl_ace (acl, ace_order, principal, privilege, grant_type, start_date, end_date)
    VALUES (list, place, entry.principal, entry.privileges[1], entry.grant_type,
            entry.start_date, entry.end_date)
    ON CONFLICT DO NOTHING;
    PERFORM utl_smtp.acl_publish(list);
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.add_privilege(text, text, boolean, text, integer,
    timestamp with time zone, timestamp with time zone) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.add_privilege(text, text, boolean, text, integer,
    timestamp with time zone, timestamp with time zone) IS
'grants or denies a principal one more privilege in a named list: in the equal entry, else at the end, or as a new entry at the given position';

CREATE FUNCTION utl_smtp.acl_make_room(list text, entry utl_smtp.acl_entry, wanted integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    place integer;
    moved integer;
BEGIN
    IF wanted < 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = '22023',
            MESSAGE = format('ORA-29261: bad argument: argument "position" is %s', wanted),
            HINT = 'The first entry of a list has position 1.';
    END IF;
    IF EXISTS (SELECT FROM utl_smtp.acl_ace AS ace
               WHERE ace.acl = list AND ace.principal = entry.principal
                 AND ace.grant_type = entry.grant_type AND ace.privilege = ANY (entry.privileges)) THEN
        RAISE EXCEPTION USING
            ERRCODE = '42710',
            MESSAGE = 'ORA-24243: access control entry (ACE) already exists',
            HINT = 'To move an entry, first remove it with delete_privilege.';
    END IF;

    SELECT ace.ace_order INTO place
    FROM utl_smtp.acl_ace AS ace
    WHERE ace.acl = list
    GROUP BY ace.ace_order
    ORDER BY ace.ace_order
    OFFSET wanted - 1
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN (SELECT coalesce(max(ace.ace_order), 0) + 1 FROM utl_smtp.acl_ace AS ace WHERE ace.acl = list);
    END IF;

    -- One order at a time from the end, or two of them would meet in the primary key.
    FOR moved IN
        SELECT DISTINCT ace.ace_order
        FROM utl_smtp.acl_ace AS ace
        WHERE ace.acl = list AND ace.ace_order >= place
        ORDER BY ace.ace_order DESC
    LOOP
        UPDATE utl_smtp.acl_ace AS ace
        SET ace_order = moved + 1
        WHERE ace.acl = list AND ace.ace_order = moved;
    END LOOP;
    RETURN place;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.acl_make_room(text, utl_smtp.acl_entry, integer) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.acl_make_room(text, utl_smtp.acl_entry, integer) IS
'moves the entries of a named list from a position on by one; the ace_order that is free then';

CREATE FUNCTION dbms_network_acl_admin.delete_privilege(
    acl text,
    principal text,
    is_grant boolean DEFAULT NULL,
    privilege text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    list CONSTANT text := utl_smtp.acl_existing(acl);
    who CONSTANT regrole := utl_smtp.acl_principal(principal);
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;

    DELETE FROM utl_smtp.acl_ace AS ace
    WHERE ace.acl = list
      AND ace.principal = who
      AND (is_grant IS NULL OR ace.grant_type = CASE WHEN is_grant THEN 'GRANT' ELSE 'DENY' END)
      AND (delete_privilege.privilege IS NULL OR ace.privilege = lower(delete_privilege.privilege));

    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = '42704',
            MESSAGE = format('ORA-01927: no such privilege of "%s" in ACL "%s"', principal, list),
            HINT = 'utl_smtp.acl_ace shows the entries.';
    END IF;
    PERFORM utl_smtp.acl_publish(list);
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.delete_privilege(text, text, boolean, text) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.delete_privilege(text, text, boolean, text) IS
'removes a privilege of a principal from a named list; is_grant NULL: granted and denied alike, privilege NULL: all';

CREATE FUNCTION dbms_network_acl_admin.assign_acl(
    acl text,
    host text,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    list CONSTANT text := utl_smtp.acl_existing(acl);
    target CONSTANT utl_smtp.acl_target := utl_smtp.acl_target(host, lower_port, upper_port);
BEGIN
    PERFORM dbms_network_acl_admin.set_host_acl(host, lower_port, upper_port, NULL);
    INSERT INTO utl_smtp.acl_assignment (acl, host, lower_port, upper_port)
    VALUES (list, target.host, target.lower_port, target.upper_port);
    PERFORM utl_smtp.acl_publish(list);
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.assign_acl(text, text, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.assign_acl(text, text, integer, integer) IS
'gives a host, or a port range of it, a named access control list instead of what it had';

CREATE FUNCTION dbms_network_acl_admin.unassign_acl(
    acl text DEFAULT NULL,
    host text DEFAULT NULL,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    list CONSTANT text := CASE WHEN acl IS NOT NULL THEN utl_smtp.acl_existing(acl) END;
    target CONSTANT utl_smtp.acl_target :=
        CASE WHEN host IS NOT NULL THEN utl_smtp.acl_target(host, lower_port, upper_port) END;
    found_any boolean := false;
    assigned record;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    FOR assigned IN
        DELETE FROM utl_smtp.acl_assignment AS assignment
        WHERE (list IS NULL OR assignment.acl = list)
          AND (target.host IS NULL
               OR assignment.host = target.host
                  AND int4range(assignment.lower_port, assignment.upper_port, '[]')
                      = int4range(target.lower_port, target.upper_port, '[]'))
        RETURNING assignment.host, assignment.lower_port, assignment.upper_port
    LOOP
        found_any := true;
        DELETE FROM utl_smtp.host_ace AS listed
        WHERE listed.host = assigned.host
          AND int4range(listed.lower_port, listed.upper_port, '[]')
              = int4range(assigned.lower_port, assigned.upper_port, '[]');
    END LOOP;

    IF NOT found_any AND target.host IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = '42704',
            MESSAGE = format('ORA-46114: no such ACL is assigned to host "%s"', target.host),
            DETAIL = format('Looked for %s, %s.', coalesce(format('"%s"', list), 'any'),
                            utl_smtp.acl_ports_in_words(target)),
            HINT = 'utl_smtp.acl_assignment shows what is assigned to what; the port range must be the one assigned.';
    END IF;
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.unassign_acl(text, text, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.unassign_acl(text, text, integer, integer) IS
'takes a named list from a host; acl NULL: whichever it has, host NULL: from every host';

CREATE FUNCTION dbms_network_acl_admin.drop_acl(acl text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    list CONSTANT text := utl_smtp.acl_existing(acl);
BEGIN
    PERFORM dbms_network_acl_admin.unassign_acl(list);
    DELETE FROM utl_smtp.acl_ace AS ace WHERE ace.acl = list;
    DELETE FROM utl_smtp.acl AS dropped WHERE dropped.name = list;
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.drop_acl(text) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.drop_acl(text) IS
'drops a named list and takes it from every host';

CREATE FUNCTION dbms_network_acl_admin.set_host_acl(
    host text,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL,
    acl text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    target CONSTANT utl_smtp.acl_target := utl_smtp.acl_target(host, lower_port, upper_port);
    ports CONSTANT int4range := int4range(target.lower_port, target.upper_port, '[]');
    had_a_named_list boolean;
    gone bigint;
BEGIN
    IF acl IS NOT NULL THEN
        PERFORM dbms_network_acl_admin.assign_acl(acl, host, lower_port, upper_port);
        RETURN;
    END IF;

    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM utl_smtp.acl_assignment AS assignment
    WHERE assignment.host = target.host
      AND int4range(assignment.lower_port, assignment.upper_port, '[]') = ports;
    had_a_named_list := FOUND;

    DELETE FROM utl_smtp.host_ace AS listed
    WHERE listed.host = target.host
      AND int4range(listed.lower_port, listed.upper_port, '[]') = ports;
    GET DIAGNOSTICS gone = ROW_COUNT;

    -- A named list can be assigned again; entries that append_host_ace made exist nowhere else.
    IF gone > 0 AND NOT had_a_named_list THEN
        RAISE NOTICE USING
            MESSAGE = format('access control entries of host "%s", %s, are removed: %s', target.host,
                             utl_smtp.acl_ports_in_words(target), gone),
            HINT = 'A host has one access control list: to add to it, use append_host_ace or append_host_acl.';
    END IF;
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.set_host_acl(text, integer, integer, text) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.set_host_acl(text, integer, integer, text) IS
'gives a host the named list, as assign_acl; acl NULL leaves the host without any entry';

CREATE FUNCTION dbms_network_acl_admin.append_host_acl(
    host text,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL,
    acl text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    list CONSTANT text := utl_smtp.acl_existing(acl);
    target CONSTANT utl_smtp.acl_target := utl_smtp.acl_target(host, lower_port, upper_port);
    entry utl_smtp.acl_entry;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    FOR entry IN
        SELECT ace.principal, ace.grant_type, array_agg(ace.privilege), ace.start_date, ace.end_date
        FROM utl_smtp.acl_ace AS ace
        WHERE ace.acl = list
        GROUP BY ace.ace_order, ace.principal, ace.grant_type, ace.start_date, ace.end_date
        ORDER BY ace.ace_order, ace.grant_type
    LOOP
        PERFORM utl_smtp.acl_append(target, entry);
    END LOOP;
    PERFORM utl_smtp.acl_follow(target);
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.append_host_acl(text, integer, integer, text) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.append_host_acl(text, integer, integer, text) IS
'appends the entries of a named list to the list of a host';

CREATE FUNCTION dbms_network_acl_admin.check_privilege(acl text, "user" text, privilege text) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    list CONSTANT text := utl_smtp.acl_existing(acl);
    who CONSTANT regrole := utl_smtp.acl_principal(coalesce(check_privilege."user", current_user));
BEGIN
    RETURN (
        SELECT CASE ace.grant_type WHEN 'GRANT' THEN 1 ELSE 0 END
        FROM utl_smtp.acl_ace AS ace
        WHERE ace.acl = list
          AND ace.privilege = lower(check_privilege.privilege)
          AND (ace.start_date IS NULL OR ace.start_date <= clock_timestamp())
          AND (ace.end_date IS NULL OR ace.end_date >= clock_timestamp())
          AND (ace.principal = 0 OR pg_has_role(who, ace.principal, 'USAGE'))
        ORDER BY ace.ace_order, ace.grant_type
        LIMIT 1);
END
$body$;
REVOKE ALL ON FUNCTION dbms_network_acl_admin.check_privilege(text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.check_privilege(text, text, text) IS
'1 if a named list grants the role the privilege, 0 if it denies it, NULL if it doesn''t say; "user" NULL is the current role';
-- Oracle's DBMS_NETWORK_ACL_UTILITY: how hosts, domains and subnets relate. Pure functions, for everybody; none of
-- them asks the DNS, and NULL in is NULL out.

CREATE SCHEMA dbms_network_acl_utility;
GRANT USAGE ON SCHEMA dbms_network_acl_utility TO PUBLIC;
COMMENT ON SCHEMA dbms_network_acl_utility IS
'Oracle''s DBMS_NETWORK_ACL_UTILITY: how hosts, domains and subnets relate';

CREATE FUNCTION dbms_network_acl_utility.domains(host text) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'domains_wrapper';
COMMENT ON FUNCTION dbms_network_acl_utility.domains(text) IS
'the host itself, then the domains or subnets it lies in, the nearest first';

CREATE FUNCTION dbms_network_acl_utility.domain_level(host text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'domain_level_wrapper';
COMMENT ON FUNCTION dbms_network_acl_utility.domain_level(text) IS
'how deep a host, domain or subnet lies: 4 for www.hr.example.com, 3 for *.hr.example.com, 0 for *';

CREATE FUNCTION dbms_network_acl_utility.equals_host(host1 text, host2 text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'equals_host_wrapper';
COMMENT ON FUNCTION dbms_network_acl_utility.equals_host(text, text) IS
'1 if both are the same host, domain or subnet, however it is written, else 0';

CREATE FUNCTION dbms_network_acl_utility.contains_host(host text, domain text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'contains_host_wrapper';
COMMENT ON FUNCTION dbms_network_acl_utility.contains_host(text, text) IS
'the precedence of an entry for the domain when the host is asked for: the level of a host name or domain, significant bits of an address or subnet, 0 for *; NULL if the host is not in it';
