-- Oracle's UTL_MAIL: its routines, parameter names, order and defaults, with charset=utf-8 where Oracle has us-ascii. A
-- parameter behind one with a default must have one in PostgreSQL, so attachment has the default NULL, which is an error.

CREATE SCHEMA utl_mail;
GRANT USAGE ON SCHEMA utl_mail TO PUBLIC;
COMMENT ON SCHEMA utl_mail IS 'Oracle''s UTL_MAIL: messages with attachments in one call';

CREATE FUNCTION utl_mail.invalid_argument() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'U9261';
COMMENT ON FUNCTION utl_mail.invalid_argument() IS 'SQLSTATE of ORA-29261: an argument that no message can have';

CREATE FUNCTION utl_mail.invalid_priority() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN '22023';
COMMENT ON FUNCTION utl_mail.invalid_priority() IS 'SQLSTATE of ORA-44101: a priority that is not 1 to 5';

CREATE FUNCTION utl_mail.invalid_argument_errcode() RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN -29261;
COMMENT ON FUNCTION utl_mail.invalid_argument_errcode() IS 'Oracle''s number of invalid_argument';

CREATE FUNCTION utl_mail.send(
    sender text,
    recipients text,
    cc text = NULL,
    bcc text = NULL,
    subject text = NULL,
    message text = NULL,
    mime_type text = 'text/plain; charset=utf-8',
    priority integer = 3,
    replyto text = NULL
) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'utl_mail_send_wrapper';
COMMENT ON FUNCTION utl_mail.send(text, text, text, text, text, text, text, integer, text) IS
'sends a message by the mail server that utl_mail.smtp_out_server names; recipients, cc, bcc and replyto are lists such as a@example.com, "B, C" <b@example.com>; an error if nobody got it, a WARNING if somebody did not';

CREATE FUNCTION utl_mail.send_attach_raw(
    sender text,
    recipients text,
    cc text = NULL,
    bcc text = NULL,
    subject text = NULL,
    message text = NULL,
    mime_type text = 'text/plain; charset=utf-8',
    priority integer = 3,
    attachment bytea = NULL,
    att_inline boolean = true,
    att_mime_type text = 'application/octet',
    att_filename text = NULL,
    replyto text = NULL
) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'utl_mail_send_attach_raw_wrapper';
COMMENT ON FUNCTION utl_mail.send_attach_raw(text, text, text, text, text, text, text, integer, bytea, boolean, text, text, text) IS
'utl_mail.send with one attachment, which is shown in the message if att_inline is true';

CREATE FUNCTION utl_mail.send_attach_varchar2(
    sender text,
    recipients text,
    cc text = NULL,
    bcc text = NULL,
    subject text = NULL,
    message text = NULL,
    mime_type text = 'text/plain; charset=utf-8',
    priority integer = 3,
    attachment text = NULL,
    att_inline boolean = true,
    att_mime_type text = 'text/plain; charset=utf-8',
    att_filename text = NULL,
    replyto text = NULL
) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'utl_mail_send_attach_varchar2_wrapper';
COMMENT ON FUNCTION utl_mail.send_attach_varchar2(text, text, text, text, text, text, text, integer, text, boolean, text, text, text) IS
'utl_mail.send with one attachment, which is shown in the message if att_inline is true';
-- What Oracle's package has no routine for: plain text and HTML in one message, inline images, any number of files.

CREATE TYPE utl_mail.attachment AS (
    filename text,
    mime_type text,
    content bytea,
    content_id text
);
COMMENT ON TYPE utl_mail.attachment IS 'a file of a message, or an image that its HTML shows';
COMMENT ON COLUMN utl_mail.attachment.filename IS 'the name that the recipient sees; NULL: none';
COMMENT ON COLUMN utl_mail.attachment.mime_type IS
'type/subtype with parameters, such as text/csv; charset=utf-8; NULL: application/octet-stream';
COMMENT ON COLUMN utl_mail.attachment.content IS 'the octets, not NULL';
COMMENT ON COLUMN utl_mail.attachment.content_id IS
'for an image that the HTML shows: "logo" where it has src="cid:logo"; NULL: a file';

CREATE FUNCTION utl_mail.send_message(
    sender text,
    recipients text,
    subject text,
    message text = NULL,
    html text = NULL,
    attachments utl_mail.attachment[] = NULL,
    cc text = NULL,
    bcc text = NULL,
    replyto text = NULL,
    priority integer = 3,
    headers text[] = NULL
) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'utl_mail_send_message_wrapper';
COMMENT ON FUNCTION utl_mail.send_message(text, text, text, text, text, utl_mail.attachment[], text, text, text, integer, text[]) IS
'sends a message as plain text, HTML or both, with files and inline images, by the mail server that utl_mail.smtp_out_server names; headers are further fields, ''Name: value''; NULL, as it is sent at once; an error if nobody got it, a WARNING if somebody did not';
-- Results of queries as texts for a message.

CREATE FUNCTION utl_mail.query_to_csv(query text, header boolean = true) RETURNS text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'utl_mail_query_to_csv_wrapper';
COMMENT ON FUNCTION utl_mail.query_to_csv(text, boolean) IS
'the result of a query as CSV (RFC 4180), with the names of the columns unless header is false; the query is one statement that only reads, and runs with the caller''s rights and snapshot';

CREATE FUNCTION utl_mail.query_to_html(query text, caption text = NULL) RETURNS text
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'utl_mail_query_to_html_wrapper';
COMMENT ON FUNCTION utl_mail.query_to_html(text, text) IS
'the result of a query as an HTML table, with its styles inline and numbers right-aligned; the query is one statement that only reads, and runs with the caller''s rights and snapshot';
