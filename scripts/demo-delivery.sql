-- A trigger as it was written for Oracle: the conversation. With utl_smtp.delivery = 'on_commit' it is recorded, and the mail is
-- sent after the commit; without a commit it never existed.
CREATE SCHEMA shop AUTHORIZATION app;
ALTER DATABASE demo SET utl_smtp.delivery = 'on_commit';
ALTER DATABASE demo SET utl_smtp.delivery_server = 'office';
\connect
\set ECHO all
SET ROLE app;
CREATE TABLE shop.orders (id integer PRIMARY KEY, customer text);
CREATE FUNCTION shop.tell_bob() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    c utl_smtp.connection := utl_smtp.open_connection('mail.example.test');
BEGIN
    PERFORM utl_smtp.ehlo(c, 'db.example.test');
    PERFORM utl_smtp.mail(c, 'alice@example.test');
    PERFORM utl_smtp.rcpt(c, 'bob@example.test');
    PERFORM utl_smtp.data(c, E'To: bob@example.test\nSubject: order ' || NEW.id || E'\n\nfor ' || NEW.customer);
    PERFORM utl_smtp.quit(c);
    RETURN NEW;
END
$$;
CREATE TRIGGER tell_bob AFTER INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.tell_bob();

BEGIN;
INSERT INTO shop.orders VALUES (1, 'rolled back');
ROLLBACK;
INSERT INTO shop.orders VALUES (2, 'committed');
