-- From 0.2.0 to 0.3.0: whatever changed in sql/utl_mail, as statements that change it.
\echo Use "ALTER EXTENSION utl_mail UPDATE TO '0.3.0'" to load this file. \quit
