-- DKIM: the keys that sign mail as it is sent, and the signature for a conversation.
--
-- No constraint names a value of this table: PostgreSQL would put the whole row, with the private key, into the error.

CREATE TABLE utl_smtp.dkim_key (
    domain text COLLATE "C" NOT NULL,
    selector text COLLATE "C" NOT NULL,
    private_key text NOT NULL,
    CONSTRAINT dkim_key_key PRIMARY KEY (domain, selector)
);
REVOKE ALL ON TABLE utl_smtp.dkim_key FROM PUBLIC;
COMMENT ON TABLE utl_smtp.dkim_key IS 'private keys for DKIM signatures; written by set_dkim_key and drop_dkim_key';
COMMENT ON COLUMN utl_smtp.dkim_key.domain IS 'the domain that signs, in lower case and A-labels';
COMMENT ON COLUMN utl_smtp.dkim_key.selector IS 'which key of the domain: its public part is published at selector._domainkey.domain';
COMMENT ON COLUMN utl_smtp.dkim_key.private_key IS 'PEM text: RSA of 2048 to 4096 bits, or Ed25519';

SELECT pg_catalog.pg_extension_config_dump('utl_smtp.dkim_key', '');

CREATE FUNCTION utl_smtp.set_dkim_key(domain text, selector text, private_key text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'set_dkim_key_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.set_dkim_key(text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.set_dkim_key(text, text, text) IS
'adds or replaces a key that signs mail from this domain: private_key is an RSA key of 2048 to 4096 bits or an Ed25519 key as PEM text, not encrypted; publish what utl_smtp.dkim_record returns before (RFC 6376, RFC 8463)';

CREATE FUNCTION utl_smtp.drop_dkim_key(domain text, selector text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'drop_dkim_key_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.drop_dkim_key(text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.drop_dkim_key(text, text) IS
'removes a key: it signs no more mail. Its record in DNS is needed for as long as mail that it signed is on its way';

CREATE FUNCTION utl_smtp.dkim_record(domain text, selector text) RETURNS text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dkim_record_wrapper';
COMMENT ON FUNCTION utl_smtp.dkim_record(text, text) IS
'the TXT record to publish at selector._domainkey.domain: the public part of a key (RFC 6376 section 3.6.1, RFC 8463)';

CREATE FUNCTION utl_smtp.dkim_sign(message bytea, domain text) RETURNS bytea
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dkim_sign_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.dkim_sign(bytea, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.dkim_sign(bytea, text) IS
'a whole message with a DKIM-Signature field in front of it for each key of the domain; send it octet by octet as it is (RFC 6376, RFC 8463)';
