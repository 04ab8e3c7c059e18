-- Mail servers as foreign servers: CREATE SERVER ... FOREIGN DATA WRAPPER utl_smtp. The wrapper has no handler, so there are
-- no foreign tables.

CREATE FUNCTION utl_smtp.utl_smtp_validator(options text[], catalog oid) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'utl_smtp_validator_wrapper';
COMMENT ON FUNCTION utl_smtp.utl_smtp_validator(text[], oid) IS
'checks the options of servers and user mappings of the foreign-data wrapper utl_smtp; called by PostgreSQL';

CREATE FOREIGN DATA WRAPPER utl_smtp VALIDATOR utl_smtp.utl_smtp_validator;
COMMENT ON FOREIGN DATA WRAPPER utl_smtp IS 'mail servers: their addresses, and in user mappings their credentials';

CREATE FUNCTION utl_smtp.connect(server text, tx_timeout integer = NULL) RETURNS utl_smtp.connection
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'connect_wrapper';
COMMENT ON FUNCTION utl_smtp.connect(text, integer) IS
'connects to a mail server that was created with CREATE SERVER and makes the connection ready for mail: EHLO, STARTTLS, EHLO again, and AUTH by the role''s user mapping; tx_timeout in seconds limits each command (NULL: as the server''s option timeout says)';

CREATE FUNCTION utl_smtp.set_credential(c utl_smtp.connection, credential text, schemes text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'set_credential_wrapper';
COMMENT ON FUNCTION utl_smtp.set_credential(utl_smtp.connection, text, text) IS
'AUTH by the role''s user mapping of the mail server named credential, on an encrypted connection to that server; schemes is a space-separated list (NULL: those that fit the mapping) (RFC 4954)';
