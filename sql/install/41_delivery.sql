-- Queueing mail: what is committed is sent, what is rolled back never existed.

CREATE FUNCTION utl_smtp.submit(
    server text,
    sender text,
    recipients text[],
    message text,
    send_at timestamp with time zone = NULL,
    at_most_once boolean = false
) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'submit_wrapper';
COMMENT ON FUNCTION utl_smtp.submit(text, text, text[], text, timestamp with time zone, boolean) IS
'queues a whole message, headers and body, for a mail server that was created with CREATE SERVER, and returns its number; it is sent after the transaction has committed, not before send_at; at_most_once: where the outcome of an attempt is not known, it is not sent again';

CREATE FUNCTION utl_smtp.submit(
    server text,
    sender text,
    recipients text[],
    message bytea,
    send_at timestamp with time zone = NULL,
    at_most_once boolean = false
) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'submit_raw_wrapper';
COMMENT ON FUNCTION utl_smtp.submit(text, text, text[], bytea, timestamp with time zone, boolean) IS
'queues a whole message as it is, but for line endings, which become CRLF; all else as with a message of type text';
