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


-- The routines. Those that write lock first, then look: a list that was there before the lock was
-- granted may be gone.

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
REVOKE ALL ON FUNCTION dbms_network_acl_admin.unassign_acl(text, text, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION dbms_network_acl_admin.unassign_acl(text, text, integer, integer) IS
'takes a named list from a host; acl NULL: whichever it has, host NULL: from every host';

CREATE FUNCTION dbms_network_acl_admin.drop_acl(acl text) RETURNS void
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
