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
