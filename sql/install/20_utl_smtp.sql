-- The routines of UTL_SMTP, as the library implements them. Parameter names are Oracle's, so that named notation ports
-- unchanged. All are VOLATILE, PARALLEL UNSAFE and never STRICT, with the caller's rights, and PUBLIC may execute them:
-- utl_smtp.host_ace decides who may talk to whom.


-- Opening and closing

CREATE FUNCTION utl_smtp.open_connection(
    host text,
    port integer = 25,
    tx_timeout integer = NULL,
    wallet_path text = NULL,
    wallet_password text = NULL,
    secure_connection_before_smtp boolean = false,
    secure_host text = NULL
) RETURNS utl_smtp.connection
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'open_connection_wrapper';
COMMENT ON FUNCTION utl_smtp.open_connection(text, integer, integer, text, text, boolean, text) IS
'connects to an SMTP server and reads its greeting; tx_timeout in seconds limits each command (NULL: utl_smtp.default_timeout, 0: no waiting at all), wallet_path names the certificates trusted by TLS, secure_connection_before_smtp starts TLS at once (port 465), secure_host is the name that the server''s certificate must have if it is not host';

CREATE FUNCTION utl_smtp.open_connection_reply(
    host text,
    port integer = 25,
    tx_timeout integer = NULL,
    wallet_path text = NULL,
    wallet_password text = NULL,
    secure_connection_before_smtp boolean = false,
    secure_host text = NULL,
    OUT c utl_smtp.connection,
    OUT reply utl_smtp.reply
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'open_connection_reply_wrapper';
COMMENT ON FUNCTION utl_smtp.open_connection_reply(text, integer, integer, text, text, boolean, text) IS
'open_connection for callers who judge the greeting themselves: where the server can''t be reached or refuses, c is NULL and reply says why';

CREATE FUNCTION utl_smtp.quit(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'quit_wrapper';
COMMENT ON FUNCTION utl_smtp.quit(utl_smtp.connection) IS
'QUIT: ends the conversation and closes the connection, whatever the server says (RFC 5321 section 4.1.1.10)';

CREATE FUNCTION utl_smtp.close_connection(c utl_smtp.connection) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'close_connection_wrapper';
COMMENT ON FUNCTION utl_smtp.close_connection(utl_smtp.connection) IS
'closes a connection without QUIT; inside message data the message is given up. No error if it is closed already';

CREATE FUNCTION utl_smtp.close_all_connections() RETURNS integer
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'close_all_connections_wrapper';
COMMENT ON FUNCTION utl_smtp.close_all_connections() IS
'closes every connection of this session that the current role may use; returns how many';

CREATE FUNCTION utl_smtp.connections() RETURNS TABLE (
    handle bigint,
    host text,
    address inet,
    port integer,
    phase text,
    tls_version text,
    cipher text,
    peer_subject text,
    peer_not_after timestamp with time zone,
    authenticated_as text,
    auth_scheme text,
    capabilities text[],
    messages_sent bigint,
    bytes_sent bigint,
    bytes_received bigint,
    opened_at timestamp with time zone,
    last_reply text,
    c utl_smtp.connection,
    server text,
    delivery text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 16
AS 'MODULE_PATHNAME', 'connections_wrapper';
COMMENT ON FUNCTION utl_smtp.connections() IS
'the open connections of this session that the current role may use; c is the value that open_connection returned, server the name of the server that connect was called with';


-- The conversation

CREATE FUNCTION utl_smtp.command(c utl_smtp.connection, cmd text, arg text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'command_wrapper';
COMMENT ON FUNCTION utl_smtp.command(utl_smtp.connection, text, text) IS
'sends any command line and returns the last line of the reply (RFC 5321 section 4.1); STARTTLS, DATA, BDAT and QUIT have routines of their own';

CREATE FUNCTION utl_smtp.command_replies(c utl_smtp.connection, cmd text, arg text = NULL) RETURNS utl_smtp.replies
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'command_replies_wrapper';
COMMENT ON FUNCTION utl_smtp.command_replies(utl_smtp.connection, text, text) IS
'sends any command line and returns all lines of the reply, whatever it is';

CREATE FUNCTION utl_smtp.helo(c utl_smtp.connection, domain text) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'helo_wrapper';
COMMENT ON FUNCTION utl_smtp.helo(utl_smtp.connection, text) IS
'HELO: introduces this client by its domain name; NULL or '''' is this machine''s name (RFC 5321 section 4.1.1.1)';

CREATE FUNCTION utl_smtp.ehlo(c utl_smtp.connection, domain text) RETURNS utl_smtp.replies
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'ehlo_wrapper';
COMMENT ON FUNCTION utl_smtp.ehlo(utl_smtp.connection, text) IS
'EHLO: introduces this client by its domain name and returns what the server offers, one element a line; NULL or '''' is this machine''s name (RFC 5321 section 4.1.1.1)';

CREATE FUNCTION utl_smtp.starttls(c utl_smtp.connection, secure_host text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'starttls_wrapper';
COMMENT ON FUNCTION utl_smtp.starttls(utl_smtp.connection, text) IS
'STARTTLS: encrypts the connection and verifies the server''s certificate against the wallet given to open_connection; say EHLO again after it (RFC 3207)';

CREATE FUNCTION utl_smtp.auth(c utl_smtp.connection, username text, password text, schemes text = utl_smtp.non_cleartext_password_schemes()) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'auth_wrapper';
COMMENT ON FUNCTION utl_smtp.auth(utl_smtp.connection, text, text, text) IS
'AUTH: authenticates by the first of schemes, a space-separated list, that the server offers; for XOAUTH2 and OAUTHBEARER password is the access token (RFC 4954)';

CREATE FUNCTION utl_smtp.mail(c utl_smtp.connection, sender text, parameters text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mail_wrapper';
COMMENT ON FUNCTION utl_smtp.mail(utl_smtp.connection, text, text) IS
'MAIL FROM: begins a mail transaction; '''' or ''<>'' is the null sender (RFC 5321 section 4.1.1.2)';

CREATE FUNCTION utl_smtp.rcpt(c utl_smtp.connection, recipient text, parameters text = NULL) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'rcpt_wrapper';
COMMENT ON FUNCTION utl_smtp.rcpt(utl_smtp.connection, text, text) IS
'RCPT TO: names one recipient (RFC 5321 section 4.1.1.3)';

CREATE FUNCTION utl_smtp.rset(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'rset_wrapper';
COMMENT ON FUNCTION utl_smtp.rset(utl_smtp.connection) IS
'RSET: gives up the mail transaction (RFC 5321 section 4.1.1.5)';

CREATE FUNCTION utl_smtp.noop(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'noop_wrapper';
COMMENT ON FUNCTION utl_smtp.noop(utl_smtp.connection) IS
'NOOP: does nothing but be answered (RFC 5321 section 4.1.1.9)';

CREATE FUNCTION utl_smtp.vrfy(c utl_smtp.connection, recipient text) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'vrfy_wrapper';
COMMENT ON FUNCTION utl_smtp.vrfy(utl_smtp.connection, text) IS
'VRFY: asks whether a recipient is known; never raises, the reply is the caller''s to judge (RFC 5321 section 4.1.1.6)';

CREATE FUNCTION utl_smtp.help(c utl_smtp.connection, command text = NULL) RETURNS utl_smtp.replies
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'help_wrapper';
COMMENT ON FUNCTION utl_smtp.help(utl_smtp.connection, text) IS
'HELP: asks for help, perhaps about a command; never raises (RFC 5321 section 4.1.1.8)';


-- Message data

CREATE FUNCTION utl_smtp.data(c utl_smtp.connection, body text) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'data_wrapper';
COMMENT ON FUNCTION utl_smtp.data(utl_smtp.connection, text) IS
'DATA: sends a whole message, headers and body, and returns the reply to its end (RFC 5321 section 4.1.1.4)';

CREATE FUNCTION utl_smtp.open_data(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'open_data_wrapper';
COMMENT ON FUNCTION utl_smtp.open_data(utl_smtp.connection) IS
'DATA: begins message data; write_data and write_raw_data follow, close_data ends it';

CREATE FUNCTION utl_smtp.write_data(c utl_smtp.connection, data text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'write_data_wrapper';
COMMENT ON FUNCTION utl_smtp.write_data(utl_smtp.connection, text) IS
'sends a piece of the message as UTF-8; line endings become CRLF, leading dots are doubled';

CREATE FUNCTION utl_smtp.write_raw_data(c utl_smtp.connection, data bytea) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'write_raw_data_wrapper';
COMMENT ON FUNCTION utl_smtp.write_raw_data(utl_smtp.connection, bytea) IS
'sends a piece of the message as it is, but for line endings, which become CRLF, and leading dots, which are doubled';

CREATE FUNCTION utl_smtp.close_data(c utl_smtp.connection) RETURNS utl_smtp.reply
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'close_data_wrapper';
COMMENT ON FUNCTION utl_smtp.close_data(utl_smtp.connection) IS
'ends message data and returns the reply of the server, which has accepted the message only if this succeeds';


-- A whole message

CREATE FUNCTION utl_smtp.send_message(
    c utl_smtp.connection,
    sender text,
    recipients text[],
    message text,
    parameters text = NULL
) RETURNS TABLE (recipient text, code integer, text text)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'send_message_wrapper';
COMMENT ON FUNCTION utl_smtp.send_message(utl_smtp.connection, text, text[], text, text) IS
'sends a whole message, headers and body, to all recipients, with commands in groups if the server offers PIPELINING; one row for each recipient with the reply that decided, an error only if nobody got the message; parameters are those of MAIL (RFC 5321 section 3.3, RFC 2920)';

CREATE FUNCTION utl_smtp.send_message(
    c utl_smtp.connection,
    sender text,
    recipients text[],
    message bytea,
    parameters text = NULL
) RETURNS TABLE (recipient text, code integer, text text)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'send_raw_message_wrapper';
COMMENT ON FUNCTION utl_smtp.send_message(utl_smtp.connection, text, text[], bytea, text) IS
'sends a whole message as it is, but for line endings, which become CRLF, and leading dots, which are doubled; all else as with a message of type text';


-- Wallets

CREATE FUNCTION utl_smtp.wallet_certificates(wallet_path text = NULL) RETURNS TABLE (
    file text,
    kind text,
    subject text,
    issuer text,
    serial text,
    not_before timestamp with time zone,
    not_after timestamp with time zone,
    days_left integer,
    sha256_fingerprint text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'wallet_certificates_wrapper';
COMMENT ON FUNCTION utl_smtp.wallet_certificates(text) IS
'the certificates and revocation lists of a wallet (NULL: utl_smtp.wallet_path), with how many days they are still valid';
