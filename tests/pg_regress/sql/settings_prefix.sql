-- Nobody can invent a setting with the prefix of the extension. PostgreSQL 14 does not reserve prefixes
-- (settings_prefix_1.out).
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS utl_smtp;
CREATE ROLE regress_prefix_app;
RESET client_min_messages;
-- the library is loaded by the first call
SELECT utl_smtp.close_all_connections();
SET utl_smtp.no_such_setting = 1;
ALTER ROLE regress_prefix_app SET utl_smtp.no_such_setting = 1;
DROP ROLE regress_prefix_app;
