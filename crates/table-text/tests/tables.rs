//! Known answers, and any table: what was given comes back.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

use proptest::prelude::*;
use table_text::{Column, Csv, Html, Table};

type Row<'a> = Vec<Option<&'a [u8]>>;

fn write<'a>(table: &mut dyn Table, names: &[(&'a str, bool)], rows: &[Row<'_>]) {
    let column = |(name, is_number): &(&'a str, bool)| Column {
        name: name.as_bytes(),
        is_number: *is_number,
    };
    table.begin(&mut names.iter().map(column)).unwrap();
    for row in rows {
        table.row(&mut row.iter().copied()).unwrap();
    }
    table.end().unwrap();
}

fn csv(header: bool, names: &[(&str, bool)], rows: &[Row<'_>]) -> String {
    let mut table = Csv::new(Vec::new(), header);
    write(&mut table, names, rows);
    String::from_utf8(table.into_inner()).unwrap()
}

fn html(caption: Option<&str>, names: &[(&str, bool)], rows: &[Row<'_>]) -> String {
    let mut table = Html::new(Vec::new(), caption.map(str::as_bytes));
    write(&mut table, names, rows);
    String::from_utf8(table.into_inner()).unwrap()
}

fn cell(text: &str) -> Option<&[u8]> {
    Some(text.as_bytes())
}

#[test]
fn csv_quotes_what_rfc_4180_asks_for() {
    let names = [("a", false), ("say \"b\"", true)];
    let rows = [
        vec![cell("plain text"), cell("1.50")],
        vec![cell("x,y"), cell("\"")],
        vec![cell("line\nend"), cell("line\rend")],
        vec![cell(""), None],
        vec![None, None],
    ];
    let text = "a,\"say \"\"b\"\"\"\r\nplain text,1.50\r\n\"x,y\",\"\"\"\"\r\n\"line\nend\",\"line\rend\"\r\n\"\",\r\n,\r\n";
    assert_eq!(csv(true, &names, &rows), text);
    let without = text.split_once("\r\n").unwrap().1;
    assert_eq!(csv(false, &names, &rows), without);
}

#[test]
fn a_csv_of_one_column_has_no_empty_line() {
    let rows = [vec![None], vec![cell("")], vec![cell("x")]];
    let text = csv(true, &[("only", false)], &rows);
    assert_eq!(text, "only\r\n\"\"\r\n\"\"\r\nx\r\n");
}

#[test]
fn html_escapes_and_aligns() {
    let names = [("<b>&\"", false), ("n", true)];
    let rows = [
        vec![cell("<script>alert(1)</script>"), cell("42")],
        vec![cell("a\r\nb\nc\rd"), None],
    ];
    let text = html(Some("R&D"), &names, &rows);
    assert!(
        text.starts_with("<table style=\"border-collapse:collapse"),
        "{text}"
    );
    assert!(text.ends_with("</tr>\n</tbody>\n</table>\n"), "{text}");
    for part in [
        ">R&amp;D</caption>",
        "text-align:left\">&lt;b&gt;&amp;&quot;</th>",
        "text-align:right\">n</th>",
        "text-align:left\">&lt;script&gt;alert(1)&lt;/script&gt;</td>",
        "text-align:right\">42</td>",
        ">a<br>b<br>c<br>d</td>",
        "text-align:right\"></td>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!html(None, &names, &[]).contains("caption"));
}

/// A reader of CSV for the tests: records of fields, and whether each field was quoted.
fn read(text: &str) -> Vec<Vec<(String, bool)>> {
    let mut records = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut record = Vec::new();
        loop {
            let (value, quoted, after) = field(rest);
            record.push((value, quoted));
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => {
                    rest = after.strip_prefix("\r\n").unwrap();
                    break;
                }
            }
        }
        records.push(record);
    }
    records
}

fn field(text: &str) -> (String, bool, &str) {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['"', ',', '\r', '\n']).unwrap();
        return (text[..end].to_owned(), false, &text[end..]);
    };
    let mut value = String::new();
    loop {
        let end = rest.find('"').unwrap();
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None => return (value, true, rest),
        }
    }
}

/// The text of a cell of HTML.
fn unescape(text: &str) -> String {
    text.replace("<br>", "\n")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

fn hostile() -> impl Strategy<Value = Option<String>> {
    let piece = prop_oneof![
        "[ -~]{0,8}",
        "\\PC{0,6}",
        Just("\"".to_owned()),
        Just(",".to_owned()),
        Just("\r\n".to_owned()),
        Just("\r".to_owned()),
        Just("\n".to_owned()),
        Just("</td><script>".to_owned()),
        Just("&amp;".to_owned()),
    ];
    proptest::option::of(proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat()))
}

fn table() -> impl Strategy<Value = Vec<Vec<Option<String>>>> {
    (2_usize..5).prop_flat_map(|columns| {
        proptest::collection::vec(proptest::collection::vec(hostile(), columns), 1..6)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_table_comes_back_from_csv(given in table()) {
        let rows: Vec<Row<'_>> = given
            .iter()
            .map(|row| row.iter().map(|value| value.as_deref().map(str::as_bytes)).collect())
            .collect();
        let names = vec![("n", false); given[0].len()];
        let found: Vec<Vec<Option<String>>> = read(&csv(false, &names, &rows))
            .into_iter()
            .map(|record| {
                record
                    .into_iter()
                    .map(|(value, quoted)| (quoted || !value.is_empty()).then_some(value))
                    .collect()
            })
            .collect();
        prop_assert_eq!(found, given);
    }

    #[test]
    fn any_table_comes_back_from_html(given in table(), caption in hostile()) {
        let rows: Vec<Row<'_>> = given
            .iter()
            .map(|row| row.iter().map(|value| value.as_deref().map(str::as_bytes)).collect())
            .collect();
        let names = vec![("n", false); given[0].len()];
        let text = html(caption.as_deref(), &names, &rows);
        // Nothing but the table's own elements.
        for (at, _) in text.match_indices('<') {
            let element = text[at + 1..].trim_start_matches('/');
            let own = ["table", "caption", "thead", "tbody", "tr", "th", "td", "br"];
            prop_assert!(own.iter().any(|name| element.starts_with(name)), "{}", text);
        }
        let cells: Vec<String> = text
            .split("<td style=\"")
            .skip(1)
            .map(|cell| {
                let (_, cell) = cell.split_once('>').unwrap();
                unescape(cell.split("</td>").next().unwrap())
            })
            .collect();
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let expected: Vec<String> = given
            .iter()
            .flatten()
            .map(|value| lines(value.as_deref().unwrap_or_default()))
            .collect();
        prop_assert_eq!(cells, expected);
    }
}
