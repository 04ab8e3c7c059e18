-- Connections that send nothing, not even EHLO.

CREATE FUNCTION bench.ours_open(port integer, connections bigint) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection;
    r utl_smtp.reply;
BEGIN
    FOR i IN 1 .. connections LOOP
        c := utl_smtp.open_connection('127.0.0.1', port, 30);
        r := utl_smtp.quit(c);
    END LOOP;
END
$body$;
