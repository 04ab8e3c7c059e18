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
