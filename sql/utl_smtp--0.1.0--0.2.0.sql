-- From 0.1.0 to 0.2.0: whatever changed in sql/install, as statements that change it.
\echo Use "ALTER EXTENSION utl_smtp UPDATE TO '0.2.0'" to load this file. \quit


-- The look-up in the list is done in the library.

CREATE OR REPLACE FUNCTION utl_smtp.host_access(candidates text[], port integer, role oid, privileges text[]) RETURNS text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'host_access_wrapper';

-- It has no plan that statistics could make worse.
DROP TRIGGER keep_plans_right_on_insert ON utl_smtp.host_ace;
DROP FUNCTION utl_smtp.host_ace_keep_plans_right();


-- The entries of others do not enter the plan of this view any more; so it needs no barrier.

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

CREATE OR REPLACE VIEW utl_smtp.user_host_aces AS
    SELECT DISTINCT ON (host, ace.lower_port, ace.upper_port, ace.privilege)
           ace.host COLLATE pg_catalog."C" AS host,
           ace.lower_port,
           ace.upper_port,
           ace.privilege,
           CASE ace.grant_type WHEN 'GRANT' THEN 'GRANTED' ELSE 'DENIED' END AS status
    FROM utl_smtp.host_ace_applicable() AS ace
    ORDER BY host, ace.lower_port, ace.upper_port, ace.privilege, ace.ace_order, ace.grant_type;


-- The routines of the 11g form lock first, then look.

