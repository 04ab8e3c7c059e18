-- From 0.2.0 to 0.3.0: whatever changed in sql/install, as statements that change it.
\echo Use "ALTER EXTENSION utl_smtp UPDATE TO '0.3.0'" to load this file. \quit

ALTER TABLE utl_smtp.delivery_control DROP COLUMN lease, DROP COLUMN home;
COMMENT ON COLUMN utl_smtp.message.lease IS 'the worker that has claimed it, a random number; NULL: nobody';
