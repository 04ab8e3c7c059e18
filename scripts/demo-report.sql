-- A query's result in a mail: as HTML, and as a CSV file.
\set ECHO all
SET ROLE app;
SET utl_mail.smtp_out_server = 'office';

CREATE TEMPORARY TABLE stock (item text, colour text, in_stock integer, price numeric(8,2));
INSERT INTO stock VALUES ('Notebook, A5', 'black', 3, 4.90), ('Notebook, A5', 'red', 0, 4.90),
    ('Pencil "HB"', NULL, 1250, 0.35), ('Stapler <No. 10>', 'blue', 2, 12.95);

SELECT utl_mail.send_message('Shop <alice@example.test>', 'bob@example.test', 'Low stock',
    html => utl_mail.query_to_html('SELECT * FROM stock WHERE in_stock < 10 ORDER BY in_stock', 'Fewer than ten left'),
    attachments => ARRAY[ROW('stock.csv', 'text/csv; charset=utf-8',
        convert_to(utl_mail.query_to_csv('TABLE stock'), 'UTF8'), NULL)::utl_mail.attachment]);
