-- The schemas, types and constants. All names are qualified, and nothing that exists already is taken over.

CREATE SCHEMA utl_smtp;
GRANT USAGE ON SCHEMA utl_smtp TO PUBLIC;
COMMENT ON SCHEMA utl_smtp IS 'Oracle''s UTL_SMTP: a conversational SMTP client';

CREATE SCHEMA utl_tcp;
GRANT USAGE ON SCHEMA utl_tcp TO PUBLIC;
COMMENT ON SCHEMA utl_tcp IS 'what ported programs use of Oracle''s UTL_TCP';

CREATE FUNCTION utl_tcp.crlf() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN E'\r\n';
COMMENT ON FUNCTION utl_tcp.crlf() IS 'carriage return and line feed, the end of a line in SMTP';


CREATE TYPE utl_smtp.connection AS (
    host text,
    port integer,
    tx_timeout integer,
    private_tcp_con bigint,
    private_state integer
);
COMMENT ON TYPE utl_smtp.connection IS
'an SMTP connection of this session, as open_connection returns it; it stands for the connection, copies stand for the same one';
COMMENT ON COLUMN utl_smtp.connection.host IS 'the host that was asked for';
COMMENT ON COLUMN utl_smtp.connection.port IS 'the port that was asked for';
COMMENT ON COLUMN utl_smtp.connection.tx_timeout IS 'the time limit of each command in seconds; NULL: none';
COMMENT ON COLUMN utl_smtp.connection.private_tcp_con IS 'the handle: random, never used again, of no use to other sessions';
COMMENT ON COLUMN utl_smtp.connection.private_state IS 'not used';

CREATE TYPE utl_smtp.reply AS (code integer, text text);
COMMENT ON TYPE utl_smtp.reply IS 'one line of a server''s reply';
COMMENT ON COLUMN utl_smtp.reply.code IS 'the reply code, 200 to 599 (RFC 5321 section 4.2)';
COMMENT ON COLUMN utl_smtp.reply.text IS 'the text behind the code; control characters are replaced by ?';

CREATE DOMAIN utl_smtp.replies AS utl_smtp.reply[];
COMMENT ON DOMAIN utl_smtp.replies IS 'a server''s reply, one element a line';


CREATE FUNCTION utl_smtp.all_schemes() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN';
COMMENT ON FUNCTION utl_smtp.all_schemes() IS 'every password scheme of auth, the safest first';

CREATE FUNCTION utl_smtp.non_cleartext_password_schemes() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'SCRAM-SHA-256 CRAM-MD5';
COMMENT ON FUNCTION utl_smtp.non_cleartext_password_schemes() IS
'the password schemes of auth that don''t show the password to the server or to whoever listens; the default of auth';

CREATE FUNCTION utl_smtp.invalid_operation() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U9277';
COMMENT ON FUNCTION utl_smtp.invalid_operation() IS 'SQLSTATE of ORA-29277: the call has no place at this point of the conversation';

CREATE FUNCTION utl_smtp.transient_error() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U9278';
COMMENT ON FUNCTION utl_smtp.transient_error() IS 'SQLSTATE of ORA-29278: a 4xx reply, a network failure or a time-out';

CREATE FUNCTION utl_smtp.permanent_error() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U9279';
COMMENT ON FUNCTION utl_smtp.permanent_error() IS 'SQLSTATE of ORA-29279: a 5xx reply';

CREATE FUNCTION utl_smtp.unsupported_scheme() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U4249';
COMMENT ON FUNCTION utl_smtp.unsupported_scheme() IS 'SQLSTATE of ORA-24249: an authentication scheme that utl_smtp does not know';

CREATE FUNCTION utl_smtp.no_supported_scheme() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U4250';
COMMENT ON FUNCTION utl_smtp.no_supported_scheme() IS 'SQLSTATE of ORA-24250: none of the schemes can be used with this server over this connection';

CREATE FUNCTION utl_smtp.invalid_operation_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -29277;
COMMENT ON FUNCTION utl_smtp.invalid_operation_errcode() IS 'Oracle''s number of invalid_operation';

CREATE FUNCTION utl_smtp.transient_error_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -29278;
COMMENT ON FUNCTION utl_smtp.transient_error_errcode() IS 'Oracle''s number of transient_error';

CREATE FUNCTION utl_smtp.permanent_error_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -29279;
COMMENT ON FUNCTION utl_smtp.permanent_error_errcode() IS 'Oracle''s number of permanent_error';

CREATE FUNCTION utl_smtp.unsupported_scheme_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -24249;
COMMENT ON FUNCTION utl_smtp.unsupported_scheme_errcode() IS 'Oracle''s number of unsupported_scheme';

CREATE FUNCTION utl_smtp.no_supported_scheme_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -24250;
COMMENT ON FUNCTION utl_smtp.no_supported_scheme_errcode() IS 'Oracle''s number of no_supported_scheme';
