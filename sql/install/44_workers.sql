-- Starting and stopping delivery.

CREATE FUNCTION utl_smtp.start_delivery() RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'start_delivery_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.start_delivery() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.start_delivery() IS
'ends what stop_delivery() began: mail of this database is sent, and ages; also starts the background worker that sends it where none runs';

CREATE FUNCTION utl_smtp.stop_delivery() RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'stop_delivery_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.stop_delivery() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.stop_delivery() IS
'from its commit on no mail of this database is sent, until start_delivery() is called; the queue goes on accepting mail, which does not age meanwhile';
