-- From 0.1.0 to 0.2.0: whatever changed in sql/install, as statements that change it.
\echo Use "ALTER EXTENSION utl_smtp UPDATE TO '0.2.0'" to load this file. \quit


-- The look-up in the list is done in the library.

CREATE OR REPLACE FUNCTION utl_smtp.host_access(candidates text[], port integer, role oid, privileges text[]) RETURNS text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'host_access_wrapper';

-- It has no plan that statistics could make worse.
DROP TRIGGER keep_plans_right_on_insert ON utl_smtp.host_ace;
DROP FUNCTION utl_smtp.host_ace_keep_plans_right();
