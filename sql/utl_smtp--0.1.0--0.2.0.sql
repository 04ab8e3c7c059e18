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

-- include sql/install/40_queue.sql
-- include sql/install/41_delivery.sql
-- include sql/install/42_watch.sql
-- include sql/install/43_suppression.sql
-- include sql/install/44_workers.sql
-- include sql/install/50_dkim.sql