CREATE OR REPLACE FUNCTION dbms_network_acl_admin.add_privilege(
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
    entry CONSTANT utl_smtp.acl_entry :=
        utl_smtp.acl_entry(principal, is_grant, ARRAY[privilege], start_date, end_date);
    list text;
    place integer;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    list := utl_smtp.acl_existing(acl);

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

CREATE OR REPLACE FUNCTION dbms_network_acl_admin.delete_privilege(
    acl text,
    principal text,
    is_grant boolean DEFAULT NULL,
    privilege text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    who CONSTANT regrole := utl_smtp.acl_principal(principal);
    list text;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    list := utl_smtp.acl_existing(acl);

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

CREATE OR REPLACE FUNCTION dbms_network_acl_admin.assign_acl(
    acl text,
    host text,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    target CONSTANT utl_smtp.acl_target := utl_smtp.acl_target(host, lower_port, upper_port);
    list text;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    list := utl_smtp.acl_existing(acl);
    PERFORM dbms_network_acl_admin.set_host_acl(host, lower_port, upper_port, NULL);
    INSERT INTO utl_smtp.acl_assignment (acl, host, lower_port, upper_port)
    VALUES (list, target.host, target.lower_port, target.upper_port);
    PERFORM utl_smtp.acl_publish(list);
END
$body$;

CREATE OR REPLACE FUNCTION dbms_network_acl_admin.unassign_acl(
    acl text DEFAULT NULL,
    host text DEFAULT NULL,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    target CONSTANT utl_smtp.acl_target :=
        CASE WHEN host IS NOT NULL THEN utl_smtp.acl_target(host, lower_port, upper_port) END;
    list text;
    found_any boolean := false;
    assigned record;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    list := CASE WHEN acl IS NOT NULL THEN utl_smtp.acl_existing(acl) END;
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

CREATE OR REPLACE FUNCTION dbms_network_acl_admin.drop_acl(acl text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    list text;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    list := utl_smtp.acl_existing(acl);
    PERFORM dbms_network_acl_admin.unassign_acl(list);
    DELETE FROM utl_smtp.acl_ace AS ace WHERE ace.acl = list;
    DELETE FROM utl_smtp.acl AS dropped WHERE dropped.name = list;
END
$body$;

CREATE OR REPLACE FUNCTION dbms_network_acl_admin.append_host_acl(
    host text,
    lower_port integer DEFAULT NULL,
    upper_port integer DEFAULT NULL,
    acl text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    target CONSTANT utl_smtp.acl_target := utl_smtp.acl_target(host, lower_port, upper_port);
    list text;
    entry utl_smtp.acl_entry;
BEGIN
    LOCK TABLE utl_smtp.host_ace IN SHARE ROW EXCLUSIVE MODE;
    list := utl_smtp.acl_existing(acl);
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


-- connections() has three columns more, and tx_timeout is the limit in effect.

DROP FUNCTION utl_smtp.connections();
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
    last_reply text,
    c utl_smtp.connection,
    server text,
    delivery text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 16
AS 'MODULE_PATHNAME', 'connections_wrapper';
COMMENT ON FUNCTION utl_smtp.connections() IS
'the open connections of this session that the current role may use; c is the value that open_connection returned, server the name of the server that connect was called with';
COMMENT ON COLUMN utl_smtp.connection.tx_timeout IS 'the time limit of each command in seconds; NULL: none';


-- Mail servers as foreign servers: CREATE SERVER ... FOREIGN DATA WRAPPER utl_smtp.

CREATE FUNCTION utl_smtp.utl_smtp_validator(options text[], catalog oid) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'utl_smtp_validator_wrapper';
COMMENT ON FUNCTION utl_smtp.utl_smtp_validator(text[], oid) IS
'checks the options of servers and user mappings of the foreign-data wrapper utl_smtp; called by PostgreSQL';

CREATE FOREIGN DATA WRAPPER utl_smtp VALIDATOR utl_smtp.utl_smtp_validator;
COMMENT ON FOREIGN DATA WRAPPER utl_smtp IS 'mail servers: their addresses, and in user mappings their credentials';

CREATE FUNCTION utl_smtp.connect(server text, tx_timeout integer = NULL) RETURNS utl_smtp.connection
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'connect_wrapper';
COMMENT ON FUNCTION utl_smtp.connect(text, integer) IS
'connects to a mail server that was created with CREATE SERVER and makes the connection ready for mail: EHLO, STARTTLS, EHLO again, and AUTH by the role''s user mapping; tx_timeout in seconds limits each command (NULL: as the server''s option timeout says)';

CREATE FUNCTION utl_smtp.set_credential(c utl_smtp.connection, credential text, schemes text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'set_credential_wrapper';
COMMENT ON FUNCTION utl_smtp.set_credential(utl_smtp.connection, text, text) IS
'AUTH by the role''s user mapping of the mail server named credential, on an encrypted connection to that server; schemes is a space-separated list (NULL: those that fit the mapping) (RFC 4954)';


-- A whole message

CREATE FUNCTION utl_smtp.send_message(
    c utl_smtp.connection,
    sender text,
    recipients text[],
    message text,
    parameters text = NULL
) RETURNS TABLE (recipient text, code integer, text text)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'send_message_wrapper';
COMMENT ON FUNCTION utl_smtp.send_message(utl_smtp.connection, text, text[], text, text) IS
'sends a whole message, headers and body, to all recipients, with commands in groups if the server offers PIPELINING; one row for each recipient with the reply that decided, an error only if nobody got the message; parameters are those of MAIL (RFC 5321 section 3.3, RFC 2920)';

CREATE FUNCTION utl_smtp.send_message(
    c utl_smtp.connection,
    sender text,
    recipients text[],
    message bytea,
    parameters text = NULL
) RETURNS TABLE (recipient text, code integer, text text)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'send_raw_message_wrapper';
COMMENT ON FUNCTION utl_smtp.send_message(utl_smtp.connection, text, text[], bytea, text) IS
'sends a whole message as it is, but for line endings, which become CRLF, and leading dots, which are doubled; all else as with a message of type text';


-- pg_dump takes the names of roles as text, from a table of its own.

CREATE TABLE utl_smtp.host_ace_dump (
    acl text,
    host text,
    lower_port integer,
    upper_port integer,
    ace_order integer,
    principal text,
    privilege text,
    grant_type text,
    start_date timestamp with time zone,
    end_date timestamp with time zone
);
ALTER TABLE utl_smtp.host_ace_dump REPLICA IDENTITY FULL;
REVOKE ALL ON TABLE utl_smtp.host_ace_dump FROM PUBLIC;
COMMENT ON TABLE utl_smtp.host_ace_dump IS
'the entries of host_ace and acl_ace on their way through a dump; after a restore those of roles that do not exist';
COMMENT ON COLUMN utl_smtp.host_ace_dump.acl IS 'the list of an entry of acl_ace; NULL: an entry of host_ace';
COMMENT ON COLUMN utl_smtp.host_ace_dump.host IS 'as in utl_smtp.host_ace; NULL: an entry of acl_ace';
COMMENT ON COLUMN utl_smtp.host_ace_dump.lower_port IS 'as in utl_smtp.host_ace';
COMMENT ON COLUMN utl_smtp.host_ace_dump.upper_port IS 'as in utl_smtp.host_ace';
COMMENT ON COLUMN utl_smtp.host_ace_dump.ace_order IS 'as in utl_smtp.host_ace';
COMMENT ON COLUMN utl_smtp.host_ace_dump.principal IS 'name of the role; public, which no role can be called, is PUBLIC';
COMMENT ON COLUMN utl_smtp.host_ace_dump.privilege IS 'as in utl_smtp.host_ace';
COMMENT ON COLUMN utl_smtp.host_ace_dump.grant_type IS 'as in utl_smtp.host_ace';
COMMENT ON COLUMN utl_smtp.host_ace_dump.start_date IS 'as in utl_smtp.host_ace';
COMMENT ON COLUMN utl_smtp.host_ace_dump.end_date IS 'as in utl_smtp.host_ace';

-- pg_dump appends this to "SELECT columns FROM utl_smtp.host_ace_dump". Entries of dropped roles
-- are left out.
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.host_ace_dump', $condition$UNION ALL
SELECT NULL, ace.host, ace.lower_port, ace.upper_port, ace.ace_order,
       CASE WHEN ace.principal = 0 THEN 'public' ELSE role.rolname END,
       ace.privilege, ace.grant_type, ace.start_date, ace.end_date
FROM utl_smtp.host_ace AS ace LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = ace.principal
WHERE ace.principal = 0 OR role.oid IS NOT NULL
UNION ALL
SELECT ace.acl, NULL, NULL, NULL, ace.ace_order,
       CASE WHEN ace.principal = 0 THEN 'public' ELSE role.rolname END,
       ace.privilege, ace.grant_type, ace.start_date, ace.end_date
FROM utl_smtp.acl_ace AS ace LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = ace.principal
WHERE ace.principal = 0 OR role.oid IS NOT NULL$condition$);
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.host_ace', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.acl_ace', 'WHERE false');

CREATE FUNCTION utl_smtp.host_ace_restore() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT dumped.principal, count(*) AS entries,
               string_agg(DISTINCT coalesce(dumped.host, dumped.acl), ', ') AS places
        FROM utl_smtp.host_ace_dump AS dumped
        WHERE dumped.principal <> 'public'
          AND NOT EXISTS (SELECT FROM pg_roles AS role WHERE role.rolname = dumped.principal)
        GROUP BY dumped.principal
        ORDER BY dumped.principal
    LOOP
        RAISE WARNING USING
            MESSAGE = format('role "%s" does not exist, its access control entries are not restored: %s',
                             missing.principal, missing.entries),
            DETAIL = format('They are for %s.', missing.places),
            HINT = 'Create the role, then call utl_smtp.host_ace_restore(); or delete them from utl_smtp.host_ace_dump.';
    END LOOP;

    WITH restored AS (
        DELETE FROM utl_smtp.host_ace_dump AS dumped
        WHERE dumped.principal = 'public'
           OR EXISTS (SELECT FROM pg_roles AS role WHERE role.rolname = dumped.principal)
        RETURNING dumped.*, coalesce((SELECT role.oid FROM pg_roles AS role
                                      WHERE role.rolname = dumped.principal), 0)::regrole AS role
    ), listed AS (
        INSERT INTO utl_smtp.acl_ace (acl, ace_order, principal, privilege, grant_type, start_date, end_date)
        SELECT entry.acl, entry.ace_order, entry.role, entry.privilege, entry.grant_type,
               entry.start_date, entry.end_date
        FROM restored AS entry
        WHERE entry.acl IS NOT NULL
    )
    INSERT INTO utl_smtp.host_ace (host, lower_port, upper_port, ace_order, principal, privilege,
                                   grant_type, start_date, end_date)
    SELECT entry.host, entry.lower_port, entry.upper_port, entry.ace_order, entry.role, entry.privilege,
           entry.grant_type, entry.start_date, entry.end_date
    FROM restored AS entry
    WHERE entry.acl IS NULL;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.host_ace_restore() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.host_ace_restore() IS
'moves the rows of host_ace_dump to host_ace and acl_ace; a warning names each role that does not exist. Call it when the roles have been created, or after a restore with triggers disabled';

CREATE FUNCTION utl_smtp.host_ace_restore_at_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM utl_smtp.host_ace_restore();
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.host_ace_restore_at_once() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.host_ace_restore_at_once() IS
'trigger of host_ace_dump: calls host_ace_restore';

CREATE TRIGGER restore_at_once AFTER INSERT ON utl_smtp.host_ace_dump
    FOR EACH STATEMENT EXECUTE FUNCTION utl_smtp.host_ace_restore_at_once();
COMMENT ON TRIGGER restore_at_once ON utl_smtp.host_ace_dump IS
'moves what a restore inserts';

-- Token endpoints

COMMENT ON COLUMN utl_smtp.host_ace.privilege IS
'connect or smtp: hold a conversation; connect or http: fetch access tokens from a token endpoint; use_client_certificates: show the wallet''s client certificate; resolve, http_proxy, jdwp and use_passwords are kept for Oracle''s scripts and allow nothing';


-- The queue and its delivery.

-- The queue: messages whose transactions are committed, or will be, with their recipients and content.
--
-- A message is written at one moment, by the library: one row here, one for each recipient, one for each piece of the content.
-- A recipient's row goes when his mail is final, into utl_smtp.delivery_log; with the last of them the message and its content
-- go, too. So these tables hold only what is still to be done. Nothing is granted on them, and there are no foreign keys: the
-- worker judges each row anew, and a row that makes no sense becomes a failed one.

CREATE SEQUENCE utl_smtp.message_id AS bigint;
REVOKE ALL ON SEQUENCE utl_smtp.message_id FROM PUBLIC;
COMMENT ON SEQUENCE utl_smtp.message_id IS 'numbers of messages';

CREATE TABLE utl_smtp.message (
    message_id bigint NOT NULL CONSTRAINT message_key PRIMARY KEY,
    server oid NOT NULL,
    server_name text NOT NULL,
    owner oid NOT NULL,
    owner_name text NOT NULL,
    sender text NOT NULL,
    parameters text NOT NULL,
    subject text,
    size bigint NOT NULL,
    at_most_once boolean NOT NULL,
    home text COLLATE "C" NOT NULL,
    submitted_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL,
    next_attempt_at timestamp with time zone NOT NULL,
    last_attempt_at timestamp with time zone,
    lease bigint,
    crashes smallint NOT NULL DEFAULT 0,
    held_reason text
)
-- Most rows live for less than a second, and their dead versions are what a claim walks over.
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What a server gets next.
CREATE INDEX message_due ON utl_smtp.message (server, next_attempt_at, message_id)
    WHERE lease IS NULL AND held_reason IS NULL;
-- What was in flight when a worker ended.
CREATE INDEX message_leased ON utl_smtp.message (message_id) WHERE lease IS NOT NULL;
-- What was in flight at a crash, and is tried one at a time.
CREATE INDEX message_crashed ON utl_smtp.message (next_attempt_at, message_id)
    WHERE crashes > 0 AND lease IS NULL AND held_reason IS NULL;

REVOKE ALL ON TABLE utl_smtp.message FROM PUBLIC;
COMMENT ON TABLE utl_smtp.message IS 'messages that have recipients whose mail is not final yet';
COMMENT ON COLUMN utl_smtp.message.message_id IS 'what utl_smtp.submit returned';
COMMENT ON COLUMN utl_smtp.message.server IS 'OID of the foreign server';
COMMENT ON COLUMN utl_smtp.message.server_name IS 'its name when the message was queued';
COMMENT ON COLUMN utl_smtp.message.owner IS 'OID of the role that the message is sent for';
COMMENT ON COLUMN utl_smtp.message.owner_name IS 'its name when the message was queued';
COMMENT ON COLUMN utl_smtp.message.sender IS 'argument of MAIL FROM without the angle brackets; empty: the null reverse-path';
COMMENT ON COLUMN utl_smtp.message.parameters IS 'parameters of MAIL';
COMMENT ON COLUMN utl_smtp.message.subject IS 'the field Subject, decoded; NULL: there is none';
COMMENT ON COLUMN utl_smtp.message.size IS 'octets of the message as it goes over the wire, without transparency dots';
COMMENT ON COLUMN utl_smtp.message.at_most_once IS 'where the outcome of an attempt is not known, the mail is not sent again';
COMMENT ON COLUMN utl_smtp.message.home IS 'the installation that queued it: system identifier, OID of the database, data directory, timeline, utl_smtp.home';
COMMENT ON COLUMN utl_smtp.message.submitted_at IS 'when it was queued';
COMMENT ON COLUMN utl_smtp.message.due_at IS 'from when its age counts: the latest of submission, send_at and adoption';
COMMENT ON COLUMN utl_smtp.message.next_attempt_at IS 'the earliest of its recipients';
COMMENT ON COLUMN utl_smtp.message.last_attempt_at IS 'when it was last in a transaction with a server; NULL: never';
COMMENT ON COLUMN utl_smtp.message.lease IS 'the worker that has claimed it, a number that only grows; NULL: nobody';
COMMENT ON COLUMN utl_smtp.message.crashes IS 'how often a worker ended without a verdict on it';
COMMENT ON COLUMN utl_smtp.message.held_reason IS 'why it waits for an operator; NULL: it does not';

CREATE TABLE utl_smtp.message_recipient (
    message_id bigint NOT NULL,
    recipient_no integer NOT NULL,
    recipient text NOT NULL,
    parameters text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    last_attempt_at timestamp with time zone,
    next_attempt_at timestamp with time zone NOT NULL,
    last_reply text,
    CONSTRAINT message_recipient_key PRIMARY KEY (message_id, recipient_no)
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

REVOKE ALL ON TABLE utl_smtp.message_recipient FROM PUBLIC;
COMMENT ON TABLE utl_smtp.message_recipient IS 'recipients whose mail is not final yet';
COMMENT ON COLUMN utl_smtp.message_recipient.message_id IS 'the message';
COMMENT ON COLUMN utl_smtp.message_recipient.recipient_no IS 'counts from 1 within the message';
COMMENT ON COLUMN utl_smtp.message_recipient.recipient IS 'argument of RCPT TO without the angle brackets';
COMMENT ON COLUMN utl_smtp.message_recipient.parameters IS 'parameters of RCPT';
COMMENT ON COLUMN utl_smtp.message_recipient.attempts IS 'transactions that were tried';
COMMENT ON COLUMN utl_smtp.message_recipient.last_attempt_at IS 'when the last of them was; NULL: none';
COMMENT ON COLUMN utl_smtp.message_recipient.next_attempt_at IS 'not before this moment';
COMMENT ON COLUMN utl_smtp.message_recipient.last_reply IS 'what the last attempt was answered with, or why it failed';

CREATE TABLE utl_smtp.message_content (
    message_id bigint NOT NULL,
    piece_no integer NOT NULL,
    piece bytea NOT NULL,
    CONSTRAINT message_content_key PRIMARY KEY (message_id, piece_no)
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- Compression costs more than the rest of queueing, and base64 gains little by it.
ALTER TABLE utl_smtp.message_content ALTER COLUMN piece SET STORAGE EXTERNAL;

REVOKE ALL ON TABLE utl_smtp.message_content FROM PUBLIC;
COMMENT ON TABLE utl_smtp.message_content IS 'the content of messages, in pieces';
COMMENT ON COLUMN utl_smtp.message_content.message_id IS 'the message';
COMMENT ON COLUMN utl_smtp.message_content.piece_no IS 'counts from 1; the pieces in this order are the message';
COMMENT ON COLUMN utl_smtp.message_content.piece IS 'octets, at most 256 kB, with CRLF at the ends of lines and without transparency dots';

-- OIDs mean the same roles and servers within one cluster only. Rows reach others by logical replication.
CREATE FUNCTION utl_smtp.system_identifier() RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'system_identifier_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.system_identifier() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.system_identifier() IS 'what initdb named the cluster';

CREATE TABLE utl_smtp.delivery_log (
    message_id bigint NOT NULL,
    recipient_no integer NOT NULL,
    recipient text NOT NULL,
    state text NOT NULL,
    server oid NOT NULL,
    server_name text NOT NULL,
    owner oid NOT NULL,
    owner_name text NOT NULL,
    sender text NOT NULL,
    subject text,
    size bigint NOT NULL,
    submitted_at timestamp with time zone NOT NULL,
    attempts integer NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    last_reply text,
    remote text,
    cluster bigint NOT NULL DEFAULT utl_smtp.system_identifier(),
    CONSTRAINT delivery_log_key PRIMARY KEY (message_id, recipient_no),
    CONSTRAINT delivery_log_state_is_final
        CHECK (state IN ('sent', 'failed', 'suppressed', 'expired', 'cancelled', 'unknown'))
);
-- For retention and statistics; rows come in this order.
CREATE INDEX delivery_log_finished ON utl_smtp.delivery_log (finished_at);

REVOKE ALL ON TABLE utl_smtp.delivery_log FROM PUBLIC;
COMMENT ON TABLE utl_smtp.delivery_log IS 'recipients whose mail is final: one row for each, for ever the only one; kept for utl_smtp.log_retention';
COMMENT ON COLUMN utl_smtp.delivery_log.message_id IS 'the message';
COMMENT ON COLUMN utl_smtp.delivery_log.recipient_no IS 'counts from 1 within the message';
COMMENT ON COLUMN utl_smtp.delivery_log.recipient IS 'argument of RCPT TO without the angle brackets';
COMMENT ON COLUMN utl_smtp.delivery_log.state IS 'sent, failed, suppressed, expired, cancelled or unknown';
COMMENT ON COLUMN utl_smtp.delivery_log.server IS 'OID of the foreign server';
COMMENT ON COLUMN utl_smtp.delivery_log.server_name IS 'its name';
COMMENT ON COLUMN utl_smtp.delivery_log.owner IS 'OID of the role that the message was sent for';
COMMENT ON COLUMN utl_smtp.delivery_log.owner_name IS 'its name';
COMMENT ON COLUMN utl_smtp.delivery_log.sender IS 'argument of MAIL FROM without the angle brackets';
COMMENT ON COLUMN utl_smtp.delivery_log.subject IS 'the field Subject, decoded';
COMMENT ON COLUMN utl_smtp.delivery_log.size IS 'octets of the message';
COMMENT ON COLUMN utl_smtp.delivery_log.submitted_at IS 'when it was queued';
COMMENT ON COLUMN utl_smtp.delivery_log.attempts IS 'transactions that were tried';
COMMENT ON COLUMN utl_smtp.delivery_log.finished_at IS 'when the mail became final';
COMMENT ON COLUMN utl_smtp.delivery_log.last_reply IS 'what the last attempt was answered with, or why the mail is final';
COMMENT ON COLUMN utl_smtp.delivery_log.remote IS 'host[address]:port of the server that was talked to; NULL: none';
COMMENT ON COLUMN utl_smtp.delivery_log.cluster IS 'system identifier of the cluster that the OIDs are of';


-- What the worker of this database and the operators tell one another. One row.

CREATE TABLE utl_smtp.delivery_control (
    only_row boolean NOT NULL DEFAULT true CONSTRAINT delivery_control_key PRIMARY KEY
        CONSTRAINT delivery_control_has_one_row CHECK (only_row),
    enabled boolean NOT NULL DEFAULT true,
    pushed_at timestamp with time zone,
    lease bigint NOT NULL DEFAULT 0,
    home text COLLATE "C"
);
INSERT INTO utl_smtp.delivery_control DEFAULT VALUES;
REVOKE ALL ON TABLE utl_smtp.delivery_control FROM PUBLIC;
COMMENT ON TABLE utl_smtp.delivery_control IS 'one row: how delivery is controlled in this database; not dumped';
COMMENT ON COLUMN utl_smtp.delivery_control.only_row IS 'always true';
COMMENT ON COLUMN utl_smtp.delivery_control.enabled IS 'false: stop_delivery() was called';
COMMENT ON COLUMN utl_smtp.delivery_control.pushed_at IS 'when push_queue() was last called';
COMMENT ON COLUMN utl_smtp.delivery_control.lease IS 'the number of the last worker that was started';
COMMENT ON COLUMN utl_smtp.delivery_control.home IS 'the installation that the last worker ran in';

CREATE TABLE utl_smtp.adopted_home (
    home text COLLATE "C" NOT NULL,
    adopted text COLLATE "C" NOT NULL,
    CONSTRAINT adopted_home_key PRIMARY KEY (home, adopted)
);
REVOKE ALL ON TABLE utl_smtp.adopted_home FROM PUBLIC;
COMMENT ON TABLE utl_smtp.adopted_home IS 'whose mail an installation sends besides its own: after a failover or adopt_queue(true)';
COMMENT ON COLUMN utl_smtp.adopted_home.home IS 'the installation that sends; in another one the row says nothing';
COMMENT ON COLUMN utl_smtp.adopted_home.adopted IS 'the installation that queued';

CREATE TABLE utl_smtp.server_state (
    server oid NOT NULL CONSTRAINT server_state_key PRIMARY KEY,
    state text NOT NULL,
    until timestamp with time zone,
    connections integer NOT NULL,
    last_error text,
    last_error_at timestamp with time zone
);
REVOKE ALL ON TABLE utl_smtp.server_state FROM PUBLIC;
COMMENT ON TABLE utl_smtp.server_state IS 'what the worker knows of each mail server, written when it changes and at most once a second; not dumped';
COMMENT ON COLUMN utl_smtp.server_state.server IS 'OID of the foreign server';
COMMENT ON COLUMN utl_smtp.server_state.state IS 'ok, backed off, paused or limited';
COMMENT ON COLUMN utl_smtp.server_state.until IS 'when a back-off or a limit ends';
COMMENT ON COLUMN utl_smtp.server_state.connections IS 'connections of the worker';
COMMENT ON COLUMN utl_smtp.server_state.last_error IS 'why the server could not be used last';
COMMENT ON COLUMN utl_smtp.server_state.last_error_at IS 'when that was';

CREATE TABLE utl_smtp.worker_state (
    only_row boolean NOT NULL DEFAULT true CONSTRAINT worker_state_key PRIMARY KEY
        CONSTRAINT worker_state_has_one_row CHECK (only_row),
    pid integer,
    state text,
    since timestamp with time zone,
    connections integer,
    queued bigint,
    deferred bigint,
    held bigint,
    counted_at timestamp with time zone,
    last_error text
);
INSERT INTO utl_smtp.worker_state DEFAULT VALUES;
REVOKE ALL ON TABLE utl_smtp.worker_state FROM PUBLIC;
COMMENT ON TABLE utl_smtp.worker_state IS 'one row: what the worker of this database last said of itself; not dumped';
COMMENT ON COLUMN utl_smtp.worker_state.only_row IS 'always true';
COMMENT ON COLUMN utl_smtp.worker_state.pid IS 'its process';
COMMENT ON COLUMN utl_smtp.worker_state.state IS 'running or idle';
COMMENT ON COLUMN utl_smtp.worker_state.since IS 'when that began';
COMMENT ON COLUMN utl_smtp.worker_state.connections IS 'connections to mail servers';
COMMENT ON COLUMN utl_smtp.worker_state.queued IS 'recipients that wait for their first attempt';
COMMENT ON COLUMN utl_smtp.worker_state.deferred IS 'recipients that wait for another attempt';
COMMENT ON COLUMN utl_smtp.worker_state.held IS 'recipients that wait for an operator';
COMMENT ON COLUMN utl_smtp.worker_state.counted_at IS 'when the three were counted';
COMMENT ON COLUMN utl_smtp.worker_state.last_error IS 'the last error of the worker itself';

CREATE TABLE utl_smtp.delivery_pause (
    server oid NOT NULL,
    began_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT delivery_pause_key PRIMARY KEY (server, began_at)
);
REVOKE ALL ON TABLE utl_smtp.delivery_pause FROM PUBLIC;
COMMENT ON TABLE utl_smtp.delivery_pause IS 'times in which mail did not age: its server was paused, or delivery was stopped or off';
COMMENT ON COLUMN utl_smtp.delivery_pause.server IS 'OID of the foreign server; 0: all of them';
COMMENT ON COLUMN utl_smtp.delivery_pause.began_at IS 'when it began';
COMMENT ON COLUMN utl_smtp.delivery_pause.ended_at IS 'when it ended; NULL: it has not';

SELECT pg_catalog.pg_extension_config_dump('utl_smtp.message_id', '');
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.message', '');
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.message_recipient', '');
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.message_content', '');
-- Queueing mail: what is committed is sent, what is rolled back never existed.

CREATE FUNCTION utl_smtp.submit(
    server text,
    sender text,
    recipients text[],
    message text,
    send_at timestamp with time zone = NULL,
    at_most_once boolean = false
) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'submit_wrapper';
COMMENT ON FUNCTION utl_smtp.submit(text, text, text[], text, timestamp with time zone, boolean) IS
'queues a whole message, headers and body, for a mail server that was created with CREATE SERVER, and returns its number; it is sent after the transaction has committed, not before send_at; at_most_once: where the outcome of an attempt is not known, it is not sent again';

CREATE FUNCTION utl_smtp.submit(
    server text,
    sender text,
    recipients text[],
    message bytea,
    send_at timestamp with time zone = NULL,
    at_most_once boolean = false
) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'submit_raw_wrapper';
COMMENT ON FUNCTION utl_smtp.submit(text, text, text[], bytea, timestamp with time zone, boolean) IS
'queues a whole message as it is, but for line endings, which become CRLF; all else as with a message of type text';
-- Watching the queue, and what operators do with it.
--
-- The views stand on functions of the library that return what the reader may see and nothing else: the rows of others must
-- not enter a plan of his, where EXPLAIN ANALYZE counts what a filter removes and leakproof comparisons are done below a
-- security barrier. Conditions on message_id, and on finished_at in the log, become arguments of the functions: there are
-- indexes for them.

CREATE FUNCTION utl_smtp.view_support(request internal) RETURNS internal
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'view_support_wrapper';
COMMENT ON FUNCTION utl_smtp.view_support(internal) IS
'planner support function: conditions of queries on utl_smtp.mail_queue and utl_smtp.mail_log become arguments of the functions below them';

CREATE FUNCTION utl_smtp.view_mail_queue(of_message bigint) RETURNS TABLE (
    message_id bigint,
    recipient_no integer,
    recipient text,
    state text,
    held_reason text,
    server text,
    owner text,
    sender text,
    subject text,
    size bigint,
    submitted_at timestamp with time zone,
    attempts integer,
    last_attempt_at timestamp with time zone,
    next_attempt_at timestamp with time zone,
    last_reply text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SUPPORT utl_smtp.view_support
AS 'MODULE_PATHNAME', 'view_mail_queue_wrapper';
COMMENT ON FUNCTION utl_smtp.view_mail_queue(bigint) IS
'the rows of utl_smtp.mail_queue that the current role may see; NULL: no condition';

CREATE VIEW utl_smtp.mail_queue WITH (security_barrier) AS
    SELECT queue.message_id,
           queue.recipient_no,
           queue.recipient,
           queue.state,
           queue.held_reason,
           queue.server,
           queue.owner,
           queue.sender,
           queue.subject,
           queue.size,
           queue.submitted_at,
           queue.attempts,
           queue.last_attempt_at,
           queue.next_attempt_at,
           queue.last_reply
    FROM utl_smtp.view_mail_queue(NULL) AS queue;

REVOKE ALL ON TABLE utl_smtp.mail_queue FROM PUBLIC;
GRANT SELECT ON TABLE utl_smtp.mail_queue TO PUBLIC;
COMMENT ON VIEW utl_smtp.mail_queue IS
'the recipients whose mail is not final yet, of messages of roles whose privileges the current role has; members of pg_read_all_stats see all without addresses, subjects and the texts of replies';
COMMENT ON COLUMN utl_smtp.mail_queue.message_id IS 'what utl_smtp.submit returned';
COMMENT ON COLUMN utl_smtp.mail_queue.recipient_no IS 'counts from 1 within the message';
COMMENT ON COLUMN utl_smtp.mail_queue.recipient IS 'address of the recipient';
COMMENT ON COLUMN utl_smtp.mail_queue.state IS 'queued: waits for its first attempt; sending: claimed by the worker; deferred: failed for now; held: waits for an operator';
COMMENT ON COLUMN utl_smtp.mail_queue.held_reason IS 'copy: another installation queued it, see utl_smtp.adopt_queue; crashed: it was in flight at three crashes, see utl_smtp.retry; NULL: it is not held';
COMMENT ON COLUMN utl_smtp.mail_queue.server IS 'name of the mail server';
COMMENT ON COLUMN utl_smtp.mail_queue.owner IS 'the role that the message is sent for';
COMMENT ON COLUMN utl_smtp.mail_queue.sender IS 'address of the envelope''s sender; empty: the null sender';
COMMENT ON COLUMN utl_smtp.mail_queue.subject IS 'the field Subject, decoded; NULL: there is none';
COMMENT ON COLUMN utl_smtp.mail_queue.size IS 'octets of the message';
COMMENT ON COLUMN utl_smtp.mail_queue.submitted_at IS 'when it was queued';
COMMENT ON COLUMN utl_smtp.mail_queue.attempts IS 'transactions that were tried';
COMMENT ON COLUMN utl_smtp.mail_queue.last_attempt_at IS 'when the last of them was; NULL: none';
COMMENT ON COLUMN utl_smtp.mail_queue.next_attempt_at IS 'not before this moment; NULL: it is held';
COMMENT ON COLUMN utl_smtp.mail_queue.last_reply IS 'what the last attempt was answered with, or why it failed';


CREATE FUNCTION utl_smtp.view_mail_log(
    of_message bigint,
    since timestamp with time zone,
    until timestamp with time zone
) RETURNS TABLE (
    message_id bigint,
    recipient_no integer,
    recipient text,
    state text,
    server text,
    owner text,
    sender text,
    subject text,
    size bigint,
    submitted_at timestamp with time zone,
    attempts integer,
    finished_at timestamp with time zone,
    last_reply text,
    remote text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SUPPORT utl_smtp.view_support
AS 'MODULE_PATHNAME', 'view_mail_log_wrapper';
COMMENT ON FUNCTION utl_smtp.view_mail_log(bigint, timestamp with time zone, timestamp with time zone) IS
'the rows of utl_smtp.mail_log that the current role may see; NULL: no condition';

CREATE VIEW utl_smtp.mail_log WITH (security_barrier) AS
    SELECT log.message_id,
           log.recipient_no,
           log.recipient,
           log.state,
           log.server,
           log.owner,
           log.sender,
           log.subject,
           log.size,
           log.submitted_at,
           log.attempts,
           log.finished_at,
           log.last_reply,
           log.remote
    FROM utl_smtp.view_mail_log(NULL, NULL, NULL) AS log;

REVOKE ALL ON TABLE utl_smtp.mail_log FROM PUBLIC;
GRANT SELECT ON TABLE utl_smtp.mail_log TO PUBLIC;
COMMENT ON VIEW utl_smtp.mail_log IS
'the recipients whose mail is final, for utl_smtp.log_retention; who sees what is as with utl_smtp.mail_queue';
COMMENT ON COLUMN utl_smtp.mail_log.message_id IS 'what utl_smtp.submit returned';
COMMENT ON COLUMN utl_smtp.mail_log.recipient_no IS 'counts from 1 within the message';
COMMENT ON COLUMN utl_smtp.mail_log.recipient IS 'address of the recipient';
COMMENT ON COLUMN utl_smtp.mail_log.state IS 'sent, failed, suppressed, expired, cancelled or unknown';
COMMENT ON COLUMN utl_smtp.mail_log.server IS 'name of the mail server';
COMMENT ON COLUMN utl_smtp.mail_log.owner IS 'the role that the message was sent for';
COMMENT ON COLUMN utl_smtp.mail_log.sender IS 'address of the envelope''s sender; empty: the null sender';
COMMENT ON COLUMN utl_smtp.mail_log.subject IS 'the field Subject, decoded; NULL: there was none';
COMMENT ON COLUMN utl_smtp.mail_log.size IS 'octets of the message';
COMMENT ON COLUMN utl_smtp.mail_log.submitted_at IS 'when it was queued';
COMMENT ON COLUMN utl_smtp.mail_log.attempts IS 'transactions that were tried';
COMMENT ON COLUMN utl_smtp.mail_log.finished_at IS 'when the mail became final';
COMMENT ON COLUMN utl_smtp.mail_log.last_reply IS 'what the last attempt was answered with, or why the mail is final';
COMMENT ON COLUMN utl_smtp.mail_log.remote IS 'host[address]:port of the server that was talked to; NULL: none';


CREATE FUNCTION utl_smtp.view_server_status() RETURNS TABLE (
    server text,
    state text,
    until timestamp with time zone,
    waiting bigint,
    connections integer,
    last_error text,
    last_error_at timestamp with time zone
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'view_server_status_wrapper';
COMMENT ON FUNCTION utl_smtp.view_server_status() IS 'the rows of utl_smtp.server_status that the current role may see';

CREATE VIEW utl_smtp.server_status WITH (security_barrier) AS
    SELECT status.server,
           status.state,
           status.until,
           status.waiting,
           status.connections,
           status.last_error,
           status.last_error_at
    FROM utl_smtp.view_server_status() AS status;

REVOKE ALL ON TABLE utl_smtp.server_status FROM PUBLIC;
GRANT SELECT ON TABLE utl_smtp.server_status TO PUBLIC;
COMMENT ON VIEW utl_smtp.server_status IS 'the mail servers that the current role has USAGE on, as the worker sees them';
COMMENT ON COLUMN utl_smtp.server_status.server IS 'name of the mail server';
COMMENT ON COLUMN utl_smtp.server_status.state IS 'ok; backed off: it could not be used; paused: by its option; limited: by its limits of messages and recipients';
COMMENT ON COLUMN utl_smtp.server_status.until IS 'when a back-off or a limit ends';
COMMENT ON COLUMN utl_smtp.server_status.waiting IS 'recipients of all roles whose mail is queued, deferred or being sent';
COMMENT ON COLUMN utl_smtp.server_status.connections IS 'open connections of the worker';
COMMENT ON COLUMN utl_smtp.server_status.last_error IS 'why the server could not be used last; NULL: it always could';
COMMENT ON COLUMN utl_smtp.server_status.last_error_at IS 'when that was';


CREATE FUNCTION utl_smtp.delivery_status() RETURNS TABLE (
    database text,
    pid integer,
    state text,
    since timestamp with time zone,
    connections integer,
    queued bigint,
    deferred bigint,
    held bigint,
    last_error text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 1
AS 'MODULE_PATHNAME', 'delivery_status_wrapper';
COMMENT ON FUNCTION utl_smtp.delivery_status() IS
'one row about the delivery of this database: the worker''s process; state: running, idle, stopped (by stop_delivery), off (by utl_smtp.deliver), absent (there is no launcher; the next message starts one) or outdated (ALTER EXTENSION utl_smtp UPDATE); recipients that wait, exact to a minute; last_error is shown to superusers and members of pg_read_all_stats';

CREATE FUNCTION utl_smtp.delivery_stats(
    since timestamp with time zone = (pg_catalog.now() OPERATOR(pg_catalog.-) '1 day'::pg_catalog.interval)
) RETURNS TABLE (
    hour timestamp with time zone,
    server text,
    sent bigint,
    failed bigint,
    suppressed bigint,
    expired bigint,
    attempts bigint,
    bytes bigint,
    median_seconds double precision,
    p95_seconds double precision
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'delivery_stats_wrapper';
COMMENT ON FUNCTION utl_smtp.delivery_stats(timestamp with time zone) IS
'recipients that became final since then, by hour and server, of messages that the current role sees in utl_smtp.mail_log; bytes of what was sent, and the seconds from submission to acceptance';


-- What is done with messages. A claimed recipient is in the hands of the worker: nobody else touches it.

CREATE FUNCTION utl_smtp.cancel(message_id bigint) RETURNS integer
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cancel_wrapper';
COMMENT ON FUNCTION utl_smtp.cancel(bigint) IS
'cancels a message for the recipients that still wait, and returns how many they were; those that are being sent to go on. For the message''s owner';

CREATE FUNCTION utl_smtp.retry(message_id bigint) RETURNS integer
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'retry_wrapper';
COMMENT ON FUNCTION utl_smtp.retry(bigint) IS
'makes the deferred recipients of a message due now, and frees a message that is held because of crashes; returns how many recipients. For the message''s owner';

CREATE FUNCTION utl_smtp.push_queue() RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'push_queue_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.push_queue() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.push_queue() IS
'makes all deferred mail of this database due now and ends the back-off of its servers';

CREATE FUNCTION utl_smtp.adopt_queue(send boolean) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'adopt_queue_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.adopt_queue(boolean) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.adopt_queue(boolean) IS
'what another installation has queued and a copy of it holds: true sends it from here, with servers and owners by their names, false cancels it; returns how many recipients';

CREATE FUNCTION utl_smtp.purge(before timestamp with time zone) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'purge_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.purge(timestamp with time zone) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.purge(timestamp with time zone) IS
'deletes what became final before a moment from the log, and returns how many recipients; utl_smtp.log_retention does so by itself';
-- Who gets no mail any more, and who may send in whose name.

CREATE FUNCTION utl_smtp.canonical_address(address text) RETURNS text
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'canonical_address_wrapper';
COMMENT ON FUNCTION utl_smtp.canonical_address(text) IS
'the one spelling under which the suppression list keeps an address: local part in NFC and lower case, domain as lower-case A-labels; NULL: it is no address';

CREATE TABLE utl_smtp.suppression (
    address text COLLATE "C" NOT NULL CONSTRAINT suppression_key PRIMARY KEY,
    reason text NOT NULL,
    reply text,
    message_id bigint,
    created_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
    last_hit_at timestamp with time zone,
    CONSTRAINT suppression_address_is_canonical
        CHECK (coalesce(address OPERATOR(pg_catalog.=) utl_smtp.canonical_address(address), false)),
    CONSTRAINT suppression_reason_is_known
        CHECK (reason IN ('hard bounce', 'soft bounce', 'manual', 'complaint', 'unsubscribe'))
);
REVOKE ALL ON TABLE utl_smtp.suppression FROM PUBLIC;
COMMENT ON TABLE utl_smtp.suppression IS 'addresses that queued mail is not sent to';
COMMENT ON COLUMN utl_smtp.suppression.address IS 'the address, as utl_smtp.canonical_address spells it';
COMMENT ON COLUMN utl_smtp.suppression.reason IS 'hard bounce or soft bounce, which were added by themselves; manual, complaint or unsubscribe';
COMMENT ON COLUMN utl_smtp.suppression.reply IS 'the reply that it was added for; NULL: it was added by hand';
COMMENT ON COLUMN utl_smtp.suppression.message_id IS 'the message that the reply was to; NULL: it was added by hand';
COMMENT ON COLUMN utl_smtp.suppression.created_at IS 'when it was added';
COMMENT ON COLUMN utl_smtp.suppression.last_hit_at IS 'when a mail was last not sent because of it; NULL: never';

-- The last final results of an address, as far as they are failures of its mailbox. The log can't be asked: it has no index
-- by address, which every mail would have to pay for.
CREATE TABLE utl_smtp.soft_bounce (
    address text COLLATE "C" NOT NULL CONSTRAINT soft_bounce_key PRIMARY KEY,
    failures integer NOT NULL,
    last_failure_at timestamp with time zone NOT NULL
);
REVOKE ALL ON TABLE utl_smtp.soft_bounce FROM PUBLIC;
COMMENT ON TABLE utl_smtp.soft_bounce IS 'addresses whose last final results were failures of the mailbox; not dumped';
COMMENT ON COLUMN utl_smtp.soft_bounce.address IS 'the address, as utl_smtp.canonical_address spells it';
COMMENT ON COLUMN utl_smtp.soft_bounce.failures IS 'how many in a row';
COMMENT ON COLUMN utl_smtp.soft_bounce.last_failure_at IS 'when the last of them was; they count for utl_smtp.log_retention';

CREATE FUNCTION utl_smtp.suppress(address text, reason text = 'manual') RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'suppress_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.suppress(text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.suppress(text, text) IS
'puts an address on the suppression list; reason is manual, complaint or unsubscribe, and replaces that of an address that is on it';

CREATE FUNCTION utl_smtp.unsuppress(address text) RETURNS boolean
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unsuppress_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.unsuppress(text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.unsuppress(text) IS
'takes an address off the suppression list; returns whether it was on it';

CREATE FUNCTION utl_smtp.is_suppressed(address text) RETURNS boolean
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'is_suppressed_wrapper';
COMMENT ON FUNCTION utl_smtp.is_suppressed(text) IS
'whether an address is on the suppression list, in any of its spellings';

SELECT pg_catalog.pg_extension_config_dump('utl_smtp.suppression', '');


-- Approved senders

CREATE FUNCTION utl_smtp.canonical_sender(sender text) RETURNS text
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'canonical_sender_wrapper';
COMMENT ON FUNCTION utl_smtp.canonical_sender(text) IS
'the one spelling of an address, of all addresses of a domain (*@example.com) or of all (*), under which approved_sender keeps it; an invalid one is an error';

CREATE TABLE utl_smtp.approved_sender (
    principal regrole NOT NULL,
    sender text COLLATE "C" NOT NULL,
    CONSTRAINT approved_sender_key PRIMARY KEY (sender, principal),
    CONSTRAINT approved_sender_sender_is_canonical
        CHECK (sender OPERATOR(pg_catalog.=) utl_smtp.canonical_sender(sender))
);
REVOKE ALL ON TABLE utl_smtp.approved_sender FROM PUBLIC;
COMMENT ON TABLE utl_smtp.approved_sender IS
'which role may send as which envelope sender, where utl_smtp.require_approved_sender is on';
COMMENT ON COLUMN utl_smtp.approved_sender.principal IS 'the role, of which membership counts; 0 (shown as -) is PUBLIC';
COMMENT ON COLUMN utl_smtp.approved_sender.sender IS 'an address, *@domain or *, as utl_smtp.canonical_sender spells it';

CREATE FUNCTION utl_smtp.approve_sender(principal text, sender text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'approve_sender_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.approve_sender(text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.approve_sender(text, text) IS
'lets a role, or PUBLIC, send as an address, as all of a domain (*@example.com) or as anybody (*), where utl_smtp.require_approved_sender is on';

CREATE FUNCTION utl_smtp.revoke_sender(principal text, sender text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'revoke_sender_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.revoke_sender(text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.revoke_sender(text, text) IS
'takes back what approve_sender allowed with the same arguments; what another entry allows stays allowed';


-- Approved senders in a dump, with the names of roles as text: see host_ace_dump.

CREATE TABLE utl_smtp.approved_sender_dump (
    principal text,
    sender text
);
ALTER TABLE utl_smtp.approved_sender_dump REPLICA IDENTITY FULL;
REVOKE ALL ON TABLE utl_smtp.approved_sender_dump FROM PUBLIC;
COMMENT ON TABLE utl_smtp.approved_sender_dump IS
'the rows of approved_sender on their way through a dump; after a restore those of roles that do not exist';
COMMENT ON COLUMN utl_smtp.approved_sender_dump.principal IS 'name of the role; public, which no role can be called, is PUBLIC';
COMMENT ON COLUMN utl_smtp.approved_sender_dump.sender IS 'as in utl_smtp.approved_sender';

SELECT pg_catalog.pg_extension_config_dump('utl_smtp.approved_sender_dump', $condition$UNION ALL
SELECT CASE WHEN approved.principal = 0 THEN 'public' ELSE role.rolname END, approved.sender
FROM utl_smtp.approved_sender AS approved LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = approved.principal
WHERE approved.principal = 0 OR role.oid IS NOT NULL$condition$);
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.approved_sender', 'WHERE false');

CREATE FUNCTION utl_smtp.approved_sender_restore() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT dumped.principal, string_agg(dumped.sender, ', ' ORDER BY dumped.sender) AS senders
        FROM utl_smtp.approved_sender_dump AS dumped
        WHERE dumped.principal <> 'public'
          AND NOT EXISTS (SELECT FROM pg_roles AS role WHERE role.rolname = dumped.principal)
        GROUP BY dumped.principal
        ORDER BY dumped.principal
    LOOP
        RAISE WARNING USING
            MESSAGE = format('role "%s" does not exist, its approved senders are not restored', missing.principal),
            DETAIL = format('They are %s.', missing.senders),
            HINT = 'Create the role, then call utl_smtp.approved_sender_restore(); or delete them from utl_smtp.approved_sender_dump.';
    END LOOP;

    WITH restored AS (
        DELETE FROM utl_smtp.approved_sender_dump AS dumped
        WHERE dumped.principal = 'public'
           OR EXISTS (SELECT FROM pg_roles AS role WHERE role.rolname = dumped.principal)
        RETURNING dumped.sender, coalesce((SELECT role.oid FROM pg_roles AS role
                                           WHERE role.rolname = dumped.principal), 0)::regrole AS role
    )
    INSERT INTO utl_smtp.approved_sender (principal, sender)
    SELECT restored.role, restored.sender
    FROM restored
    ON CONFLICT DO NOTHING;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.approved_sender_restore() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.approved_sender_restore() IS
'moves the rows of approved_sender_dump to approved_sender; a warning names each role that does not exist. Call it when the roles have been created, or after a restore with triggers disabled';

CREATE FUNCTION utl_smtp.approved_sender_restore_at_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM utl_smtp.approved_sender_restore();
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.approved_sender_restore_at_once() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.approved_sender_restore_at_once() IS
'trigger of approved_sender_dump: calls approved_sender_restore';

CREATE TRIGGER restore_at_once AFTER INSERT ON utl_smtp.approved_sender_dump
    FOR EACH STATEMENT EXECUTE FUNCTION utl_smtp.approved_sender_restore_at_once();
COMMENT ON TRIGGER restore_at_once ON utl_smtp.approved_sender_dump IS
'moves what a restore inserts';
-- Starting and stopping delivery.

CREATE FUNCTION utl_smtp.start_delivery() RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'start_delivery_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.start_delivery() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.start_delivery() IS
'ends what stop_delivery() began: mail of this database is sent, and ages; also starts the background worker that sends it where none runs';

CREATE FUNCTION utl_smtp.stop_delivery() RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'stop_delivery_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.stop_delivery() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.stop_delivery() IS
'from its commit on no mail of this database is sent, until start_delivery() is called; the queue goes on accepting mail, which does not age meanwhile';
-- DKIM: the keys that sign mail as it is sent, and the signature for a conversation.
--
-- No constraint names a value of this table: PostgreSQL would put the whole row, with the private key, into the error.

CREATE TABLE utl_smtp.dkim_key (
    domain text COLLATE "C" NOT NULL,
    selector text COLLATE "C" NOT NULL,
    private_key text NOT NULL,
    CONSTRAINT dkim_key_key PRIMARY KEY (domain, selector)
);
REVOKE ALL ON TABLE utl_smtp.dkim_key FROM PUBLIC;
COMMENT ON TABLE utl_smtp.dkim_key IS 'private keys for DKIM signatures; written by set_dkim_key and drop_dkim_key';
COMMENT ON COLUMN utl_smtp.dkim_key.domain IS 'the domain that signs, in lower case and A-labels';
COMMENT ON COLUMN utl_smtp.dkim_key.selector IS 'which key of the domain: its public part is published at selector._domainkey.domain';
COMMENT ON COLUMN utl_smtp.dkim_key.private_key IS 'PEM text: RSA of 2048 to 4096 bits, or Ed25519';

SELECT pg_catalog.pg_extension_config_dump('utl_smtp.dkim_key', '');

CREATE FUNCTION utl_smtp.set_dkim_key(domain text, selector text, private_key text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'set_dkim_key_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.set_dkim_key(text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.set_dkim_key(text, text, text) IS
'adds or replaces a key that signs mail from this domain: private_key is an RSA key of 2048 to 4096 bits or an Ed25519 key as PEM text, not encrypted; publish what utl_smtp.dkim_record returns before (RFC 6376, RFC 8463)';

CREATE FUNCTION utl_smtp.drop_dkim_key(domain text, selector text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'drop_dkim_key_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.drop_dkim_key(text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.drop_dkim_key(text, text) IS
'removes a key: it signs no more mail. Its record in DNS is needed for as long as mail that it signed is on its way';

CREATE FUNCTION utl_smtp.dkim_record(domain text, selector text) RETURNS text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dkim_record_wrapper';
COMMENT ON FUNCTION utl_smtp.dkim_record(text, text) IS
'the TXT record to publish at selector._domainkey.domain: the public part of a key (RFC 6376 section 3.6.1, RFC 8463)';

CREATE FUNCTION utl_smtp.dkim_sign(message bytea, domain text) RETURNS bytea
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dkim_sign_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.dkim_sign(bytea, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.dkim_sign(bytea, text) IS
'a whole message with a DKIM-Signature field in front of it for each key of the domain; send it octet by octet as it is (RFC 6376, RFC 8463)';
