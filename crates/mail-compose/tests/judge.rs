//! Composed messages as Python's `email` reads them.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::*;
use mail_compose::*;
use serde_json::{Value, json};

/// What `email` finds in the message.
fn judged(draft: &Draft<'_>) -> Value {
    judged_all(std::slice::from_ref(draft)).remove(0)
}

/// What `email` finds in each message. No line is too long, and nothing is malformed.
fn judged_all(drafts: &[Draft<'_>]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let files = drafts.iter().enumerate().map(|(number, draft)| {
        let octets = octets(draft);
        assert!(octets.ends_with(b"\r\n"));
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            let line = line.strip_suffix(b"\r\n").unwrap();
            assert!(line.len() <= 998 && !line.contains(&b'\r') && !line.contains(&0));
        }
        let file = directory.path().join(number.to_string());
        fs::write(&file, &octets).unwrap();
        file
    });
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge.py"))
        .args(files)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found.len(), drafts.len());
    for message in &found {
        for field in message["header"].as_array().unwrap() {
            assert_eq!(field[2], json!([]), "{field}");
        }
        check_parts(&message["body"]);
    }
    found
}

fn check_parts(part: &Value) {
    assert_eq!(part["defects"], json!([]), "{part}");
    for part in part["parts"].as_array().into_iter().flatten() {
        check_parts(part);
    }
}

/// The values of the fields with this name.
fn values<'a>(found: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = found["header"].as_array().unwrap().iter();
    fields
        .filter(|field| field[0] == name)
        .map(|field| field[1].as_str().unwrap())
        .collect()
}

fn names(found: &Value) -> Vec<&str> {
    let fields = found["header"].as_array().unwrap().iter();
    fields.map(|field| field[0].as_str().unwrap()).collect()
}

fn octets_of(part: &Value) -> Vec<u8> {
    serde_json::from_value(part["octets"].clone()).unwrap()
}

#[test]
fn names_come_back_and_no_address_is_added() {
    let mut draft = draft();
    let long = "ñandú ".repeat(40);
    let to = [
        ("B, C", "b@example.com"),
        ("say \\\"hi\\\" \\\\ now", "c@example.com"),
        ("漢字かな交じり文の長い名前", "d@example.com"),
        ("=?utf-8?Q?evil=40example.com?=", "e@example.com"),
        ("Bcc: eve@example.com; <eve@example.com>", "f@example.com"),
        (long.trim(), "g@example.com"),
        ("", "\\\"odd, one\\\"@example.com"),
    ];
    let given: Vec<String> = to
        .iter()
        .map(|(name, address)| format!("\"{name}\" <{}>", address.replace('\\', "")))
        .collect();
    let unescape = |text: &str| text.replace("\\\"", "\"").replace("\\\\", "\\");
    let expected: Vec<[String; 2]> = to
        .iter()
        .map(|(name, address)| [unescape(name), unescape(address)])
        .collect();
    draft.to = list(&given.join("; "));
    // The same without the name that looks like an encoded word: another way to be written.
    let plain: Vec<String> = given
        .iter()
        .filter(|address| !address.contains("=?"))
        .cloned()
        .collect();
    draft.cc = list(&plain.join(","));
    let mut found = judged(&draft);
    // Python leaves the space between encoded words of a name, against RFC 2047 §6.2.
    for list in ["To", "Cc"] {
        for address in found["addresses"][list].as_array_mut().unwrap() {
            if address[1] == "g@example.com" {
                let words = address[0].as_str().unwrap().replace(' ', "");
                assert_eq!(words, long.replace(' ', ""));
                address[0] = json!(long.trim());
            }
        }
    }
    assert_eq!(found["addresses"]["To"], json!(expected));
    let expected: Vec<&[String; 2]> = expected
        .iter()
        .filter(|address| !address[0].contains("=?"))
        .collect();
    assert_eq!(found["addresses"]["Cc"], json!(expected));
    assert_eq!(
        names(&found),
        ["Message-ID", "Date", "From", "To", "Cc", "MIME-Version"]
    );
}

#[test]
fn three_hundred_recipients_come_back() {
    let all: Vec<String> = (0..300)
        .map(|number| format!("recipient{number}@example.com"))
        .collect();
    let mut draft = draft();
    draft.to = list(&all.join(","));
    let found = judged(&draft);
    let expected: Vec<[&str; 2]> = all.iter().map(|address| ["", address]).collect();
    assert_eq!(found["addresses"]["To"], json!(expected));
}

