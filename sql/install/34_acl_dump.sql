-- Access control entries in a dump, with the names of roles as text.
--
-- A column of type regrole makes the whole COPY of a table fail when one role is missing where the
-- dump is restored. So pg_dump takes no rows from host_ace and acl_ace. It takes them, with current
-- names, by the condition of another table, and at the restore a trigger of this table moves them
-- where they belong. Entries of missing roles stay in it. A dump made by version 0.1.0 has the rows
-- of host_ace and acl_ace themselves, which can still be restored.

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
