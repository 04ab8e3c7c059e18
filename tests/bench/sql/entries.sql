-- An access control list of so many entries: one that lets the role talk to 127.0.0.1, and others of all kinds.

INSERT INTO utl_smtp.host_ace (host, lower_port, upper_port, ace_order, principal, privilege, grant_type)
SELECT CASE
           WHEN number = 1 THEN '127.0.0.1'
           WHEN number % 4 = 0 THEN format('mail%s.example.test', number)
           WHEN number % 4 = 1 THEN format('*.department%s.example.test', number)
           WHEN number % 4 = 2 THEN format('10.%s.%s.0/24', number / 256, number % 256)
           ELSE format('10.%s.%s.25', number / 256, number % 256)
       END,
       CASE WHEN number % 3 = 0 THEN 587 END,
       CASE WHEN number % 3 = 0 THEN 587 END,
       1, '$ROLE$', 'smtp', 'GRANT'
FROM generate_series(1, $ENTRIES$) AS number;

ANALYZE utl_smtp.host_ace;
