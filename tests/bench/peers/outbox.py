"""Sends what waits in an outbox table, as programs beside a database do it: several senders, each with a connection to the
database and one to the mail server that it keeps. A row is locked while its mail is sent, and SKIP LOCKED keeps the senders
apart; what was sent is marked and committed before the next is taken.

    outbox.py CONNECTION-STRING SMTP-PORT SENDERS BATCH
"""

import multiprocessing
import smtplib
import sys

import psycopg

CLAIM = """
SELECT id, sender, recipient, message FROM outbox WHERE sent_at IS NULL
 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
"""
SETTLE = "UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY (%s)"


def send(database, port, batch):
    server = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test", timeout=30)
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        while rows := cursor.execute(CLAIM, (batch,)).fetchall():
            for _, sender, recipient, message in rows:
                server.sendmail(sender, [recipient], message)
            cursor.execute(SETTLE, ([row[0] for row in rows],))
            connection.commit()
    server.quit()


def main():
    database, port, senders, batch = sys.argv[1], *map(int, sys.argv[2:])
    processes = [multiprocessing.Process(target=send, args=(database, port, batch)) for _ in range(senders)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))


if __name__ == "__main__":
    main()
