//! Any table: a reader of CSV finds its cells again, and its HTML has no elements but the table's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use table_text::{Column, Csv, Html, Table};

fuzz_target!(|input: &[u8]| {
    let Some((columns, input)) = input.split_first() else {
        return;
    };
    let columns = usize::from(columns % 4) + 1;
    // One cell a record; NUL stands for none.
    let mut cells: Vec<Option<&[u8]>> = input
        .split(|octet| *octet == 0x1e)
        .map(|cell| (cell != b"\0").then_some(cell))
        .collect();
    cells.truncate(cells.len() / columns * columns);
    let mut csv = Csv::new(Vec::new(), false);
    write(&mut csv, columns, &cells);
    check_csv(&csv.into_inner(), columns, &cells);
    let mut html = Html::new(Vec::new(), cells.first().copied().flatten());
    write(&mut html, columns, &cells);
    check_html(&html.into_inner(), columns, cells.len());
});

fn write(table: &mut dyn Table, columns: usize, cells: &[Option<&[u8]>]) {
    let column = |number| Column {
        name: cells.get(number).copied().flatten().unwrap_or(b"x"),
        is_number: number == 0,
    };
    table
        .begin(&mut (0..columns).map(column))
        .expect("a vector takes all");
    for row in cells.chunks(columns) {
        table
            .row(&mut row.iter().copied())
            .expect("a vector takes all");
    }
    table.end().expect("a vector takes all");
}

fn check_csv(text: &[u8], columns: usize, cells: &[Option<&[u8]>]) {
    let mut rest = text;
    for (index, cell) in cells.iter().enumerate() {
        let (found, after) = field(rest);
        let expected = match (cell, columns) {
            (None, 1) => Some(Vec::new()),
            (cell, _) => cell.map(<[u8]>::to_vec),
        };
        assert_eq!(found, expected);
        let end: &[u8] = if (index + 1) % columns == 0 {
            b"\r\n"
        } else {
            b","
        };
        rest = after.strip_prefix(end).expect("the field ends");
    }
    assert!(rest.is_empty());
}

fn field(text: &[u8]) -> (Option<Vec<u8>>, &[u8]) {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|octet| b"\",\r\n".contains(octet));
        let (value, rest) = text.split_at(end.expect("the field ends"));
        return ((!value.is_empty()).then(|| value.to_vec()), rest);
    };
    let mut value = Vec::new();
    loop {
        let end = rest
            .iter()
            .position(|octet| *octet == b'"')
            .expect("the quotes end");
        value.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"\"") {
            Some(after) => {
                value.push(b'"');
                rest = after;
            }
            None => return (Some(value), rest),
        }
    }
}

fn check_html(text: &[u8], columns: usize, cells: usize) {
    const OWN: [&[u8]; 8] = [
        b"table ", b"caption", b"thead>", b"tbody>", b"tr>", b"th", b"td", b"br>",
    ];
    let (mut headings, mut values) = (0, 0);
    for (at, _) in text.iter().enumerate().filter(|(_, octet)| **octet == b'<') {
        let element = &text[at + 1..];
        let name = element.strip_prefix(b"/").unwrap_or(element);
        assert!(OWN.iter().any(|own| name.starts_with(own)) || name.starts_with(b"table>"));
        headings += usize::from(element.starts_with(b"th "));
        values += usize::from(element.starts_with(b"td "));
    }
    assert_eq!((headings, values), (columns, cells));
}
