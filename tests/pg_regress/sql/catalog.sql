-- What CREATE EXTENSION makes: every object, who may use it, and that it says what it is for.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS utl_smtp;
RESET client_min_messages;
-- so that every name is shown with its schema
SET search_path = pg_catalog;
\pset format unaligned
\pset fieldsep ' | '
\pset footer off

-- PostgreSQL 17 counts the types that it makes itself, of arrays and of rows of tables, 16 doesn't
CREATE TEMP VIEW member AS
    SELECT d.classid, d.objid
    FROM pg_depend AS d
    JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'utl_smtp'
    LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
    LEFT JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND (t.typcategory = 'A' AND t.typtype <> 'd' OR c.relkind <> 'c') IS NOT TRUE;
CREATE TEMP VIEW routine AS
    SELECT p.*, l.lanname AS language,
           p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) AS a WHERE a.grantee = 0) AS public
    FROM member AS m
    JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    JOIN pg_language AS l ON l.oid = p.prolang;
CREATE TEMP VIEW relation AS
    SELECT c.*
    FROM member AS m
    JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid;

--
-- routines: as they are called
--
SELECT format('%s.%s(%s)', pronamespace::regnamespace, proname, pg_get_function_arguments(oid)) AS routine,
       pg_get_function_result(oid) AS returns
FROM routine
ORDER BY format('%s.%s(%s)', pronamespace::regnamespace, proname, pg_get_function_arguments(oid)) COLLATE "C";

--
-- routines: how they run, with whose rights, and who may call them
--
SELECT oid::regprocedure AS routine,
       language,
       CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' WHEN 'v' THEN 'volatile' END AS volatility,
       CASE proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' WHEN 'u' THEN 'unsafe' END AS parallel,
       CASE WHEN proisstrict THEN 'strict' ELSE 'called on null' END AS nulls,
       CASE WHEN prosecdef THEN 'definer' ELSE 'invoker' END AS rights,
       array_to_string(proconfig, '; ') AS settings,
       CASE WHEN public THEN 'PUBLIC' ELSE 'owner' END AS execute
FROM routine
ORDER BY oid::regprocedure::text COLLATE "C";

-- the conversation: with the caller's rights, never twice for the planner's sake, never in a parallel worker
SELECT oid::regprocedure AS exception
FROM routine
WHERE pronamespace::regnamespace::text = 'utl_smtp' AND language = 'c' AND proname NOT LIKE 'canonical\_%'
  AND (provolatile <> 'v' OR proparallel <> 'u' OR proisstrict OR prosecdef OR NOT public);
-- nothing runs with the owner's rights
SELECT oid::regprocedure AS definer FROM routine WHERE prosecdef;
-- names in a body mean what they meant when it was written
SELECT oid::regprocedure AS unpinned
FROM routine
WHERE language <> 'c' AND prosqlbody IS NULL
  AND coalesce(NOT 'search_path=pg_catalog, pg_temp' = ANY (proconfig), true);
-- no function may be called with rows that the caller must not see
SELECT oid::regprocedure AS leakproof FROM routine WHERE proleakproof;
-- nobody but PUBLIC and the owner is granted anything
SELECT r.oid::regprocedure AS routine, a.grantee, a.privilege_type
FROM routine AS r, aclexplode(r.proacl) AS a
WHERE a.grantee NOT IN (0, r.proowner) OR a.is_grantable AND a.grantee <> r.proowner;

--
-- schemas and types
--
SELECT n.nspname AS schema, string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS public
FROM member AS m
JOIN pg_namespace AS n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
LEFT JOIN aclexplode(n.nspacl) AS a ON a.grantee = 0
GROUP BY n.nspname
ORDER BY n.nspname COLLATE "C";

SELECT t.oid::regtype AS type,
       CASE t.typtype WHEN 'd' THEN 'domain over ' || format_type(t.typbasetype, t.typtypmod)
           ELSE (SELECT string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
                 FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
       END AS is
FROM member AS m
JOIN pg_type AS t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
ORDER BY t.oid::regtype::text COLLATE "C";

--
-- tables and views
--
SELECT r.oid::regclass AS relation,
       CASE r.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' ELSE r.relkind::text END AS kind,
       array_to_string(r.reloptions, ', ') AS options,
       CASE r.relreplident WHEN 'f' THEN 'full' WHEN 'd' THEN 'default' ELSE r.relreplident::text END AS identity,
       (SELECT string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) FROM aclexplode(r.relacl) AS a
        WHERE a.grantee = 0) AS public,
       (SELECT format('dumped %s', e.extcondition[array_position(e.extconfig, r.oid)])
        FROM pg_extension AS e WHERE e.extname = 'utl_smtp' AND r.oid = ANY (e.extconfig)) AS pg_dump
FROM relation AS r
ORDER BY r.oid::regclass::text COLLATE "C";

SELECT r.oid::regclass AS relation, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attnotnull THEN 'not null' END AS nulls,
       (SELECT c.collname FROM pg_collation AS c WHERE c.oid = a.attcollation AND c.collname <> 'default') AS collation
FROM relation AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY r.oid::regclass::text COLLATE "C", a.attnum;

-- PostgreSQL 18 names NOT NULL constraints too
SELECT c.conrelid::regclass AS relation, c.conname AS constraint, pg_get_constraintdef(c.oid) AS definition
FROM pg_constraint AS c
JOIN relation AS r ON r.oid = c.conrelid
WHERE c.contype <> 'n'
ORDER BY c.conrelid::regclass::text COLLATE "C", c.conname COLLATE "C";

SELECT pg_get_indexdef(i.indexrelid) AS index
FROM pg_index AS i
JOIN relation AS r ON r.oid = i.indrelid
ORDER BY i.indexrelid::regclass::text COLLATE "C";

SELECT pg_get_triggerdef(t.oid) AS trigger
FROM pg_trigger AS t
JOIN relation AS r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal
ORDER BY t.tgname COLLATE "C";

--
-- everything says what it is for
--
SELECT pg_describe_object(m.classid, m.objid, 0) AS without_a_comment
FROM member AS m
WHERE NOT EXISTS (
    SELECT FROM pg_description AS d
    WHERE d.classoid = m.classid AND d.objoid = m.objid AND d.objsubid = 0 AND d.description <> '')
ORDER BY 1;
SELECT obj_description(oid, 'pg_extension') <> '' AS has_a_comment FROM pg_extension WHERE extname = 'utl_smtp';
SELECT a.attrelid::regclass AS relation, a.attname AS without_a_comment
FROM pg_attribute AS a
WHERE a.attrelid IN (SELECT oid FROM relation
                     UNION ALL
                     SELECT t.typrelid FROM member AS m JOIN pg_type AS t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid)
  AND a.attnum > 0 AND NOT a.attisdropped
  AND col_description(a.attrelid, a.attnum) IS NULL;
SELECT t.tgname AS without_a_comment
FROM pg_trigger AS t
JOIN relation AS r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal AND obj_description(t.oid, 'pg_trigger') IS NULL;

--
-- and nothing of it outlives the extension
--
BEGIN;
DROP VIEW pg_temp.member, pg_temp.routine, pg_temp.relation;
CREATE TEMP TABLE schema AS
    SELECT d.objid::regnamespace::text AS name
    FROM pg_depend AS d
    JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'utl_smtp'
    WHERE d.classid = 'pg_namespace'::regclass AND d.deptype = 'e';
DROP EXTENSION utl_smtp;
SELECT count(*) AS schemas, count(to_regnamespace(name)) AS left_behind FROM schema;
ROLLBACK;
