//! `utl_mail.query_to_csv` and `query_to_html`: the texts.

use super::{arrived, assert_shows, database, judge, postfix};

const QUERY: &str = "SELECT * FROM (VALUES (1, 'plain', 1.50, true), (NULL, 'say \"hi\", ok', NULL, NULL), (-3, E'two\\nlines', 2e10, false), (4, '', 0, NULL))
        AS v (id, \"a \"\"b\"\", <c>\", amount, flag) ORDER BY amount";

#[test]
fn a_result_becomes_csv() {
    let (_database, mut session) = database("");
    let csv = "id,\"a \"\"b\"\", <c>\",amount,flag\r\n4,\"\",0,\r\n1,plain,1.50,t\r\n-3,\"two\nlines\",20000000000,f\r\n,\"say \"\"hi\"\", ok\",,\r\n";
    let mut to_csv = |arguments: &str| -> String {
        session.value(&format!("SELECT utl_mail.query_to_csv({arguments})"))
    };
    let query = format!("$q${QUERY}$q$");
    assert_eq!(to_csv(&query), csv);
    assert_eq!(to_csv(&format!("{query}, header => NULL")), csv);
    assert_eq!(
        to_csv(&format!("{query}, false")),
        csv.split_once("\r\n").unwrap().1
    );
    assert_eq!(to_csv("'SELECT 1 AS x WHERE false'"), "x\r\n");
    assert_eq!(to_csv("'TABLE pg_am LIMIT 0', false"), "");
    assert_eq!(
        to_csv("'VALUES (NULL), ($$$$), ($$x$$); -- a comment', false"),
        "\"\"\r\n\"\"\r\nx\r\n"
    );
    assert_eq!(
        to_csv("'SELECT FROM generate_series(1, 2)', false"),
        "\r\n\r\n"
    );

    // As psql's own.
    session.run("SET datestyle = 'German'");
    let dates: String =
        session.value("SELECT utl_mail.query_to_csv('SELECT date $$2026-01-31$$', false)");
    assert_eq!(dates, "31.01.2026\r\n");
}

/// Another reader of CSV.
#[test]
fn python_reads_the_csv() {
    let (_database, mut session) = database("");
    let csv: String = session.value(
        "SELECT utl_mail.query_to_csv($$ SELECT i, repeat(E'\",\\r\\n''ü', i % 4) AS t FROM generate_series(1, 1000) AS i $$)",
    );
    let program = "
import csv, io, sys
rows = list(csv.reader(io.StringIO(sys.stdin.buffer.read().decode(), newline=''), strict=True))
assert rows == [['i', 't']] + [[str(i), '\",\\r\\n\\'ü' * (i % 4)] for i in range(1, 1001)], rows[:5]
print(len(rows))";
    assert_eq!(judge::python(program, csv.as_bytes()), "1001\n");
}

#[test]
fn a_result_becomes_html() {
    let (_database, mut session) = database("");
    session.run("CREATE DOMAIN price AS numeric; CREATE TYPE mood AS ENUM ('<good>')");
    let html: String = session.value(&format!(
        "SELECT utl_mail.query_to_html($q$ SELECT v.*, 7::price AS p, '<good>'::mood AS m, 'pg_class'::regclass AS c,
            10::money AS cash FROM ({QUERY}) AS v $q$, '<Stock> & \"more\"')"
    ));
    assert_shows(
        &html,
        &[
            "<table style=\"border-collapse:collapse",
            ">&lt;Stock&gt; &amp; &quot;more&quot;</caption>",
            "text-align:right\">id</th>",
            "text-align:left\">a &quot;b&quot;, &lt;c&gt;</th>",
            "text-align:right\">amount</th>",
            "text-align:left\">flag</th>",
            "text-align:right\">1.50</td>",
            "text-align:right\"></td>",
            "text-align:left\">say &quot;hi&quot;, ok</td>",
            "text-align:left\">two<br>lines</td>",
            "text-align:right\">7</td>",
            "text-align:left\">&lt;good&gt;</td>",
            "text-align:left\">pg_class</td>",
            "text-align:right\">$10.00</td>",
        ],
    );
    let program = "
import sys, html.parser
class Reader(html.parser.HTMLParser):
    open, rows = [], 0
    def handle_starttag(self, tag, attrs):
        if tag != 'br':
            self.open.append(tag)
        self.rows += tag == 'tr'
    def handle_endtag(self, tag):
        assert self.open.pop() == tag
reader = Reader()
reader.feed(sys.stdin.read())
print(reader.open, reader.rows)";
    assert_eq!(judge::python(program, html.as_bytes()), "[] 5\n");
    let bare: String = session.value("SELECT utl_mail.query_to_html('SELECT 1', '')");
    assert!(!bare.contains("caption"), "{bare}");
}

#[test]
fn a_result_of_100_000_rows_is_mailed() {
    let (database, mut session) = database(&postfix());
    let reply_to = format!("ops-{}@example.test", database.name());
    let digest: String = session.value(&format!(
        "WITH r AS MATERIALIZED (SELECT utl_mail.query_to_csv('SELECT i, md5(i::text) FROM generate_series(1, 100000) AS i') AS csv)
         SELECT md5(csv) FROM r WHERE utl_mail.send_message('alice@example.test', 'bob@example.test', 's', replyto => '{reply_to}',
             attachments => ARRAY[ROW('r.csv', 'text/csv; charset=utf-8', convert_to(csv, 'UTF8'), NULL)::utl_mail.attachment])
             IS NULL"
    ));
    let size: i32 = session.value("SELECT length(utl_mail.query_to_csv('SELECT i, md5(i::text) FROM generate_series(1, 100000) AS i'))");
    let seen = arrived("bob", &reply_to);
    assert_shows(
        &seen,
        &[&format!("text/csv attachment r.csv ({size}, '{digest}')")],
    );
}

/// A text has less than 1 GB, here after rows of 50 MB.
#[test]
fn a_result_that_is_too_large_is_an_error() {
    let (_database, mut session) = database("");
    for function in ["query_to_csv", "query_to_html"] {
        let sql = format!(
            "SELECT length(utl_mail.{function}('SELECT repeat($$x$$, 50000000) FROM generate_series(1, 1000)'))"
        );
        let failure = session.try_run(&sql).unwrap_err().expect("54000");
        assert!(failure.message.contains("too large"), "{failure}");
    }
    let length: i32 = session
        .value("SELECT length(utl_mail.query_to_csv('SELECT repeat($$x$$, 50000000), 1', false))");
    assert_eq!(length, 50_000_004);
}

#[test]
fn anything_but_one_query_is_refused() {
    let (_database, mut session) = database("");
    session.run("CREATE TABLE t (i integer)");
    for (query, sqlstate) in [
        ("", "42601"),
        (" ; -- nothing", "42601"),
        ("SELECT 1; SELECT 2", "42601"),
        ("SELECT 1; DROP TABLE t", "42601"),
        ("SELEC 1", "42601"),
        ("SELECT nothing", "42703"),
        ("SELECT $1", "42P02"),
        ("EXPLAIN SELECT 1", "42601"),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "42601"),
        ("SHOW server_version", "42601"),
        ("COPY t TO STDOUT", "42601"),
        ("COPY (SELECT 1) TO PROGRAM 'true'", "42601"),
        ("SELECT 1 AS i INTO u", "42601"),
        ("CREATE TABLE u AS SELECT 1", "42601"),
        ("DROP TABLE t", "42601"),
        ("BEGIN", "42601"),
        ("COMMIT", "42601"),
        ("DO $$ BEGIN END $$", "42601"),
        ("SET work_mem = 100", "42601"),
        ("DECLARE c CURSOR FOR SELECT 1", "42601"),
    ] {
        for function in ["query_to_csv", "query_to_html"] {
            let sql = format!("SELECT utl_mail.{function}($q${query}$q$)");
            session.try_run(&sql).expect_err(query).expect(sqlstate);
        }
    }
    session
        .try_run("SELECT utl_mail.query_to_csv(NULL)")
        .unwrap_err()
        .expect("22023");
    let open: i64 = session.value("SELECT count(*) FROM pg_cursors WHERE name <> ''");
    assert_eq!(open, 0);
}
