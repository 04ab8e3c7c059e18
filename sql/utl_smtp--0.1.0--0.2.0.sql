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
