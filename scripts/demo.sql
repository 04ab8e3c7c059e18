-- One conversation, one statement per step. psql keeps the connection in the variable "c".
SET utl_smtp.trace = 'notice';

SELECT utl_smtp.open_connection(:'host', :port, tx_timeout => 10, wallet_path => :'wallet') AS c \gset

SELECT utl_smtp.ehlo(:'c', 'client.example.test') \g /dev/null
SELECT utl_smtp.starttls(:'c') \g /dev/null
SELECT utl_smtp.ehlo(:'c', 'client.example.test') \g /dev/null
SELECT utl_smtp.auth(:'c', :'user', :'password', utl_smtp.all_schemes()) \g /dev/null

SELECT host, port, tls_version, cipher, peer_subject, authenticated_as, auth_scheme
  FROM utl_smtp.connections() \gx

SELECT utl_smtp.mail(:'c', 'alice@example.test') \g /dev/null
SELECT utl_smtp.rcpt(:'c', 'bob@example.test') \g /dev/null
SELECT utl_smtp.open_data(:'c') \g /dev/null
SELECT utl_smtp.write_data(:'c', 'From: Alice <alice@example.test>' || utl_tcp.crlf()) \g /dev/null
SELECT utl_smtp.write_data(:'c', 'To: Bob <bob@example.test>' || utl_tcp.crlf()) \g /dev/null
SELECT utl_smtp.write_data(:'c', 'Subject: =?UTF-8?B?' || encode(convert_to('Grüße aus PostgreSQL', 'UTF8'), 'base64') || '?='
    || utl_tcp.crlf()) \g /dev/null
SELECT utl_smtp.write_data(:'c', 'MIME-Version: 1.0' || utl_tcp.crlf()
    || 'Content-Type: text/plain; charset=UTF-8' || utl_tcp.crlf() || utl_tcp.crlf()) \g /dev/null
SELECT utl_smtp.write_data(:'c', 'Sent by the role ' || current_user || '.' || utl_tcp.crlf()
    || 'こんにちは' || utl_tcp.crlf()) \g /dev/null
SELECT utl_smtp.close_data(:'c') \g /dev/null
SELECT utl_smtp.quit(:'c') \g /dev/null
