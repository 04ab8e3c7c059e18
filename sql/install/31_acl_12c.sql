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
