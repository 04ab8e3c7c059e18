-- The mail server as an object of the database: the program names it, and holds no password and no token.
\set ECHO all
CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (
    host :'host', port :'port', wallet_path :'wallet',
    token_endpoint :'token_endpoint', token_wallet_path :'wallet');
CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS (
    user :'user', client_id :'client_id', client_secret :'client_secret', scope :'scope');
GRANT USAGE ON FOREIGN SERVER office TO app;

SET ROLE app;
SELECT utl_smtp.connect('office') AS c \gset
SELECT server, tls_version, authenticated_as, auth_scheme FROM utl_smtp.connections();
SELECT * FROM utl_smtp.send_message(:'c', 'alice@example.test', ARRAY['carol@example.test', 'nobody@example.test'],
    E'From: Alice <alice@example.test>\r\nTo: Carol <carol@example.test>\r\nSubject: by token\r\n\r\nHello.\r\n');
SELECT utl_smtp.quit(:'c') \g /dev/null