#[test]
fn subjects_and_extra_fields_come_back() {
    let word = "x".repeat(3_000);
    let kanji = "漢字".repeat(300);
    let list = "<https://example.com/u>, <mailto:u@example.com>, ".repeat(20);
    let long_name = "X-Name-That-Is-As-Long-As-A-Name-Is-Allowed-To-Be0";
    let given = [
        "",
        "x",
        "two  spaces   inside",
        " leading and trailing ",
        "=?utf-8?Q?looks=20encoded?=",
        "a =?b",
        "Re: Grüße – 漢字, \"quoted\" <not@an.address>",
        list.trim(),
        &word,
        &kanji,
        &format!("a{}b", " ".repeat(2_000)),
        &format!("{} {word} {kanji}", "short words ".repeat(20)),
    ];
    let drafts = given.map(|value| {
        let mut draft = draft();
        draft.to = common::list("a@example.com");
        draft.subject = Some(Subject::parse(value).unwrap());
        draft.headers = ["X-Test", long_name]
            .map(|name| Header::parse(name, value).unwrap())
            .to_vec();
        draft
    });
    for (found, value) in judged_all(&drafts).iter().zip(given) {
        for name in ["Subject", "X-Test", long_name] {
            assert_eq!(values(found, name), [value]);
        }
    }
}

#[test]
fn bodies_come_back_with_lines_that_end_in_crlf() {
    let word = "w".repeat(3_000);
    let latin = "Äpfel und Öl, so süß\n".repeat(50);
    let kanji = "漢字かな交じり文".repeat(100);
    let given = [
        "",
        "\n",
        "a",
        "a\nb\n",
        "a\r\nb\r\n",
        "a\rb\r",
        "a \nb\t\n",
        ".\n..\n",
        "From x\n",
        "--\n--x--\n",
        "\x07\x0b\x0c\x1b\x7f",
        "\u{85}\u{2028}",
        "=20=\n",
        &word,
        &latin,
        &kanji,
    ];
    let drafts = |with_html: bool| {
        given.map(|value| {
            let mut draft = draft();
            draft.to = list("a@example.com");
            draft.text = Some(text(value));
            draft.html = with_html.then(|| html(value));
            draft
        })
    };
    let (single, double) = (judged_all(&drafts(false)), judged_all(&drafts(true)));
    for ((value, single), double) in given.iter().zip(&single).zip(&double) {
        let lines = value.replace("\r\n", "\n").replace('\r', "\n");
        let expected = lines.replace('\n', "\r\n");
        let body = |part: &Value| String::from_utf8(octets_of(part)).unwrap();
        for part in [&double["body"]["parts"][0], &double["body"]["parts"][1]] {
            assert_eq!(body(part), expected);
            assert_eq!(part["parameters"]["charset"], "utf-8");
        }
        // A message ends with a line end, which is the body's where that has no encoding.
        let single = body(&single["body"]);
        assert!(
            single == expected || single == format!("{expected}\r\n"),
            "{single:?}"
        );
    }
}

#[test]
fn text_html_images_and_files_come_back_in_their_places() {
    let all: Vec<u8> = (0..=255).collect();
    let name = "長い名前".repeat(31) + ".pdf";
    let mut draft = draft();
    draft.to = list("a@example.com");
    draft.text = Some(text("plain"));
    draft.html = Some(html("<img src=\"cid:logo@x\">"));
    draft.images = vec![image("logo@x", &all), image("<second>", b"2")];
    draft.images[1].file_name = Some(FileName::parse("zwei.png").unwrap());
    let mut first = attachment("application/octet", &all);
    first.file_name = Some(FileName::parse(name.as_str()).unwrap());
    draft.attachments = vec![first];
    let found = judged(&draft);
    let mixed = &found["body"];
    assert_eq!(mixed["type"], "multipart/mixed");
    let alternative = &mixed["parts"][0];
    assert_eq!(alternative["type"], "multipart/alternative");
    assert_eq!(octets_of(&alternative["parts"][0]), b"plain");
    let related = &alternative["parts"][1];
    assert_eq!(related["type"], "multipart/related");
    assert_eq!(related["parameters"], json!({"type": "text/html"}));
    assert_eq!(related["parts"][0]["type"], "text/html");
    let images = [&related["parts"][1], &related["parts"][2]];
    assert_eq!(
        images.map(|image| &image["content_id"]),
        ["<logo@x>", "<second>"]
    );
    assert_eq!(
        images.map(|image| &image["disposition"]),
        ["inline", "inline"]
    );
    assert_eq!(octets_of(images[0]), all);
    assert_eq!(images[1]["file_name"], "zwei.png");
    let file = &mixed["parts"][1];
    assert_eq!(file["type"], "application/octet");
    assert_eq!(file["disposition"], "attachment");
    assert_eq!(file["file_name"], name);
    assert_eq!(octets_of(file), all);
    assert_eq!(mixed["parts"].as_array().unwrap().len(), 2);
}

#[test]
fn files_of_text_come_back_octet_by_octet() {
    let contents = [
        &b""[..],
        b"a",
        b"a\nb\n",
        b"a\r\nb\r\n",
        b"a\rb",
        b"a\0b",
        b"a \n",
        b"\xff\xfe",
        b"\x1b[0m",
        b"--x\r\n\r\nFrom: y\r\n",
        "ä\nö\r\n".as_bytes(),
        "ä\r\nö\r\n".as_bytes(),
    ];
    let kinds = [
        "text/plain",
        "text/csv; charset=iso-8859-1; x=\"ü, y\"",
        "a/b",
    ];
    let dispositions = [
        (Disposition::Inline, "inline"),
        (Disposition::Attachment, "attachment"),
    ];
    let mut draft = draft();
    draft.to = list("a@example.com");
    let mut expected = Vec::new();
    for content in contents {
        for kind in kinds {
            for (disposition, name) in dispositions {
                let file = attachment(kind, content);
                draft.attachments.push(Attachment {
                    disposition,
                    ..file
                });
                expected.push((content, kind, name));
            }
        }
    }
    let found = judged(&draft);
    let parts = found["body"]["parts"].as_array().unwrap();
    assert_eq!(parts.len(), expected.len());
    for (part, (content, kind, disposition)) in parts.iter().zip(expected) {
        assert_eq!(octets_of(part), content, "{kind}, {disposition}");
        assert_eq!(part["type"], kind.split(';').next().unwrap());
        assert_eq!(part["disposition"], disposition);
        if kind.starts_with("text/csv") {
            let expected = json!({"charset": "iso-8859-1", "x": "ü, y"});
            assert_eq!(part["parameters"], expected);
        }
    }
}

#[test]
fn file_names_come_back() {
    let ascii = "long name ".repeat(300) + ".txt";
    let kanji = "漢".repeat(1_000);
    let misleading = format!("=?utf-8?Q?evil=2Eexe?= {kanji}");
    let given = [
        "a",
        "a \"b\" \\ c;d=e",
        "two  spaces",
        "=?utf-8?Q?evil=2Eexe?=",
        "UTF-8''a%20b",
        "../../etc/passwd",
        "Übersicht.pdf",
        &ascii,
        &kanji,
        &misleading,
    ];
    let mut draft = draft();
    draft.to = list("a@example.com");
    for name in given {
        let mut file = attachment("application/pdf", b"%PDF");
        file.file_name = Some(FileName::parse(name).unwrap());
        draft.attachments.push(file);
    }
    let found = judged(&draft);
    let parts = found["body"]["parts"].as_array().unwrap();
    let names: Vec<&str> = parts
        .iter()
        .map(|part| part["file_name"].as_str().unwrap())
        .collect();
    assert_eq!(names, given);
}

#[test]
fn date_priority_and_message_id_come_back() {
    for (number, importance) in [
        (1, "high"),
        (2, "high"),
        (3, "normal"),
        (4, "low"),
        (5, "low"),
    ] {
        let mut draft = draft();
        draft.to = list("a@example.com");
        draft.priority = Some(Priority::new(number).unwrap());
        let found = judged(&draft);
        assert_eq!(found["date"], 1_764_000_000.0);
        assert_eq!(values(&found, "X-Priority"), [number.to_string()]);
        assert_eq!(values(&found, "Importance"), [importance]);
        let id = format!("<{}@example.com>", "07".repeat(16));
        assert_eq!(values(&found, "Message-ID"), [id]);
        assert_eq!(values(&found, "MIME-Version"), ["1.0"]);
    }
}
